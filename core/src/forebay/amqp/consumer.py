"""Consumes a queue and its lanes: hands each message to its owner, and acknowledges what the owner says is done.

An acknowledge only counts on the channel that delivered: what a former connection delivered is dropped silently, the
broker hands it out again.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel

from forebay.amqp.acknowledges import Acknowledges
from forebay.amqp.link import Link, resolve
from forebay.amqp.reader import Delivery, FrameReader
from forebay.amqp.writer import FrameWriter
from forebay.telemetry import Log

# Seconds within which a consumer registers with its ordered lanes.
SPREAD = 1.0
# Seconds within which the broker has to say that it has registered a consumer. One that has just come back may not (3.10, killed under
# load): its own limit is thirty, in which nothing would be delivered.
ANSWER_S = 10.0
# Seconds for which an acknowledge waits at most for others that it may stand for.
JOIN_S = 0.05


class Message:
    """One delivery by the broker. Exactly one of `ack` and `reject` is due; the broker waits half an hour at most."""

    __slots__ = (
        "_consumer", "_generation", "body", "content_type", "delivery_tag", "headers", "message_id", "redelivered",
        "routing_key",
    )  # fmt: skip

    def __init__(self, consumer: "Consumer", generation: int, delivery: Delivery) -> None:
        self._consumer = consumer
        self._generation = generation
        self.delivery_tag = delivery.delivery_tag
        self.redelivered = delivery.redelivered
        self.routing_key = delivery.routing_key
        self.message_id = delivery.message_id
        self.content_type = delivery.content_type
        self.headers: Mapping[str, Any] = delivery.headers
        self.body = delivery.body

    @property
    def stale(self) -> bool:
        """Whether its channel is gone: the broker hands it out again, and nothing said about this delivery counts."""
        return self._consumer.stale(self._generation)

    def ack(self) -> None:
        """It is settled: the broker may forget it."""
        self._consumer._ack(self._generation, self.delivery_tag)  # noqa: SLF001

    def give_back(self) -> None:
        """Hand it back untouched. From RabbitMQ 4.3 on this does not count towards the delivery limit."""
        self._consumer._give_back(self._generation, self.delivery_tag)  # noqa: SLF001

    def reject(self, *, requeue: bool = True) -> None:
        """Give it back (it counts towards the delivery limit), or let the broker dead-letter it."""
        self._consumer._reject(self._generation, self.delivery_tag, requeue=requeue)  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class Lane:
    """A queue to consume beside another one."""

    queue: str  # full name
    # How many messages may be open if it is an ordered lane, None if it is not. An ordered lane has one consumer at a time, which
    # is never cancelled: the broker would hand what follows to another one while what came before is not settled. It takes all of
    # it back at once when the connection ends.
    window: int | None = None
    most: int | None = (
        None  # how many messages may be open of a lane that is not ordered; None: as many as of the queue
    )
    leaving: bool = False  # whether it is no fault when it is gone


class Consumer:
    """A consumer of one queue, and of its lanes, over a link of its own.

    `on_message` is called on the loop for each delivery, at most `prefetch` of which are open at a time of each queue, until `take`
    says otherwise. After a loss of the connection deliveries begin anew; `generation` counts them. `arguments` are those of each new
    consumer: for a stream, from where on it reads. Of the prefetch, `reserve` messages are more than the owner has a use for at a
    time: so many acknowledges may wait for each other, for a moment, without any wait of the owner.
    """

    def __init__(
        self,
        url: Callable[[], str],
        *,
        name: str,
        queue: str,
        prefetch: int,
        on_message: Callable[[Message], None],
        arguments: Callable[[], dict[str, Any]] = dict,
        log: Log | None = None,
        lanes: tuple[Lane, ...] = (),
        reserve: int = 0,
    ) -> None:
        self.link = Link(url, name, self, log)
        self.generation = 0
        self._lanes = [Lane(queue), *lanes]
        self._usual = self._wanted = prefetch  # how many may be open; 0: nothing is taken
        self._reserve = reserve
        self._on_message = on_message
        self._arguments = arguments
        self._writer: FrameWriter | None = None
        self._acknowledges = Acknowledges()
        self._registered: dict[str, Lane] = {}  # by tag
        self._windows: set[Lane] = set()  # the ordered lanes that we registered with on this channel, or are about to
        self._tags = 0  # how many have been given out
        self._asked: int | None = None  # the prefetch with which the broker was asked to register us on this channel

    @property
    def consuming(self) -> bool:
        """Whether the broker has this consumer registered, with all its lanes."""
        return self._writer is not None and len(self._registered) == len(self._lanes)

    @property
    def wanted(self) -> bool:
        """Whether it is to take messages."""
        return self._wanted > 0

    def stale(self, generation: int) -> bool:
        """Whether what was delivered in this generation can not be settled any more."""
        return generation != self.generation or self._writer is None

    async def run(self) -> None:
        """Consume until cancelled."""
        await self.link.run()

    async def stop_consuming(self, within_s: float = 2.0) -> None:
        """Take no more messages but from ordered lanes; what was delivered can still be settled."""
        self._want(0)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._cancel(lambda _: resolve(done, None)):
            await asyncio.wait({done}, timeout=within_s)

    def resume_consuming(self) -> None:
        """Take messages again after `stop_consuming`."""
        self.take(self._usual)

    def take(self, prefetch: int) -> None:
        """Have so many messages open at most from now on, 0: take none; but for ordered lanes, whose windows stay as they are.

        It does not count: whoever lets the consumer take again first settles what he has.
        """
        self._want(prefetch)
        if self._wanted != self._asked:
            self._cancel(lambda _: None)
        if self._wanted and self.link.channel is not None and self._asked is None:
            self._consume(self.link.channel)

    # ------------------------------------------------------------------------------------ what the link tells

    def on_up(self, connection: AsyncioConnection, channel: Channel) -> None:
        generation = self.generation + 1
        channel.add_on_cancel_callback(lambda frame: self._cancelled_by_broker(generation, frame.method.consumer_tag))
        self.generation, self._writer, self._acknowledges = generation, FrameWriter(connection), Acknowledges()
        FrameReader(connection, lambda delivery: self._deliver(generation, delivery))
        if self._wanted:
            self._consume(channel)

    def on_down(self, reason: str) -> None:  # noqa: ARG002  # the link keeps the reason
        self._writer = None
        self._registered.clear()
        self._windows.clear()
        self._asked = None

    def on_blocked(self, *, blocked: bool) -> None:
        """Alarms do not concern consumers."""

    def _consume(self, channel: Channel) -> None:
        self._asked, loop = self._wanted, asyncio.get_running_loop()
        for lane in self._lanes:
            if lane.window is None:
                self._register(channel, self.generation, lane)
            elif lane not in self._windows:
                self._windows.add(lane)
                # Each is consumed by whoever came first: workers that start together are to share them.
                loop.call_later(random.uniform(0, SPREAD), self._register, channel, self.generation, lane)  # noqa: S311  # no secret

    def _register(self, channel: Channel, generation: int, lane: Lane) -> None:
        self._tags += 1
        tag = str(self._tags)

        def registered(_: Any) -> None:
            overdue.cancel()
            if self.stale(generation):
                return
            self._registered[tag] = lane
            if lane.window is None and self._cancellable:
                self.take(self._wanted)  # which may have changed before the broker had answered

        if self.stale(generation) or not channel.is_open:
            return
        window = lane.window or min(self._wanted, lane.most or self._wanted)
        overdue = asyncio.get_running_loop().call_later(ANSWER_S, self._not_registered, generation)
        channel.basic_qos(prefetch_count=window)  # of the consumer that comes next
        channel.basic_consume(
            lane.queue, _never_called, consumer_tag=tag, arguments=self._arguments(), callback=registered
        )
        if lane.window is not None:
            channel._consumers.pop(tag)  # noqa: SLF001  # pika cancels what it knows of before it closes a channel

    def _not_registered(self, generation: int) -> None:
        if not self.stale(generation):
            self.link.recycle(f"the broker has not registered the consumer within {ANSWER_S:g} s")

    def _deliver(self, generation: int, delivery: Delivery) -> None:
        if not self.stale(generation):  # a connection that was given up may still have something to say
            self._on_message(Message(self, generation, delivery))

    def _cancel(self, done: Callable[[Any], None]) -> bool:
        """Ask the broker to end the deliveries, if it has begun them; whether `done` will hear of it."""
        channel, tags = self.link.channel, self._cancellable
        if channel is None or not tags or not channel.is_open:
            return False
        self._asked = None
        for tag in tags:
            del self._registered[tag]
            channel.basic_cancel(tag, callback=done if tag == tags[-1] else None)
        return True

    @property
    def _cancellable(self) -> list[str]:
        """The tags of all queues that are no ordered lanes, once the broker has registered them all."""
        tags = [tag for tag, lane in self._registered.items() if lane.window is None]
        return tags if len(tags) == sum(lane.window is None for lane in self._lanes) else []

    def _cancelled_by_broker(self, generation: int, tag: str) -> None:
        if self.stale(generation):
            return
        lane = self._registered.get(tag)
        if lane is not None and lane.leaving:
            self._lanes.remove(lane)
            del self._registered[tag]
        else:
            self.link.recycle("the broker cancelled the consumer (is the queue gone?)")

    # ------------------------------------------------------------------------------------ what the owner says

    def _ack(self, generation: int, tag: int) -> None:
        if self.stale(generation):
            return
        waiting, loop = self._acknowledges.done(tag), asyncio.get_running_loop()
        most = self._reserve if self._wanted == self._usual else 0
        if waiting == max(1, most):
            # At the end of this turn of the loop, so that one acknowledge can stand for all of it.
            loop.call_soon(self._flush, generation)
        elif waiting == 1:
            loop.call_later(JOIN_S, self._flush, generation)

    def _want(self, prefetch: int) -> None:
        self._wanted = prefetch
        self._flush(self.generation)  # what waits was counted with the prefetch of before

    def _give_back(self, generation: int, tag: int) -> None:
        channel = self._settling(generation, tag)
        if channel is not None:
            channel.basic_nack(tag, requeue=True)

    def _reject(self, generation: int, tag: int, *, requeue: bool) -> None:
        channel = self._settling(generation, tag)
        if channel is not None:
            channel.basic_reject(tag, requeue=requeue)

    def _settling(self, generation: int, tag: int) -> Channel | None:
        """The channel on which the broker will hear of this delivery otherwise than by an acknowledge, if it still can."""
        self._flush(generation)
        channel = self.link.channel
        if channel is None or self.stale(generation) or not channel.is_open:
            return None
        self._acknowledges.rejected(tag)
        return channel

    def _flush(self, generation: int) -> None:
        if self._writer is None or self.stale(generation):
            return
        due = self._acknowledges.frames()
        if due:
            self._writer.write(due)
            self._writer.flush()


def _never_called(*_: Any) -> None:
    """Deliveries do not come by pika's callback but from the FrameReader."""
