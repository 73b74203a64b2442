"""One connection with one channel to RabbitMQ, brought back by itself whenever it is lost.

All of pika's callbacks end here and in `publisher` and `consumer`. pika's AsyncioConnection is the client: it costs a fifth
of the CPU of the alternatives and is the class that pika keeps (BlockingConnection goes away with 2.0).
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import pika
import pika.exceptions
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout
from pika.channel import Channel

from forebay.amqp.frames import CHANNEL
from forebay.amqp.outage import Outage
from forebay.errors import SpecError
from forebay.telemetry import Log

T = TypeVar("T")

# Seconds. The stack timeout bounds one attempt (TCP, TLS, AMQP); a broker that hangs in it gets a new attempt.
STACK_TIMEOUT = 5.0
SOCKET_TIMEOUT = 3.0
HEARTBEAT = 15
# An alarm may last; when it lasts longer than this, a fresh connection shows whether it is still true.
BLOCKED_TIMEOUT = 300.0
# Attempts start 20-50 ms apart and slow down to 200-500 ms for a broker that stays away: the first webhook after its
# return still waits for less than a second.
FIRST_PAUSE, LAST_PAUSE = 0.05, 0.5
# A connection that lasted for less was no success: what broke it (a queue that is not there) will break the next one.
STEADY = 1.0
# A polite close gets so long before the socket is closed.
CLOSE_TIMEOUT = 0.2


class Tenant(Protocol):
    """Who lives on a link: the publisher or the consumer."""

    def on_up(self, connection: AsyncioConnection, channel: Channel) -> None:
        """Begin: the channel is open."""

    def on_down(self, reason: str) -> None:
        """Forget everything that was under way: nothing more will be heard of it."""

    def on_blocked(self, *, blocked: bool) -> None:
        """React to the broker's memory or disk alarm."""


_FORM = "it takes amqp://USER:PASSWORD@HOST:PORT/VHOST"


def parameters(url: str, name: str) -> list[pika.URLParameters]:
    """Read pika's parameters of one URL or of several with commas between. Raises SpecError; never repeats the password."""
    found = [_parsed(one) for part in url.split(",") if (one := part.strip())]
    if not found:
        raise SpecError(f"the broker's URL is empty; {_FORM}")
    for parsed in found:
        parsed.heartbeat = HEARTBEAT
        parsed.socket_timeout = SOCKET_TIMEOUT
        parsed.stack_timeout = STACK_TIMEOUT
        parsed.blocked_connection_timeout = BLOCKED_TIMEOUT
        parsed.client_properties = {"connection_name": name}
    return found


def _parsed(url: str) -> pika.URLParameters:
    if not url.startswith(("amqp://", "amqps://")):
        raise SpecError(f"the broker's URL is none of AMQP; {_FORM}")
    try:
        return pika.URLParameters(url)
    except (ValueError, TypeError, AttributeError, LookupError, SyntaxError) as error:
        raise SpecError(f"the broker's URL can not be read; {_FORM}") from error


class Link:
    """Keeps one connection and one channel open for its tenant.

    `url` is called before each attempt, so that a rotated password is found. `error` says in one sentence why the link
    is down, None while it is up. A connection that was given up may still speak (a confirm that was on its way): who
    listens to one compares it with `connection`. An outage and its end are told to `log`.
    """

    def __init__(self, url: Callable[[], str], name: str, tenant: Tenant, log: Log | None = None) -> None:
        self._url = url
        self._name = name
        self._tenant = tenant
        self._outage = Outage(log, name)
        self._lost = asyncio.Event()
        self._reason = ""
        self.connection: AsyncioConnection | None = None
        self.channel: Channel | None = None
        self.blocked = False
        self.error: str | None = "not connected yet"
        self.attempts = 0  # connections tried since the start

    @property
    def up(self) -> bool:
        return self.channel is not None

    async def run(self) -> None:
        """Connect, stay, reconnect, until cancelled; then close."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        try:
            while True:
                if await self._connect() and await self._stay():
                    pause = FIRST_PAUSE
                self._outage.began(loop.time(), self.error)
                await asyncio.sleep(pause * random.uniform(0.4, 1.0))  # noqa: S311  # jitter, not a secret
                pause = min(pause * 2, LAST_PAUSE)
        finally:
            await self._close()

    def recycle(self, reason: str) -> None:
        """Give up the present connection, whatever its state, and make a new one."""
        self._reason = reason
        self._lost.set()

    async def _stay(self) -> bool:
        """Until the connection is lost. Whether it was steady: one that was not ends no outage."""
        came = asyncio.get_running_loop().time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STEADY):
                await self._lost.wait()
        steady = not self._lost.is_set()
        if steady:
            self._outage.ended(came)
            await self._lost.wait()
        self._went_down(self._reason)
        return steady

    async def _connect(self) -> bool:
        self._lost = asyncio.Event()
        self.attempts += 1
        try:
            choices = parameters(self._url(), self._name)
            connection = await self._open(choices[self.attempts % len(choices)])
            channel = await self._open_channel(connection)
            self._tenant.on_up(connection, channel)
        except (SpecError, pika.exceptions.AMQPError, OSError, ValueError) as error:
            self.error = _sentence(error)
            self._discard()
            return False
        self.channel, self.error = channel, None
        return True

    async def _open(self, chosen: pika.URLParameters) -> AsyncioConnection:
        opened: asyncio.Future[AsyncioConnection] = asyncio.get_running_loop().create_future()

        def failed(connection: AsyncioConnection, error: BaseException) -> None:
            if opened.done():
                self._lose(connection, error)
            else:
                opened.set_exception(OSError(_sentence(error)))  # not all of pika's own share a root

        self.connection = connection = AsyncioConnection(
            chosen,
            on_open_callback=lambda connection: resolve(opened, connection),
            on_open_error_callback=failed,
            on_close_callback=failed,
        )
        connection.add_on_connection_blocked_callback(lambda which, _: self._set_blocked(which, blocked=True))
        connection.add_on_connection_unblocked_callback(lambda which, _: self._set_blocked(which, blocked=False))
        async with asyncio.timeout(STACK_TIMEOUT + 1):
            return await opened

    async def _open_channel(self, connection: AsyncioConnection) -> Channel:
        opened: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
        channel = connection.channel(CHANNEL, on_open_callback=lambda channel: resolve(opened, channel))
        channel.add_on_close_callback(lambda _channel, error: self._lose(connection, error))
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            async with asyncio.timeout(STACK_TIMEOUT):
                await asyncio.wait({opened, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        if not opened.done():
            raise OSError(self._reason)
        return opened.result()

    def _lose(self, connection: AsyncioConnection, error: BaseException) -> None:
        if connection is self.connection:
            self.recycle(_sentence(error))

    def _set_blocked(self, connection: AsyncioConnection, *, blocked: bool) -> None:
        if connection is self.connection:
            self.blocked = blocked
            self._tenant.on_blocked(blocked=blocked)

    def _went_down(self, reason: str) -> None:
        self.error = reason
        self._discard()
        self._tenant.on_down(reason)

    def _discard(self) -> None:
        """Drop the connection. A hanging broker never answers a polite close, so the socket is closed as well."""
        connection, self.connection, self.channel, self.blocked = self.connection, None, None, False
        if connection is None or connection.is_closed:
            return
        if connection.is_open:
            connection.close()
        # Also one that is still connecting: in the moment in which its socket is handed over, pika can not let go of it.
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, _abort, connection)

    async def _close(self) -> None:
        """The end: nothing that was under way is left without an answer, and the broker hears of it."""
        connection = self.connection
        if self.up:
            self._went_down("closed")
        self._discard()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * CLOSE_TIMEOUT):
                while connection is not None and not connection.is_closed:  # noqa: ASYNC110  # pika has no event for it
                    await asyncio.sleep(0.005)


def resolve(future: "asyncio.Future[T]", value: T) -> None:
    """Set the result of a future that may have been cancelled meanwhile."""
    if not future.done():
        future.set_result(value)


def _abort(connection: AsyncioConnection) -> None:
    if not connection.is_closed:
        # pika has no public way to drop a silent connection.
        connection._terminate_stream(pika.exceptions.StreamLostError("given up"))  # noqa: SLF001


def _sentence(error: BaseException) -> str:
    """What went wrong, short. pika wraps the cause in layers whose texts are empty."""
    inner: BaseException = error
    while (deeper := _cause(inner)) is not None:
        inner = deeper
    if isinstance(inner, (pika.exceptions.ConnectionClosed, pika.exceptions.ChannelClosed)):
        return f"the broker closed it: {inner.reply_code} {inner.reply_text}"
    if isinstance(inner, (TimeoutError, AMQPConnectorStackTimeout, pika.exceptions.ConnectionOpenAborted)):
        return "the broker does not answer (timeout)"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return " ".join(map(str, inner.args)) or type(inner).__name__


def _cause(error: Any) -> BaseException | None:
    layers = (*getattr(error, "exceptions", ()), getattr(error, "exception", None), *error.args)
    return next((layer for layer in reversed(layers) if isinstance(layer, BaseException)), None)
