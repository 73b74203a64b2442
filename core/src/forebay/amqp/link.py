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
from pika.channel import Channel

from forebay.amqp.frames import CHANNEL
from forebay.errors import SpecError

T = TypeVar("T")

# Seconds. The stack timeout bounds one attempt (TCP, TLS, AMQP); a broker that hangs in it gets a new attempt.
STACK_TIMEOUT = 5.0
SOCKET_TIMEOUT = 3.0
HEARTBEAT = 15
# An alarm may last; when it lasts longer than this, a fresh connection shows whether it is still true.
BLOCKED_TIMEOUT = 300.0
# Attempts start 20-250 ms apart, so that the first webhook after a restart of the broker waits for less than a second,
# and slow down to a second for a broker that stays away.
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0


class Tenant(Protocol):
    """Who lives on a link: the publisher or the consumer."""

    def on_up(self, connection: AsyncioConnection, channel: Channel) -> None:
        """Begin: the channel is open."""

    def on_down(self, reason: str) -> None:
        """Forget everything that was under way: nothing more will be heard of it."""

    def on_blocked(self, *, blocked: bool) -> None:
        """React to the broker's memory or disk alarm."""


def parameters(url: str, name: str) -> list[pika.URLParameters]:
    """Read pika's parameters of one URL or of several with commas between. Raises SpecError; never repeats the password."""
    found = []
    for one in filter(None, (part.strip() for part in url.split(","))):
        try:
            parsed = pika.URLParameters(one)
        except (ValueError, TypeError, AttributeError) as error:
            raise SpecError(
                "the broker's URL can not be read; it takes amqp://USER:PASSWORD@HOST:PORT/VHOST"
            ) from error
        parsed.heartbeat = HEARTBEAT
        parsed.socket_timeout = SOCKET_TIMEOUT
        parsed.stack_timeout = STACK_TIMEOUT
        parsed.blocked_connection_timeout = BLOCKED_TIMEOUT
        parsed.client_properties = {"connection_name": name}
        found.append(parsed)
    if not found:
        raise SpecError("the broker's URL is empty; it takes amqp://USER:PASSWORD@HOST:PORT/VHOST")
    return found


class Link:
    """Keeps one connection and one channel open for its tenant.

    `url` is called before each attempt, so that a rotated password is found. `error` says in one sentence why the link
    is down, None while it is up.
    """

    def __init__(self, url: Callable[[], str], name: str, tenant: Tenant) -> None:
        self._url = url
        self._name = name
        self._tenant = tenant
        self._lost = asyncio.Event()
        self._reason = ""
        self._connection: AsyncioConnection | None = None
        self.channel: Channel | None = None
        self.blocked = False
        self.error: str | None = "not connected yet"
        self.attempts = 0  # connections tried since the start

    @property
    def up(self) -> bool:
        return self.channel is not None

    async def run(self) -> None:
        """Connect, stay, reconnect, until cancelled; then close."""
        pause = FIRST_PAUSE
        try:
            while True:
                if await self._connect():
                    pause = FIRST_PAUSE
                    await self._lost.wait()
                    self._went_down(self._reason)
                await asyncio.sleep(pause * random.uniform(0.4, 1.0))  # noqa: S311  # jitter, not a secret
                pause = min(pause * 2, LAST_PAUSE)
        finally:
            self._discard()

    def recycle(self, reason: str) -> None:
        """Give up the present connection, whatever its state, and make a new one."""
        self._reason = reason
        self._lost.set()

    async def _connect(self) -> bool:
        self._lost = asyncio.Event()
        self.attempts += 1
        try:
            choices = parameters(self._url(), self._name)
            self._connection = await self._open(choices[self.attempts % len(choices)])
            channel = await self._open_channel(self._connection)
        except (SpecError, pika.exceptions.AMQPError, OSError, TimeoutError) as error:
            self.error = _sentence(error)
            self._discard()
            return False
        self.channel, self.error = channel, None
        self._tenant.on_up(self._connection, channel)
        return True

    async def _open(self, chosen: pika.URLParameters) -> AsyncioConnection:
        opened: asyncio.Future[AsyncioConnection] = asyncio.get_running_loop().create_future()

        def failed(_connection: Any, error: BaseException) -> None:
            if opened.done():
                self.recycle(_sentence(error))
            else:
                opened.set_exception(error if isinstance(error, Exception) else OSError(str(error)))

        connection = AsyncioConnection(
            chosen,
            on_open_callback=lambda connection: resolve(opened, connection),
            on_open_error_callback=failed,
            on_close_callback=failed,
        )
        self._connection = connection
        connection.add_on_connection_blocked_callback(lambda *_: self._set_blocked(blocked=True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(blocked=False))
        async with asyncio.timeout(STACK_TIMEOUT + 1):
            return await opened

    async def _open_channel(self, connection: AsyncioConnection) -> Channel:
        opened: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
        channel = connection.channel(CHANNEL, on_open_callback=lambda channel: resolve(opened, channel))
        channel.add_on_close_callback(lambda _channel, error: self.recycle(_sentence(error)))
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            async with asyncio.timeout(STACK_TIMEOUT):
                await asyncio.wait({opened, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        if not opened.done():
            raise OSError(self._reason)
        return opened.result()

    def _set_blocked(self, *, blocked: bool) -> None:
        self.blocked = blocked
        self._tenant.on_blocked(blocked=blocked)

    def _went_down(self, reason: str) -> None:
        self.error = reason
        self._discard()
        self._tenant.on_down(reason)

    def _discard(self) -> None:
        """Drop the connection. A hanging broker never answers a polite close, so the socket is closed as well."""
        connection, self._connection, self.channel, self.blocked = self._connection, None, None, False
        if connection is None:
            return
        with contextlib.suppress(pika.exceptions.AMQPError):
            if connection.is_open:
                connection.close()
        # The polite close is on its way by now; the abort only follows when the loop has turned.
        asyncio.get_running_loop().call_later(0.2, _abort, connection)


def resolve(future: "asyncio.Future[T]", value: T) -> None:
    """Set the result of a future that may have been cancelled meanwhile."""
    if not future.done():
        future.set_result(value)


def _abort(connection: AsyncioConnection) -> None:
    if not connection.is_closed:
        connection._adapter_disconnect_stream()  # noqa: SLF001  # pika has no public way to drop a silent connection


def _sentence(error: BaseException) -> str:
    """What went wrong, short. pika wraps the cause in layers whose texts are empty."""
    inner: Any = error
    while inner is not None:
        arguments = getattr(inner, "exceptions", None) or getattr(inner, "args", None) or ()
        deeper = arguments[-1] if arguments and isinstance(arguments[-1], BaseException) else None
        if deeper is None:
            break
        inner = deeper
    if isinstance(inner, (pika.exceptions.ConnectionClosed, pika.exceptions.ChannelClosed)):
        return f"the broker closed it: {inner.reply_code} {inner.reply_text}"
    if isinstance(inner, TimeoutError):
        return "the broker does not answer (timeout)"
    return str(inner) or type(inner).__name__
