"""A provider: a steady load of signed webhooks over keep-alive connections, each answer noted.

Each webhook is sent once; where a provider sends copies every third request is one that was sent before, whatever became of it
then: a 2xx of any copy is a 2xx of the webhook.

Every fifth sender makes a connection of its own for each webhook, as providers with many machines seem to. Senders keep to
their own clock: one that waits for an answer leaves out what it could not send meanwhile, so a hang of the endpoint makes the
load thinner, never a burst. Endpoints are chosen as a Service would: ready ones, one after the other.
"""

import asyncio
import json
import math
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from bench.faults import webhooks
from bench.faults.ledger import Ledger
from bench.faults.webhooks import USUAL, Habits

TIMEOUT_S = 10.0  # GitHub's own
_FRESH_EVERY = 5
# With copies: one request in so many is a copy, of a webhook so many before it (a second or two, at the usual rate).
_COPY_EVERY, _COPIES_BEHIND = 3, 400
Address: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Link:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def usable(self) -> bool:
        return not self.reader.at_eof() and not self.writer.is_closing()


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    event_id: str
    retry_after: bool
    close: bool
    duplicate: bool
    body: bytes


class Load:
    """`rate` webhooks a second over so many connections, until `stop`. `endpoints` says where to, best first.

    One that does not answer within `connect_s` is passed over. With `trust` it is TLS, for this host and no other.
    """

    def __init__(
        self,
        ledger: Ledger,
        endpoints: Callable[[], Sequence[Address]],
        *,
        path: str,
        rate: float,
        connections: int,
        connect_s: float = 1.0,
        habits: Habits = USUAL,
        host: str = webhooks.HOST,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._ledger = ledger
        self._endpoints = endpoints
        self._path = path
        self._interval = connections / rate
        self._connections = connections
        self._connect_s = connect_s
        self._host = host
        self._tls: dict[str, Any] = {"ssl": trust, "server_hostname": host} if trust else {}
        self._stop = asyncio.Event()
        self._turn = 0
        self._requests = 0
        self._habits = habits
        self._copies: deque[int] | None = deque() if habits.copies else None  # what is to be sent again

    async def run(self) -> None:
        """Send until `stop` is called; every webhook that was begun gets its answer or its timeout."""
        async with asyncio.TaskGroup() as group:
            for index in range(self._connections):
                offset = index * self._interval / self._connections
                group.create_task(self._sender(offset, fresh=index % _FRESH_EVERY == 0))

    def stop(self) -> None:
        self._stop.set()

    async def _sender(self, offset: float, *, fresh: bool) -> None:
        due, link = _now() + offset, None
        while await self._wait(due):
            due += self._interval * max(1, math.ceil((_now() - due) / self._interval))
            if link is None or not link.usable:
                _hang_up(link)
                link = await self._connect()
            if link is not None and (not await self._send(link) or fresh):
                _hang_up(link)
                link = None
        _hang_up(link)

    async def _wait(self, due: float) -> bool:
        """Until it is time to send; False if there is nothing more to send."""
        try:
            async with asyncio.timeout_at(due):
                await self._stop.wait()
        except TimeoutError:
            return True
        return False

    async def _connect(self) -> _Link | None:
        endpoints = self._endpoints()
        self._turn += 1
        why = "nobody is ready"
        for step in range(len(endpoints)):
            try:
                async with asyncio.timeout(self._connect_s):
                    address = endpoints[(self._turn + step) % len(endpoints)]
                    return _Link(*await asyncio.open_connection(*address, **self._tls))
            except OSError as error:  # a timeout is one
                why = type(error).__name__
        self._ledger.unreachable[why] += 1
        return None

    async def _send(self, link: _Link) -> bool:
        """Send one webhook and note its answer. Returns whether the connection can go on."""
        ledger = self._ledger
        number = self._next()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                link.writer.write(webhooks.request(ledger.run, number, self._path, self._host, self._habits))
                reply = await _read(link.reader)
        except TimeoutError:
            ledger.lose_sight(number, _now(), "timeout")
        except OSError:  # TLS has errors of its own beside ConnectionError
            ledger.lose_sight(number, _now(), "reset")
        except asyncio.IncompleteReadError as error:
            ledger.lose_sight(number, _now(), "cut short" if error.partial else "closed")
        else:
            self._note(number, reply)
            return not reply.close
        return False

    def _next(self) -> int:
        """The number of the webhook to send now: a new one, or one of some time ago."""
        self._requests += 1
        if self._copies is None:
            return self._ledger.send(_now())
        if self._requests % _COPY_EVERY == 0 and len(self._copies) > _COPIES_BEHIND:
            number = self._copies.popleft()
            self._ledger.send_again(number, _now())
        else:
            number = self._ledger.send(_now())
        if number % 2 or not self._ledger.acked(number):  # half of those that were taken in come a third time
            self._copies.append(number)
        return number

    def _note(self, number: int, reply: _Reply) -> None:
        if reply.duplicate:
            self._ledger.ack_copy(number, _now())
        elif 200 <= reply.status < 300:
            self._ledger.ack(number, _now(), reply.event_id)
        else:
            cause = _cause(reply.body)
            self._ledger.refuse(number, _now(), reply.status, cause, retry_after=reply.retry_after)


async def _read(reader: asyncio.StreamReader) -> _Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = (line.partition(": ") for line in head.split("\r\n")[1:])
    headers = {name.lower(): value for name, _, value in lines}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return _Reply(
        status=int(head[9:12]),
        event_id=headers.get("x-forebay-id", ""),
        retry_after="retry-after" in headers,
        close=headers.get("connection", "").lower() == "close",
        duplicate="x-forebay-duplicate" in headers,
        body=body,
    )


def _cause(body: bytes) -> str:
    """The last word of a problem document's type (RFC 9457), which says why."""
    try:
        return str(json.loads(body)["type"]).rpartition("/")[2]
    except (ValueError, KeyError, TypeError):
        return "unsaid"


def _hang_up(link: _Link | None) -> None:
    if link is not None:
        link.writer.close()


def _now() -> float:
    return asyncio.get_running_loop().time()
