"""Confirmed publishes: every message ends in exactly one Outcome, and CONFIRMED means that the broker has it for good.

Every publish is mandatory and persistent. An unroutable message comes back *before* its confirm, on the same channel
(https://www.rabbitmq.com/docs/publishers#unroutable): so the return is remembered and the decision falls at the confirm.
"""

import asyncio
import enum
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel
from pika.data import encode_value
from pika.exceptions import UnsupportedAMQPFieldException

from forebay.amqp import frames
from forebay.amqp.confirms import ConfirmReader
from forebay.amqp.link import Link, resolve
from forebay.amqp.writer import FrameWriter
from forebay.envelope import AmqpMessage
from forebay.errors import Busy, Rejected, Unavailable
from forebay.telemetry import Log


class Outcome(enum.Enum):
    """How a publish ended. Only CONFIRMED is a yes; of all others but UNROUTABLE the message may be in the queue all the same."""

    CONFIRMED = "confirmed"
    UNROUTABLE = "unroutable"  # no queue is bound; the broker kept nothing
    REFUSED = "refused"  # the broker said no (a full queue, a failing one)
    TIMEOUT = "timeout"  # no confirm in time
    DISCONNECTED = "disconnected"  # the connection was lost before the confirm
    BLOCKED = "blocked"  # memory or disk alarm of the broker
    DOWN = "down"  # there is no connection now
    BUSY = "busy"  # our own bound on what is in flight


Done = Callable[[Outcome], None]


# What waits for its confirm: whom to tell, bytes, the loop's time when it expires, message id. A plain tuple: an object of
# ours would cost a webhook three times as much.
_Pending = tuple[Done, int, float, bytes]


class Publisher:
    """Publishes to RabbitMQ over one link of its own (a blocked publisher must not stop a consumer).

    `done` is called exactly once for each publish, possibly before `send` returns. `in_flight` and `in_flight_bytes`
    count what waits for its confirm; at the bounds a publish ends as BUSY at once, because pika's own buffer has no bound.
    """

    def __init__(
        self,
        url: Callable[[], str],
        *,
        name: str,
        confirm_s: float = 5.0,
        max_in_flight: int = 2_000,
        max_in_flight_bytes: int = 64 * 1024 * 1024,
        log: Log | None = None,
    ) -> None:
        self.link = Link(url, name, self, log)
        self.in_flight_bytes = 0
        self._confirm_s = confirm_s
        self._max_in_flight = max_in_flight
        self._max_bytes = max_in_flight_bytes
        self._pending: dict[int, _Pending] = {}
        # message id -> the tag that was next when it came back. Two publishes of one id may be under way (a message that
        # was handed out twice); which of them came back nobody says, so neither counts as confirmed.
        self._returned: dict[bytes, int] = {}
        self._next_tag = 1
        self._writer: FrameWriter | None = None
        self._confirms: ConfirmReader | None = None
        self.frame_max = 131_072
        self._loop = asyncio.get_running_loop()

    @property
    def in_flight(self) -> int:
        return len(self._pending)

    @property
    def up(self) -> bool:
        """Whether it can publish: the broker has turned confirms on, a round trip after the link came up."""
        return self._writer is not None

    @property
    def obstacle(self) -> Outcome | None:
        """Why a publish would end at once without a try, None if it would be tried."""
        if self._writer is None:
            return Outcome.DOWN
        if self.link.blocked:
            return Outcome.BLOCKED
        if len(self._pending) >= self._max_in_flight or self.in_flight_bytes >= self._max_bytes:
            return Outcome.BUSY
        return None

    async def run(self) -> None:
        """Keep the link and the clock of the confirms, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.link.run())
            group.create_task(self._watch_clock())

    def send(self, publish: bytes, message_id: bytes, done: Done) -> None:
        """Publish prepared frames (`forebay.amqp.frames`); `done` hears the outcome."""
        obstacle = self.obstacle
        if obstacle is not None:
            done(obstacle)
            return
        assert self._writer is not None
        size = len(publish)
        self._pending[self._next_tag] = (done, size, self._loop.time() + self._confirm_s, message_id)
        self._next_tag += 1
        self.in_flight_bytes += size
        if self._writer.write(publish):
            assert self._confirms is not None, "it comes and goes with the writer"
            self._confirms.look()  # for the turn is a long one: what is confirmed by now need not wait for its end

    async def publish(self, exchange: str, routing_key: str, message: AmqpMessage) -> None:
        """Publish and wait for the confirm.

        Raises Rejected if no queue is bound or the headers do not fit into a frame, Busy at our own bound, Unavailable
        for everything that time may heal.
        """
        answer: asyncio.Future[Outcome] = self._loop.create_future()
        try:
            publish = self.encode(exchange, routing_key, message)
        except frames.OversizedError as error:
            raise Rejected(str(error)) from error
        self.send(publish, frames.cut(message.message_id), lambda outcome: resolve(answer, outcome))
        outcome = await answer
        if outcome is Outcome.UNROUTABLE:
            raise Rejected(f"no queue is bound to exchange {exchange} with key {routing_key}")
        if outcome is Outcome.BUSY:
            raise Busy("too many publishes are waiting for their confirms")
        if outcome is not Outcome.CONFIRMED:
            raise Unavailable(f"the broker did not confirm the message ({outcome.value})")

    def encode(self, exchange: str, routing_key: str, message: AmqpMessage) -> bytes:
        """The frames of a message. Raises OversizedError for headers beyond a frame."""
        return frames.publish_frames(
            frames.method_frame(exchange.encode(), routing_key.encode()),
            b"" if message.content_type is None else frames.short(frames.cut(message.content_type)),
            b"".join(_item(name, value) for name, value in message.headers.items()),
            frames.after_table(frames.cut(message.message_id), message.timestamp, message.app_id.encode()),
            message.body,
            frame_max=self.frame_max,
        )

    # ------------------------------------------------------------------------------------ what the link tells

    def on_up(self, connection: AsyncioConnection, channel: Channel) -> None:
        # Each callback knows its connection: a confirm of a former one would be taken for one of the same number here.
        channel.add_on_return_callback(partial(self._on_return, connection))
        channel.confirm_delivery(partial(self._on_nack, connection), callback=lambda _: self._open(connection))

    def on_down(self, reason: str) -> None:  # noqa: ARG002  # the link keeps the reason
        self._writer = self._confirms = None
        self._fail_all(Outcome.DISCONNECTED)

    def on_blocked(self, *, blocked: bool) -> None:
        if blocked:
            self._fail_all(Outcome.BLOCKED)

    def _open(self, connection: AsyncioConnection) -> None:
        if self._stale(connection):
            return
        self._next_tag = 1
        self.frame_max = connection.params.frame_max or self.frame_max
        self._writer = FrameWriter(connection)
        self._confirms = ConfirmReader(connection, partial(self._on_confirm, connection, Outcome.CONFIRMED))

    def _stale(self, connection: AsyncioConnection) -> bool:
        return connection is not self.link.connection

    # ------------------------------------------------------------------------------------ what the broker answers

    def _on_return(
        self, connection: AsyncioConnection, _channel: Any, _method: Any, properties: Any, _body: bytes
    ) -> None:
        if not self._stale(connection):
            self._returned[str(properties.message_id).encode()] = self._next_tag

    def _on_nack(self, connection: AsyncioConnection, frame: Any) -> None:
        self._on_confirm(connection, Outcome.REFUSED, frame.method.delivery_tag, frame.method.multiple)

    def _on_confirm(self, connection: AsyncioConnection, outcome: Outcome, last: int, multiple: int) -> None:
        if self._stale(connection):
            return
        if not multiple:
            self._finish(last, outcome)
            return
        covered = []
        for tag in self._pending:  # in the order of publishing, so the first one beyond ends it
            if tag > last:
                break
            covered.append(tag)
        for tag in covered:
            self._finish(tag, outcome)

    def _finish(self, tag: int, outcome: Outcome) -> None:
        pending = self._pending.pop(tag, None)
        if pending is None:
            return  # its time was over already
        done, size, _, message_id = pending
        self.in_flight_bytes -= size
        if self._returned and self._returned.get(message_id, 0) > tag:
            outcome = Outcome.UNROUTABLE
        done(outcome)

    def _fail_all(self, outcome: Outcome) -> None:
        pending, self._pending = self._pending, {}
        self._returned.clear()
        self.in_flight_bytes = 0
        for done, *_ in pending.values():
            done(outcome)

    async def _watch_clock(self) -> None:
        while True:
            await asyncio.sleep(min(0.25, self._confirm_s / 4))
            now = self._loop.time()
            overdue = [tag for tag, (_, _, expires, _) in self._pending.items() if expires <= now]
            for tag in overdue:
                self._finish(tag, Outcome.TIMEOUT)
            if overdue:
                # A channel that owes a confirm is not trusted with more: a fresh one starts clean.
                self.link.recycle(f"no confirm within {self._confirm_s:g} s")
            self._forget_returns()

    def _forget_returns(self) -> None:
        """Drop what came back and is decided: nothing older is under way."""
        oldest = next(iter(self._pending), self._next_tag)
        self._returned = {key: tag for key, tag in self._returned.items() if tag > oldest}


def _item(name: str, value: Any) -> bytes:
    """One header. Our own are text and integers; those of a stranger's message can be anything that AMQP knows."""
    key = frames.cut(name)
    if isinstance(value, str):
        return frames.text_item(key, value.encode("utf-8", "replace"))
    pieces: list[bytes] = []
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return frames.int_item(key, value)
        encode_value(pieces, value)
    except (struct.error, UnsupportedAMQPFieldException):
        return frames.text_item(key, str(value).encode("utf-8", "replace"))
    return frames.short(key) + b"".join(pieces)
