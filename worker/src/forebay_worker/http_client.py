"""A lean HTTP/1.1 client for one destination: prepared head, one write, aiohttp's C parser, a keep-alive pool.

A request costs a third of what a general client takes, because everything that is the same for all webhooks of a
destination is prepared once. It follows no redirect, uses no proxy, decompresses nothing, and keeps at most 2 KiB of an answer.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import aiohttp.http_parser
from aiohttp.http_exceptions import HttpProcessingError

from forebay_worker.dial import Dialer, NoAnswer

# Bytes of an answer's body: kept for the attempt's error text, and read at most before the connection is given up
# (what follows could be endless, and the status is known).
TEXT_KEPT, BODY_READ = 2048, 64 * 1024
# Seconds. Idle connections are dropped before most servers and NATs forget them; the bound on the age lets new pods
# behind a Service have their share.
IDLE, AGE = 30.0, 300.0


def require_compiled_parser() -> None:
    """Raises RuntimeError if aiohttp runs on its Python parser, which is slower and not what the tests compare."""
    if aiohttp.http_parser.HttpResponseParser is aiohttp.http_parser.HttpResponseParserPy:
        raise RuntimeError("aiohttp's compiled HTTP parser is not installed; install aiohttp from its binary wheel")


@dataclass(slots=True)
class Answer:
    """What the destination answered."""

    status: int
    headers: Any  # a case-insensitive mapping
    text: bytes  # the beginning of the body


class _Stale(Exception):
    """A kept connection was closed by the other side before it heard of this request."""


class Connection:
    """One connection, an asyncio protocol; at most one request at a time is on it."""

    def __init__(self, pool: "HttpClient", loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._parser: Any = None
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._message: Any = None
        self._payload: Any = None
        self._choked = False  # the destination reads slower than we write
        self._room: asyncio.Future[None] | None = None  # ends when more can be sent
        self._bodyless = False  # the present request is a HEAD
        self._heard = False  # a byte of the present answer came
        self._enough = False  # more body than anybody reads
        self._uses = 0
        self.born = self.idle_since = loop.time()

    def request(self, head: bytes, body: bytes, *, bodyless: bool) -> "asyncio.Future[Answer]":
        """Send a request. The future ends with the answer, NoAnswer or _Stale."""
        assert self._transport is not None
        if self._parser is None or bodyless is not self._bodyless:
            self._bodyless = bodyless
            self._parser = self._new_parser()
        self._heard = self._enough = False
        self._message = self._payload = None
        self._uses += 1
        self._answer = self._loop.create_future()
        self._transport.writelines((head, body) if body else (head,))
        return self._answer

    async def feed(self, pieces: AsyncIterable[bytes]) -> None:
        """Send the body behind the head, no faster than the destination reads."""
        async for piece in pieces:
            if self._transport is None:
                return
            self._transport.write(piece)
            if self._choked:
                self._room = self._loop.create_future()
                await self._room

    def usable(self, now: float) -> bool:
        """Whether a new request may be sent."""
        return not self.closed and now - self.idle_since < IDLE

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            # An abort, because a close would wait until a stuck peer has taken what is in the buffer.
            self._transport.abort()

    def fail(self, error: Exception) -> None:
        """End the present request without an answer, and the connection with it."""
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
        self.close()

    # ------------------------------------------------------------------------------------ what the loop tells

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._answer is None:  # nobody asked; the likely 408 of a server that closes
            self.close()
            return
        self._heard = True
        try:
            messages, _, _ = self._parser.feed_data(data)
        except HttpProcessingError as error:
            self.fail(NoAnswer("protocol", f"the answer is no HTTP: {_one_line(error.message)}"))
            return
        for message, payload in messages:
            self._take(message, payload)
        if self._message is not None and (self._enough or self._payload.is_eof()):
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._pool.forget(self)
        if self._answer is not None:
            self._lost(exc)

    def eof_received(self) -> bool:
        return False  # the transport closes itself, and what is due is settled in connection_lost

    def pause_writing(self) -> None:
        """A body that is whole waits in the transport's buffer; one that comes in pieces waits before it."""
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # ------------------------------------------------------------------------------------ what the parser's body tells

    def pause_reading(self) -> None:
        """The body is longer than BODY_READ: there is no reading on."""
        self._enough = True

    def resume_reading(self, *, resume_parser: bool = True) -> None:
        """Nothing was paused."""

    # ------------------------------------------------------------------------------------

    def _new_parser(self) -> Any:
        return aiohttp.http_parser.HttpResponseParser(
            self,  # type: ignore[arg-type]  # a body asks for the two methods above only
            self._loop,
            BODY_READ // 2,  # the body asks for a pause at twice this
            response_with_body=not self._bodyless,
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=8190,
            max_field_size=8190,
            max_headers=128,
        )

    def _take(self, message: Any, payload: Any) -> None:
        if message.code == 101:
            self.fail(NoAnswer("protocol", "the answer is a switch of protocols that nobody asked for"))
        elif message.code >= 200 and self._message is None:
            self._message, self._payload = message, payload
        elif self._message is not None:
            self._enough = True  # a second answer to one request: this connection is not used again

    def _finish(self) -> None:
        answer, message = self._answer, self._message
        assert self._transport is not None
        self._answer = None
        text = self._text(self._pool.kept_of_success if 200 <= message.code < 300 else TEXT_KEPT)
        keep = not (message.should_close or self._enough or self._transport.get_write_buffer_size())
        if not keep:
            self.close()
        if answer is not None and not answer.done():
            answer.set_result(Answer(message.code, message.headers, text))

    def _text(self, length: int) -> bytes:
        return bytes(self._payload.read_nowait(length)) if length and self._payload.total_bytes else b""

    def _lost(self, exc: Exception | None) -> None:
        """The connection ended while an answer was due; it may be the very end of one that has no length."""
        if self._message is not None and exc is None and not self._truncated():
            answer, self._answer = self._answer, None
            if answer is not None and not answer.done():
                text = self._text(self._pool.kept_of_success or TEXT_KEPT)
                answer.set_result(Answer(self._message.code, self._message.headers, text))
        elif self._uses > 1 and not self._heard:
            self.fail(_Stale())
        else:
            what = f"{exc.strerror or exc}" if isinstance(exc, OSError) else "closed by the destination"
            self.fail(NoAnswer("closed", f"the connection ended before the answer did: {what}"))

    def _truncated(self) -> bool:
        try:
            self._parser.feed_eof()
        except HttpProcessingError:
            return True
        return not self._payload.is_eof()


class HttpClient:
    """Sends requests to one origin. Its callers bound how many are under way; as many connections are kept."""

    def __init__(self, dialer: Dialer, *, connect_timeout: float, timeout: float, kept_of_success: int = 0) -> None:
        require_compiled_parser()
        self.kept_of_success = kept_of_success  # bytes of the body of a 2xx; what a destination says then nobody asks
        self._dialer = dialer
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._deadlines = _Deadlines(self._loop, f"no answer within {timeout:g} s")

    async def send(self, head: bytes, body: bytes, *, bodyless: bool = False) -> Answer:
        """One request, one answer. Raises NoAnswer. `bodyless` is for HEAD, whose answer has no body."""
        now = self._loop.time()
        deadline = now + self._timeout
        connection = self._kept(now)
        if connection is not None:
            try:
                return await self._exchange(connection, head, body, bodyless, deadline)
            except _Stale:
                pass  # closed for its age, most likely: the request was not looked at
        return await self._exchange(await self._connect(deadline), head, body, bodyless, deadline)

    async def stream(self, head: bytes, pieces: AsyncGenerator[bytes], *, bodyless: bool = False) -> Answer:
        """The same for a body that comes in pieces, on a new connection. Raises NoAnswer, and what the pieces raise.

        Then the destination has not got all of it: the connection ends before as many bytes as the head says.
        """
        deadline = self._loop.time() + self._timeout
        async with aclosing(pieces):
            return await self._exchange(await self._connect(deadline), head, b"", bodyless, deadline, pieces=pieces)

    async def close(self) -> None:
        """Close what is idle."""
        for connection in tuple(self._idle):
            connection.close()
        await asyncio.sleep(0)  # lets the transports end

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        if connection in self._idle:
            self._idle.remove(connection)

    def _kept(self, now: float) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable(now):
                return connection
            connection.close()
        return None

    def _keep(self, connection: Connection) -> None:
        """The request is over; keep its connection for the next one if it is fit."""
        if connection.closed:
            return
        now = self._loop.time()
        if now - connection.born > AGE:
            connection.close()
            return
        connection.idle_since = now
        self._idle.append(connection)

    async def _connect(self, deadline: float) -> Connection:
        left = deadline - self._loop.time()
        return await self._dialer.connect(lambda: Connection(self, self._loop), min(left, self._connect_timeout))

    async def _exchange(
        self,
        connection: Connection,
        head: bytes,
        body: bytes,
        bodyless: bool,
        deadline: float,
        *,
        pieces: AsyncIterable[bytes] | None = None,
    ) -> Answer:
        if connection.closed:
            raise NoAnswer("closed", "the destination closed the connection at once")
        answer = connection.request(head, body, bodyless=bodyless)
        self._deadlines.add(connection, deadline)
        try:
            if pieces is not None:
                await _fed(connection, pieces, answer)
            return await answer
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            self._deadlines.remove(connection)
            self._keep(connection)


async def _fed(connection: Connection, pieces: AsyncIterable[bytes], answer: "asyncio.Future[Answer]") -> None:
    """Send a body, until all of it is sent or there is an answer, which makes the rest needless."""
    feeding = asyncio.ensure_future(connection.feed(pieces))
    try:
        await asyncio.wait((feeding, answer), return_when=asyncio.FIRST_COMPLETED)
        if feeding.done() and feeding.exception() is None:
            return
        connection.close()
        if feeding.done():
            answer.cancel()
            feeding.result()
    finally:
        feeding.cancel()
        await asyncio.wait((feeding,))


class _Deadlines:
    """Ends requests whose time is over. One timer for all: a timer each would cost more than the rest of the bookkeeping."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sentence: str) -> None:
        self._loop = loop
        self._sentence = sentence
        self._open: dict[Connection, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Connection, deadline: float) -> None:
        self._open[connection] = deadline
        if self._timer is None or deadline < self._timer.when():
            self._arm(deadline)

    def remove(self, connection: Connection) -> None:
        del self._open[connection]

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        now, self._timer = self._loop.time(), None
        for connection in [one for one, deadline in self._open.items() if deadline <= now]:
            connection.fail(NoAnswer("timeout", self._sentence))
        if self._open:
            self._arm(min(self._open.values()))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
