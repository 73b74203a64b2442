"""Slots that all workers of a source share: whoever delivers holds one, so no more deliveries are under way than there are.

A slot is a message that stays in its queue for good. A worker that holds one has it unacknowledged, and gives it back when
the delivery has ended; if the worker is killed, RabbitMQ gives it back. Each slot is asked for by a consumer of its own, which
takes one message and is cancelled when nobody waits: an idle worker keeps no slots from others.
"""

import asyncio
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel

from forebay.amqp.link import Link, resolve
from forebay.telemetry import Log
from forebay.turns import Turns

GiveBack = Callable[[], None]


class Slots:
    """Takes slots for one worker."""

    def __init__(self, url: Callable[[], str], *, name: str, queue: str, log: Log | None = None) -> None:
        self.link = Link(url, name, self, log)
        self._queue = queue
        self._waiters = Turns[asyncio.Future[GiveBack | None]]()
        self._closed = False
        self._channel: Channel | None = None
        self._asking: set[str] = set()  # tags of the consumers that have no slot yet
        self._tags = 0

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._waiters)

    async def take(self, group: Hashable = None) -> GiveBack | None:
        """Wait for a slot, in turn with other groups; what is returned gives it back. None: there will be none, this is closed."""
        if self._closed:
            return None
        waiter: asyncio.Future[GiveBack | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter, group)
        self._ask()
        try:
            return await waiter
        except asyncio.CancelledError:
            # Granted in the very moment in which it was wanted no more.
            if waiter.done() and not waiter.cancelled() and (give_back := waiter.result()) is not None:
                give_back()
            raise
        finally:
            self._waiters.discard(waiter)  # unless it is granted and out already

    def close(self) -> None:
        """Grant no more: who waits hears it now."""
        self._closed = True
        for waiter in self._waiters:
            resolve(waiter, None)

    async def run(self) -> None:
        """Keep the link, until cancelled."""
        await self.link.run()

    # ------------------------------------------------------------------------------------ what the link tells

    def on_up(self, connection: AsyncioConnection, channel: Channel) -> None:  # noqa: ARG002  # the channel is enough
        self._channel = channel
        channel.add_on_cancel_callback(lambda _: self.link.recycle("the broker cancelled a consumer of slots"))
        channel.basic_qos(prefetch_count=1)  # of each consumer
        self._ask()

    def on_down(self, reason: str) -> None:  # noqa: ARG002  # the link keeps the reason
        self._channel = None
        self._asking.clear()

    def on_blocked(self, *, blocked: bool) -> None:
        """Alarms do not concern who never publishes."""

    # ------------------------------------------------------------------------------------ asking, holding, giving back

    def _ask(self) -> None:
        while self._channel is not None and len(self._asking) < len(self._waiters):
            self._tags += 1
            tag = f"slot-{self._tags}"
            self._asking.add(tag)
            self._channel.basic_consume(self._queue, self._on_slot, consumer_tag=tag)

    def _on_slot(self, channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        if self._channel is None or channel is not self._channel:
            return
        self._asking.discard(method.consumer_tag)
        give_back = partial(self._give_back, channel, method)
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(give_back)
                return
        give_back()

    def _give_back(self, channel: Any, method: Any) -> None:
        """To the others first. On a channel that is gone the broker has done it."""
        if self._channel is None or channel is not self._channel:
            return
        if len(self._asking) < len(self._waiters):
            self._asking.add(method.consumer_tag)  # it goes on asking, behind those of other workers
        else:
            channel.basic_cancel(method.consumer_tag)
        channel.basic_nack(method.delivery_tag, requeue=True)
