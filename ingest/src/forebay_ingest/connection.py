"""One HTTP connection: bytes in, answers out, in order, within bounds. Everything a stranger sends passes through here.

aiohttp's compiled parser reads the bytes. The rest of aiohttp's server is left out: a task, a request and a response
object for each webhook cost more than all of our own work. One request is under way at a time; what is pipelined behind
it waits in the parser. Time limits are deadlines that the listener sweeps, no timers.
"""

import asyncio
import enum
from typing import Any, Protocol, cast

from aiohttp import hdrs
from aiohttp._http_parser import HttpRequestParser  # the compiled one, or no start at all
from aiohttp.http import HttpVersion11
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD

from forebay.settings import IngestLimits
from forebay_ingest import answers
from forebay_ingest.answers import Answers, Refusal
from forebay_ingest.receive import Receiver, Verdict


class Listener(Protocol):
    """What a connection needs of the process it lives in."""

    limits: IngestLimits
    answers: Answers
    receiver: Receiver
    connections: "set[Connection]"
    reading_bytes: int  # of bodies that are not complete, over all connections
    draining: bool


class _State(enum.Enum):
    IDLE = enum.auto()  # between requests
    HEAD = enum.auto()  # a head has begun
    BODY = enum.auto()  # a body is being read
    WAITING = enum.auto()  # the whole request is with the receiver
    CLOSING = enum.auto()  # the last answer is written


# Bytes of a request's target at most.
_MAX_TARGET = 16 * 1024
# After the last answer the sender has so many seconds to read it before the socket goes.
_LINGER_S = 1.0
# Bytes of a refused request's rest that are swallowed meanwhile, so that the answer is not lost in a reset.
_LINGER_BYTES = 256 * 1024


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_backlog",
        "_body",
        "_client",
        "_collected",
        "_fed",
        "_half_closed",
        "_head",
        "_head_bytes",
        "_keep_alive",
        "_length",
        "_listener",
        "_loop",
        "_parser",
        "_paused",
        "_state",
        "_swallowed",
        "_transport",
        "deadline",
    )

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        self._listener = listener
        self._loop = loop
        self._parser: HttpRequestParser | None = None
        self._transport: asyncio.Transport | None = None
        self._client = b""
        self._state = _State.IDLE
        self._head: Any = None  # aiohttp's RawRequestMessage
        self._body: Any = EMPTY_PAYLOAD  # aiohttp's StreamReader
        self._collected = bytearray()  # of a body that comes in parts; counted in the listener's reading_bytes
        self._fed = 0  # bytes given to the parser for this request
        self._head_bytes = 0
        self._length: int | None = None  # Content-Length, None if it is not known
        self._backlog = b""  # what came behind a request that is under way
        self._keep_alive = True
        self._half_closed = False
        self._paused = False
        self._swallowed = 0
        self.deadline = 0.0

    # ------------------------------------------------------------------------------------------------ asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._client = peer[0].encode() if peer else b"?"
        listener, limits = self._listener, self._listener.limits
        if len(listener.connections) >= limits.connections:
            self._refuse(answers.CONNECTIONS)
            self._transport.close()
            return
        listener.connections.add(self)
        self._parser = HttpRequestParser(
            self,
            self._loop,
            limits.body_bytes + 1,
            max_line_size=min(limits.header_bytes, _MAX_TARGET),
            max_headers=limits.header_count,
            max_field_size=limits.header_bytes,
            auto_decompress=False,  # the signature is over the bytes as sent; and no zip bomb is ever opened here
            max_msg_queue_size=1,
        )
        self.deadline = self._loop.time() + limits.first_byte_s

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is _State.WAITING:
            self._backlog += data
            self._pause()  # the socket keeps the rest
        elif state is _State.CLOSING:
            self._swallow(len(data))
        else:
            self._feed(data)

    def eof_received(self) -> bool:
        """A sender may close its side and still wait for the answers of what it has sent whole."""
        self._half_closed = True
        return self._state is _State.WAITING

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # why it went changes nothing
        self._listener.connections.discard(self)
        self._release()
        if self._state is _State.WAITING:
            self._listener.receiver.hung_up()
        self._transport = None

    def pause_writing(self) -> None:
        """Somebody sends and does not read: nothing more is read from them until they do."""
        self._pause()

    def resume_writing(self) -> None:
        if self._state is not _State.WAITING:
            self._resume()

    # ------------------------------------------------------------------------------------ the parser's calls for flow

    def pause_reading(self) -> None:
        """The parser's body buffer is above its mark; it is emptied after each read all the same."""

    def resume_reading(self, *, resume_parser: bool = True) -> None:
        """The counterpart of `pause_reading`."""

    # ------------------------------------------------------------------------------------------------------ the clock

    @property
    def timed(self) -> bool:
        """Whether the deadline counts now; the broker's confirm has a clock of its own."""
        return self._state is not _State.WAITING

    def expired(self) -> None:
        """The deadline has passed."""
        if self._state in (_State.HEAD, _State.BODY):
            self._refuse(answers.SLOW)
        elif self._transport is not None:
            self._transport.abort()

    def end_when_idle(self) -> None:
        """The process is ending: go now if nothing is under way, else after the answer."""
        self._keep_alive = False
        if self._state is _State.IDLE and self._transport is not None:
            self._transport.close()

    # ---------------------------------------------------------------------------------------------------- the request

    def _feed(self, data: bytes) -> None:
        if self._state is _State.IDLE:
            self._state = _State.HEAD
            self.deadline = self._loop.time() + self._listener.limits.headers_s
        if self._state is _State.HEAD:
            end = data.find(b"\r\n\r\n")
            self._head_bytes += len(data) if end < 0 else end + 4
            if self._head_bytes > self._listener.limits.header_bytes:
                self._refuse(answers.HEADERS_TOO_LARGE)
                return
        self._fed += len(data)
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        assert self._parser is not None
        try:
            messages, upgraded, _ = self._parser.feed_data(data)
        except LineTooLong:
            self._refuse(answers.HEADERS_TOO_LARGE)
        except Exception:  # noqa: BLE001  # whatever a parser thinks of, a stranger's bytes are a bad request
            self._refuse(answers.BAD_REQUEST)
        else:
            if messages:
                self._begin(*messages[0], upgraded=upgraded)
            elif self._state is _State.BODY:
                self._continue_body()

    def _begin(self, head: Any, body: Any, *, upgraded: bool) -> None:
        self._head, self._body = head, body
        self._keep_alive = self._keep_alive and not head.should_close
        length = head.headers.get(hdrs.CONTENT_LENGTH)
        self._length = (None if head.chunked else 0) if length is None else int(length)
        refusal = answers.BAD_REQUEST if upgraded or head.upgrade else self._listener.receiver.check(head, self._length)
        if refusal is None and not body.is_eof():
            refusal = self._expect(head)
        if refusal is not None:
            self._refuse(refusal)
        elif body.is_eof():
            self._complete(body.read_nowait())
        else:
            self._state = _State.BODY
            self.deadline = self._loop.time() + self._listener.limits.body_s
            self._continue_body()

    def _expect(self, head: Any) -> Refusal | None:
        """Answer an expectation (RFC 9110 §10.1.1), now that the head has passed."""
        expectation = head.headers.get(hdrs.EXPECT)
        if expectation is None or head.version != HttpVersion11:
            return None
        if expectation.lower() != "100-continue":
            return answers.EXPECTATION
        if self._transport is not None:
            self._transport.write(answers.CONTINUE)
        return None

    def _continue_body(self) -> None:
        # Taken out after each read: a body in a million chunks of one byte would cost fifty times its size in there.
        listener, part = self._listener, self._body.read_nowait()
        listener.reading_bytes += len(part)
        self._collected += part
        if len(self._collected) > listener.limits.body_bytes:
            self._refuse(answers.TOO_LARGE)
        elif self._body.is_eof():
            self._complete(bytes(self._collected))
        elif listener.reading_bytes > listener.limits.reading_bytes:
            self._refuse(answers.OVERLOADED)

    def _complete(self, body: bytes) -> None:
        self._release()
        if len(body) > self._listener.limits.body_bytes:
            self._refuse(answers.TOO_LARGE)
            return
        self._state = _State.WAITING
        try:
            self._listener.receiver.receive(self._head, body, self._client, self._answer)
        except Exception:
            self._refuse(answers.UNHANDLED)
            raise

    # ----------------------------------------------------------------------------------------------------- the answer

    def _answer(self, verdict: Verdict) -> None:
        if isinstance(verdict, Refusal):
            self._refuse(verdict)
            return
        transport = self._transport
        if transport is None:
            return  # it hung up; the webhook is safe all the same
        close = not self._keep_alive or self._listener.draining or self._head.version != HttpVersion11
        transport.write(self._listener.answers.accepted(verdict.event_id, close=close))
        self._next(close=close)

    def _refuse(self, refusal: Refusal) -> None:
        listener, head = self._listener, self._head
        listener.receiver.refused(refusal, self._client)
        unread = self._state is not _State.WAITING and not self._body.is_eof()
        close = refusal.close or unread or head is None or not self._keep_alive or head.version != HttpVersion11
        self._release()
        if self._transport is not None:
            head_only = head is not None and head.method == "HEAD"
            self._transport.write(listener.answers.refused(refusal, close=close, head_only=head_only))
            self._next(close=close)

    def _next(self, *, close: bool) -> None:
        """After an answer: the end, or the next request, which may have come already."""
        if close:
            self._close()
            return
        self._state = _State.IDLE
        self._head, self._body = None, EMPTY_PAYLOAD
        whole = self._length is not None and self._fed == self._head_bytes + self._length
        self._fed = self._head_bytes = 0
        self.deadline = self._loop.time() + self._listener.limits.keep_alive_s
        assert self._parser is not None
        self._parser.message_consumed()
        self._resume()
        if not whole or self._backlog or self._half_closed:
            # Not at once: a thousand pipelined refusals would be a thousand calls deep.
            self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        """Take up what came behind the last request."""
        if self._state is not _State.IDLE or self._transport is None:
            return
        backlog, self._backlog = self._backlog, b""
        self._fed = -1  # what the parser still holds is not known, so the next request never counts as whole
        self._parse(b"")
        if backlog:
            self.data_received(backlog)
        if self._half_closed and self.timed:
            self._transport.close()

    def _close(self) -> None:
        """Say nothing more. The sender gets a moment to read the answer before the socket goes."""
        transport = self._transport
        assert transport is not None
        self._state = _State.CLOSING
        self.deadline = self._loop.time() + _LINGER_S
        self._collected = bytearray()
        if transport.can_write_eof():
            transport.write_eof()
        self._resume()

    def _swallow(self, size: int) -> None:
        self._swallowed += size
        if self._swallowed > _LINGER_BYTES and self._transport is not None:
            self._transport.abort()

    def _release(self) -> None:
        if self._collected:
            self._listener.reading_bytes -= len(self._collected)
            self._collected = bytearray()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
