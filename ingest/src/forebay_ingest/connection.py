"""One HTTP connection: bytes in, answers out, in order, within bounds. Everything a stranger sends passes through here.

aiohttp's compiled parser reads the bytes. The rest of aiohttp's server is left out: a task, a request and a response
object for each webhook cost more than all of our own work. One request is under way at a time; what is pipelined behind
it waits in the parser. Time limits are deadlines that the endpoint sweeps, no timers.
"""

import asyncio
import enum
from typing import Any, Protocol, cast

from aiohttp import hdrs
from aiohttp._http_parser import HttpRequestParser
from aiohttp.http import HttpVersion10, HttpVersion11
from aiohttp.streams import EMPTY_PAYLOAD

from forebay.settings import IngestLimits
from forebay.signatures.replies import Reply
from forebay_ingest import answers
from forebay_ingest.answers import Answers, Refusal
from forebay_ingest.arrivals import Arrivals
from forebay_ingest.claims import Claims, Intake
from forebay_ingest.departures import Departures
from forebay_ingest.guard import Guard
from forebay_ingest.handshakes import Door
from forebay_ingest.head import refusal_of, size_of
from forebay_ingest.parsing import Whole, made_parser
from forebay_ingest.receive import Receiver, Verdict
from forebay_ingest.strangers import Strangers
from forebay_ingest.url_token import UrlTokens
from forebay_ingest.waiting import WaitingRoom


class Endpoint(Protocol):
    """What a connection needs of the process it lives in."""

    limits: IngestLimits
    answers: Answers
    arrivals: Arrivals
    guard: Guard | None  # None: nobody is told apart
    url_tokens: UrlTokens | None  # None: the path is no secret
    receiver: Receiver | Door | WaitingRoom
    claims: Claims | None  # takes larger bodies than these, if there is a storage:
    inline_bytes: int
    connections: "set[Connection]"
    strangers: Strangers  # those of them that nothing was accepted from yet
    reading_bytes: int  # received of requests that are not complete, over all connections
    departures: Departures  # whose sender has hung up
    draining: bool


class _State(enum.Enum):
    IDLE = enum.auto()  # between requests
    HEARD = enum.auto()  # something has come, and is looked at before the turn of the loop ends
    HEAD = enum.auto()  # a head has begun
    BODY = enum.auto()  # a body is being read
    SPOOL = enum.auto()  # a body is being read that is too large for the queue
    WAITING = enum.auto()  # the whole request is with the receiver
    TURN = enum.auto()  # it is answered; what came behind it is taken up in the next turn of the loop
    CLOSING = enum.auto()  # the last answer is written


# By names of the module's: Python 3.11 takes 80 ns to find a member in its enumeration, and a webhook asks ten times.
_IDLE, _HEARD, _HEAD, _BODY, _SPOOL, _WAITING, _TURN, _CLOSING = _State
_READING = (_IDLE, _HEAD, _BODY)
_PARSING = (*_READING, _SPOOL)  # of the last one the disk sets the pace
_ENGAGED = (_HEARD, _WAITING)  # whatever it is, it is looked at before anything is ended

# Bytes that the parser is given at a time. It keeps what lies behind a complete request, uncounted. Fewer where there may be
# chunks: of a single byte each, they take it 2 µs apiece.
_SLICE, _SMALL_SLICE = 16 * 1024, 4 * 1024
# After the last answer the sender has so many seconds to read it before the socket goes.
_LINGER_S = 1.0
# Bytes of a refused request's rest that are swallowed meanwhile, so that the answer is not lost in a reset.
_LINGER_BYTES = 256 * 1024
# Faults of requests on a connection from which nothing was accepted: then it is closed, and what is pipelined behind them is not
# looked at. Else 50 KB that are sent in one go would have two thousand requests answered.
_FAULTS = 3
# Connections beyond the limit that are told so; what comes beyond these is closed without a word.
_TOLD = 128


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_backlog", "_behind", "_block", "_body", "_choked", "_clean", "_client", "_collected", "_endpoint",
        "_faults", "_framed", "_half_closed", "_head", "_held", "_intake", "_keep_alive", "_length", "_loop", "_method",
        "_parser", "_paused", "_peer", "_state", "_stranger", "_swallowed", "_transport", "deadline",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        self._endpoint = endpoint
        self._loop = loop
        self._parser: HttpRequestParser | None = None
        self._transport: asyncio.Transport | None = None
        self._peer = b""  # who is connected
        self._client = b""  # for whom: behind a proxy that is trusted, another one with each request
        self._state = _IDLE
        self._head: Any = None  # aiohttp's RawRequestMessage
        self._method = ""  # of the request that is under way, as soon as its head has come
        self._body: Any = EMPTY_PAYLOAD  # aiohttp's StreamReader
        self._collected = bytearray()  # of a body that comes in parts
        self._intake: Intake | None = None  # takes it instead, where it is too large for the queue
        self._framed = 0  # bytes that the pieces of a large body came in
        self._held = 0  # bytes of this request in the endpoint's reading_bytes
        self._length: int | None = None  # Content-Length, None if it is not known
        self._behind = -1  # bytes received behind the head, -1 if that is not known
        self._block = b""  # the headers as they were sent, empty if they did not come in one piece
        self._clean = True  # nothing is left in the parser between two requests, as far as we know
        self._backlog = b""  # what the parser was not given yet
        self._keep_alive = True
        self._stranger = True  # no webhook of it was accepted yet
        self._faults = 0  # of its requests, as long as it is a stranger's
        self._half_closed = False
        self._paused = False
        self._choked = False  # the sender does not read its answers
        self._swallowed = 0
        self.deadline = 0.0

    # ------------------------------------------------------------------------------------------------ asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = self._client = peer[0].encode() if peer else b"?"
        endpoint, limits = self._endpoint, self._endpoint.limits
        count = len(endpoint.connections)
        if count >= limits.connections + _TOLD:
            self._transport.abort()
            return
        endpoint.connections.add(self)
        if count >= limits.connections and not endpoint.strangers.make_room():
            self._refuse(answers.CONNECTIONS)
            return
        endpoint.strangers.add(self)
        self.deadline = self._loop.time() + limits.first_byte_s

    def data_received(self, data: bytes) -> None:
        if self._state is _IDLE and self._clean:
            self._state = _HEARD
            self._endpoint.arrivals.add(self, data)
        elif self._state in _READING and (len(data) <= _SMALL_SLICE or len(data) <= self._slice):
            self._feed(data)
        elif self._state is _CLOSING:
            self._swallow(len(data))
        else:
            self._endpoint.reading_bytes += len(data)
            self._backlog += data
            self._pump()

    def eof_received(self) -> bool:
        """A sender may close its side and still wait for the answers of what it has sent whole."""
        self._half_closed = True
        if self._state not in (*_ENGAGED, _TURN) and not (self._state is _SPOOL and self._backlog):
            self._endpoint.departures.add(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # why it went changes nothing
        self._endpoint.connections.discard(self)
        self._endpoint.strangers.discard(self)
        self._release()
        self._drop_backlog()
        if self._state is _WAITING:
            self._endpoint.receiver.hung_up()
        self._abandon()
        self._transport = self._parser = (
            None  # which refer to this connection: only the garbage collector would find them
        )

    def pause_writing(self) -> None:
        """Somebody sends and does not read: nothing more is read or answered until they do."""
        self._choked = True
        self._pause()

    def resume_writing(self) -> None:
        self._choked = False
        if self._state is _TURN:
            self._loop.call_soon(self._continue)
        else:
            self._resume()

    # ------------------------------------------------------------------------------------ the parser's calls for flow

    def pause_reading(self) -> None:
        """The parser's body buffer is above its mark; it is emptied after each read all the same."""

    def resume_reading(self, *, resume_parser: bool = True) -> None:
        """The counterpart of `pause_reading`."""

    # ------------------------------------------------------------------------------------------------------ the clock

    def overdue(self, now: float) -> bool:
        """Whether the deadline has passed and counts; the broker's confirm has a clock of its own."""
        return self.deadline <= now and self._state not in _ENGAGED and self._transport is not None

    def expired(self) -> None:
        """The deadline has passed."""
        if self._state in (_HEAD, _BODY, _SPOOL):
            self._refuse(answers.SLOW)
        else:
            self._abort()

    def end(self) -> None:
        """The sender has hung up, and nothing of it is under way."""
        if self._transport is not None:
            self._transport.close()

    def give_up(self) -> None:
        """A fault of ours: nothing more can be said."""
        self._abort()

    def end_when_idle(self) -> None:
        """The process is ending: go now if nothing is under way, else after the answer."""
        self._keep_alive = False
        if self._state is _IDLE and self._transport is not None:
            self._transport.close()

    def leave(self) -> bool:
        """Make room for another one, without a word; False while a webhook of it may be under way."""
        if self._state in _ENGAGED or self._transport is None:
            return False
        self._abort()
        return True

    # ---------------------------------------------------------------------------------------------------- the request

    def heard(self, data: bytes, whole: Whole | None) -> None:
        """Go on with what has come between two requests. A whole one is received, even if its sender is gone by now."""
        if self._state is not _HEARD:
            return  # it was ended meanwhile
        self._state = _IDLE
        if self._transport is None:
            self._endpoint.receiver.hung_up()
        if whole is not None:
            self._take(*whole)
        elif self._transport is not None:
            self._endpoint.reading_bytes += len(data)
            self._backlog = data + self._backlog
            self._pump()
        if self._half_closed and self._state in _READING:
            self._endpoint.departures.add(self)

    def _feed(self, data: bytes) -> None:
        size = len(data)
        if self._state is _IDLE:
            if self._parser is None:
                # Not before there is something to read in parts: it is most of what a connection costs, and strangers open many.
                self._parser = made_parser(self._endpoint.limits, self._loop, self)
            self._state = _HEAD
            self.deadline = self._loop.time() + self._endpoint.limits.headers_s
            end = data.find(b"\r\n\r\n") if self._clean else -1
            self._behind = size - end - 4 if end >= 0 else -1
            # Nothing before the first line break: blank lines may come before a request (RFC 9112 §2.2).
            self._block = data[start + 2 : end + 2] if end >= 0 and (start := data.find(b"\r\n")) > 0 else b""
        elif self._behind >= 0:
            self._behind += size
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        """Without data: go on with what the parser has kept, which is at most a slice."""
        assert self._parser is not None
        try:
            messages, upgraded, _ = self._parser.feed_data(data)
        except Exception as error:  # noqa: BLE001  # whatever a parser thinks of, a stranger's bytes are a bad request
            self._refuse(refusal_of(error))
            return
        if messages:
            self._begin(*messages[0], size=len(data), upgraded=upgraded)
        elif self._state is _BODY:
            self._continue_body(len(data))
        elif self._state is _SPOOL:
            self._spool(self._body.read_nowait(), len(data))
        elif self._state is _HEAD:
            self._hold(len(data))
            if self._held > self._endpoint.limits.header_bytes:
                self._refuse(answers.HEADERS_TOO_LARGE)
            else:
                self._shed()

    def _take(self, head: Any, block: bytes, body: bytes) -> None:
        """A request that came in one piece."""
        self._block, self._behind, self._length = block, len(body), len(body)
        refusal = self._admit(head)
        if refusal is None:
            self._complete(body)
        else:
            self._refuse(refusal)

    def _begin(self, head: Any, body: Any, *, size: int, upgraded: bool) -> None:
        self._body = body
        # An offer to speak another protocol is passed over (RFC 9110 §7.8), but the parser stops at it.
        self._keep_alive = self._keep_alive and not (head.upgrade or upgraded)
        length = head.headers.get(hdrs.CONTENT_LENGTH)
        self._length = (None if head.chunked else 0) if length is None else int(length)
        limits = self._endpoint.limits
        too_large = self._held + (size or _SLICE) > limits.header_bytes and size_of(head) > limits.header_bytes
        refusal = self._admit(head, too_large=too_large)
        if refusal is not None:
            self._refuse(refusal)
        elif body.is_eof():
            self._complete(body.read_nowait())
        else:
            self._invite(head)
            self._state = _BODY
            self.deadline = self._loop.time() + limits.body_s
            self._continue_body(size)

    def _admit(self, head: Any, *, too_large: bool = False) -> Refusal | None:
        """Take up a request by its head, of which the length of its body is known; or say why it is refused."""
        endpoint, version = self._endpoint, head.version
        opened: Any = head if endpoint.url_tokens is None else endpoint.url_tokens.opened(head)
        self._head, self._method = opened, head.method
        if head.should_close or version is not HttpVersion11:
            self._keep_alive = False
        if version is not HttpVersion11 and version is not HttpVersion10:
            refusal: Refusal | None = answers.BAD_REQUEST  # the parser takes HTTP/0.9 and 2.0 for requests too
        elif too_large:
            refusal = answers.HEADERS_TOO_LARGE
        elif opened is None:
            refusal = answers.NOT_FOUND
        else:
            refusal = endpoint.receiver.check(opened, self._length)
        if endpoint.guard is not None:
            self._client = endpoint.guard.client_of(head, self._peer)
            refusal = endpoint.guard.check(self._client) or refusal
        return refusal

    def _invite(self, head: Any) -> None:
        """Let a sender go on that waits for it (RFC 9110 §10.1.1), now that the head has passed."""
        if head.version == HttpVersion11 and head.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            cast("asyncio.Transport", self._transport).write(answers.CONTINUE)

    def _continue_body(self, size: int) -> None:
        # Taken out after each read: a body in a million chunks of one byte would cost fifty times its size in there.
        part = self._body.read_nowait()
        self._hold(max(size, len(part)))  # what frames the chunks, and trailers, count as well
        self._collected += part
        length, limits = len(self._collected), self._endpoint.limits
        if length > self._endpoint.inline_bytes:
            self._outgrow(bytes(self._collected))
        elif self._held > 2 * (length + limits.header_bytes):
            self._refuse(answers.BAD_REQUEST)  # chunks of a few bytes cost a hundred times their share of the CPU
        elif self._body.is_eof():
            self._complete(bytes(self._collected))
        else:
            self._shed()

    def _shed(self) -> None:
        """Give up this request if all connections together hold too much."""
        if self._endpoint.reading_bytes > self._endpoint.limits.reading_bytes:
            self._refuse(answers.OVERLOADED)

    def _complete(self, body: bytes) -> None:
        if self._held:
            self._release()
        if len(body) > self._endpoint.inline_bytes:
            self._outgrow(body)
            return
        self._state = _WAITING
        head, block = self._head, self._block
        self._let_go()  # now: the next connection's request gets memory that is in the processor's cache still
        try:
            self._endpoint.receiver.receive(head, body, block, self._client, self._answer)
        except Exception as error:  # noqa: BLE001  # one webhook that can not be handled ends nothing but its connection
            self._loop.call_exception_handler({"message": "a webhook could not be handled", "exception": error})
            if self._state is _WAITING:
                self._refuse(answers.UNHANDLED)

    # ------------------------------------------------------------------------------------------------- a large webhook

    def _outgrow(self, begun: bytes) -> None:
        """The body is too large for the queue: the storage's, if there is one."""
        claims = self._endpoint.claims
        taker = claims.begin(self._head, self._block, self._client, self._flow) if claims else answers.TOO_LARGE
        if isinstance(taker, Refusal):
            self._refuse(taker)
            return
        self._framed, held = 0, self._held
        self._release()
        self._intake, self._state = taker, _SPOOL
        self._spool(begun, held)

    def _spool(self, piece: bytes, size: int) -> None:
        """Go on with a large body: a piece of it, and the bytes that it came in."""
        intake, limits = self._intake, self._endpoint.limits
        assert intake is not None
        self._framed += size
        refusal = intake.take(piece)
        if refusal is None and self._framed > 2 * (intake.body.size + limits.header_bytes):
            refusal = answers.BAD_REQUEST  # as in `_continue_body`
        if refusal is not None:
            self._refuse(refusal)
        elif self._body.is_eof():
            self._intake, self._state = None, _WAITING
            self._let_go()
            intake.finish(self._answer)

    def _abandon(self) -> None:
        if self._intake is not None:
            self._intake.abandon()
            self._intake = None

    def _flow(self) -> None:
        """Some of the body is on disk, or never will be."""
        if self._intake is None or self._transport is None:
            return
        if (refusal := self._intake.refusal) is not None:
            self._refuse(refusal)
            return
        self._pump()
        if self._half_closed and self._state is _SPOOL and not self._backlog:
            self._transport.close()  # the rest will never come

    # ----------------------------------------------------------------------------------------------------- the answer

    def _answer(self, verdict: Verdict) -> None:
        if not isinstance(verdict, bytes):
            self._refuse(verdict) if isinstance(verdict, Refusal) else self._reply(verdict)
            return
        transport = self._transport
        if transport is None:
            return  # it hung up; the webhook is safe all the same
        if self._stranger:
            self._stranger = False
            self._endpoint.strangers.discard(self)
        close = not self._keep_alive or self._endpoint.draining
        transport.write(self._endpoint.answers.accepted(verdict, close=close))
        self._next(close=close)

    def _reply(self, reply: Reply) -> None:
        """Answer a handshake."""
        if self._transport is not None:
            close = not self._keep_alive or self._endpoint.draining
            head_only = self._method == "HEAD"
            self._transport.write(self._endpoint.answers.replied(reply, close=close, head_only=head_only))
            self._next(close=close)

    def _refuse(self, refusal: Refusal) -> None:
        endpoint = self._endpoint
        endpoint.receiver.refused(refusal, self._client)
        unread = self._state is not _WAITING and not self._body.is_eof()
        ends = not self._method or not self._keep_alive or endpoint.draining
        if self._stranger and refusal.status < 500:
            self._faults += 1
        close = refusal.close or unread or ends or self._faults >= _FAULTS
        self._release()
        self._abandon()
        if self._transport is not None:
            head_only = self._method == "HEAD"
            self._transport.write(endpoint.answers.refused(refusal, close=close, head_only=head_only))
            self._let_go()
            self._next(close=close)

    def _next(self, *, close: bool) -> None:
        """After an answer: the end, or the next request, which may have come already."""
        if close:
            self._close()
            return
        alone = self._behind == self._length  # nothing came behind the request
        self._method = ""
        self.deadline = self._loop.time() + self._endpoint.limits.keep_alive_s
        if self._parser is not None:
            self._parser.message_consumed()
        if alone and not (self._backlog or self._half_closed or self._choked):
            self._state = _IDLE
            return
        self._state = _TURN
        if not self._choked:
            # Not at once: a thousand pipelined refusals would be a thousand calls deep.
            self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        """Take up what came behind the last request."""
        if self._state is not _TURN or self._choked or self._transport is None:
            return
        self._state = _IDLE
        if self._behind != self._length:  # the parser may have something of it
            self._clean, self._behind = False, -1
            self._parse(b"")
        self._pump()
        ended = _READING if self._half_closed else () if self._keep_alive else (_IDLE,)
        if self._state in ended:
            self._transport.close()

    def _close(self) -> None:
        """Say nothing more. The sender gets a moment to read the answer before the socket goes."""
        transport = self._transport
        assert transport is not None
        self._state = _CLOSING
        self.deadline = self._loop.time() + _LINGER_S
        self._drop_backlog()
        if self._half_closed:
            transport.close()
            return
        if transport.can_write_eof():
            transport.write_eof()
        self._resume()

    def _swallow(self, size: int) -> None:
        self._swallowed += size
        if self._swallowed > _LINGER_BYTES:
            self._abort()

    def _abort(self) -> None:
        """End at once: what has come and was not read yet is not looked at any more."""
        self._state = _CLOSING
        self._drop_backlog()
        self._abandon()
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------------------------------ what is held, and flow

    def _hold(self, size: int) -> None:
        self._held += size
        self._endpoint.reading_bytes += size

    def _let_go(self) -> None:
        """Keep nothing of a request that somebody else has now, or nobody."""
        self._head, self._body, self._block = None, EMPTY_PAYLOAD, b""

    def _release(self) -> None:
        if self._held:
            self._endpoint.reading_bytes -= self._held
            self._held = 0
            self._collected = bytearray()

    def _pump(self) -> None:
        """Give the parser what it was not given yet, slice by slice, until it has a request."""
        while self._backlog and self._state in _PARSING and not self._full:
            size = self._slice
            piece, self._backlog = self._backlog[:size], self._backlog[size:]
            self._endpoint.reading_bytes -= len(piece)
            self._feed(piece)
            if self._length is None and self._backlog and self._state is _BODY:
                # A thousand chunks may be in a slice, which take milliseconds: others have their turn before the next one.
                self._loop.call_soon(self._pump)
                break
        if self._backlog or self._full:
            self._pause()  # the socket keeps the rest
        else:
            self._resume()

    @property
    def _slice(self) -> int:
        return _SLICE if self._state is _SPOOL or (self._state is _BODY and self._length is not None) else _SMALL_SLICE

    @property
    def _full(self) -> bool:
        """Whether a large body comes faster than it is written."""
        return self._intake is not None and self._intake.full

    def _drop_backlog(self) -> None:
        self._endpoint.reading_bytes -= len(self._backlog)
        self._backlog = b""

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not (self._backlog or self._choked or self._full) and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
