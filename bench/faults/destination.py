"""A destination with moods: takes webhooks, slowly, not at all, or dies in the middle of an answer; notes what it took.

It has taken a webhook when it writes a whole 2xx, and not before: whoever never got that must deliver again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Literal

from bench.faults import webhooks
from bench.faults.ledger import Ledger

Mood = Literal["ok", "flaky", "slow", "failing", "busy", "refusing", "closing", "mended"]

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_FAILING = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
_BUSY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
_REFUSING = b"HTTP/1.1 422 Unprocessable Content\r\nContent-Length: 0\r\n\r\n"
_HALF = b"HTTP/1.1 200 OK\r\nContent-Le"  # of an answer that breaks off
_FLAKY_SHARE = 0.05  # of the answers are 503 while it is flaky


class Destination:
    """An HTTP server. `mood` may be changed at any time; once mended, it takes poison, too."""

    def __init__(self, ledger: Ledger, port: int, random: Random, host: str = "127.0.0.1") -> None:
        self.mood: Mood = "ok"
        self.slow_s = 1.0
        self.captured: set[str] = set()  # ids under which webhooks came that strangers had captured
        self._ledger = ledger
        self._host = host
        self._port = port
        self._random = random
        self._server: asyncio.Server | None = None
        self._under_way = 0
        self._links: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self._answers: Mapping[Mood, Callable[[], Awaitable[bytes]]] = {
            "ok": self._ok, "flaky": self._flaky, "slow": self._slow, "failing": self._failing, "busy": self._busy,
            "refusing": self._refusing, "closing": self._closing, "mended": self._ok,
        }  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}/webhooks"

    @contextmanager
    def being(self, mood: Mood) -> Iterator[None]:
        """In this mood within the block."""
        before, self.mood = self.mood, mood
        try:
            yield
        finally:
            self.mood = before

    async def open(self) -> None:
        """Listen; does nothing if it does already."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, self._host, self._port)

    async def close(self) -> None:
        """Be down: nobody listens, and every connection is reset."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        tasks = list(self._links.values())
        for writer, task in self._links.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links[writer] = task
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while not writer.is_closing():
                    await self._one(reader, writer)
        finally:
            del self._links[writer]
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        number = webhooks.number_of(self._ledger.run, content)
        self._under_way += 1
        self._ledger.come(number, _now(), self._under_way)
        try:
            answer = await self._answer(number)
        finally:
            self._under_way -= 1
        if answer is _OK:
            self._take(number, headers)
        elif answer is _REFUSING and number is not None:
            self._ledger.end(number, _now())
        writer.write(answer)
        if answer is _HALF:
            writer.close()

    async def _answer(self, number: int | None) -> bytes:
        if number is not None and webhooks.is_poison(number) and self.mood in ("ok", "flaky", "slow"):
            return _REFUSING
        return await self._answers[self.mood]()

    def _take(self, number: int | None, headers: Mapping[str, str]) -> None:
        if number in webhooks.CAPTURED:
            self.captured.add(headers.get("x-forebay-id", ""))
            return
        if number is None or headers.get("x-github-delivery") != webhooks.delivery_id(self._ledger.run, number):
            self._ledger.foreign += 1
        else:
            self._ledger.deliver(number, _now(), headers.get("x-forebay-id", ""))

    async def _ok(self) -> bytes:
        return _OK

    async def _flaky(self) -> bytes:
        return _FAILING if self._random.random() < _FLAKY_SHARE else _OK

    async def _slow(self) -> bytes:
        await asyncio.sleep(self._random.uniform(0.5, 1.5) * self.slow_s)
        return _OK

    async def _failing(self) -> bytes:
        return _FAILING

    async def _busy(self) -> bytes:
        return _BUSY

    async def _refusing(self) -> bytes:
        return _REFUSING

    async def _closing(self) -> bytes:
        return _HALF


def _now() -> float:
    return asyncio.get_running_loop().time()
