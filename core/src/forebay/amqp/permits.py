"""Permits of a rate that all workers of a source share: whoever is about to deliver takes one first.

    worker ──("short": a note)──> NAMES.permits.wanted ──(single active consumer)──> the worker that pours
    the worker that pours ──(permits, as they fall due)──> NAMES.permits.rate-BURST ──> whoever waits

The permits' queue is the bucket: its maximum length is the burst, so what nobody takes overflows. Only one worker pours
at a time, and RabbitMQ says which: the one to which it hands the notes. It holds on to the last note, so that its successor
hears of it the moment the broker misses the holder. All goes over one channel, and nothing counts that is sent on a channel
that the broker has given up: a worker that was away can not pour beside its successor. While nobody is short of permits
nothing is sent; what falls due meanwhile is poured, as far as the bucket takes it, when somebody is.

The broker's alarms stop what publishes, and deliveries are what frees memory and disk: each worker then goes on at its share
of the rate, by the number of workers that were heard of of late.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Hashable
from typing import Any

from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel

from forebay.amqp.link import Link, resolve
from forebay.bucket import Bucket
from forebay.telemetry import Log
from forebay.topology import Names, RateLimit
from forebay.turns import Turns

# Seconds. Who has waited so long is short of permits: one that lies in the queue comes sooner.
SHORT = 0.02
# Between two notes of one worker: half the time between two permits, within these.
_OFTEN, _SELDOM = 0.25, 5.0
# A worker that is not short writes a note now and then all the same: whoever pours begins to count, and knows how many they are.
_QUIET, _FORGOTTEN = 30.0, 45.0
# Between two pours at least: permits of high rates go out by the handful.
_TICK = 0.01


class Permits:
    """Takes permits for one worker, and pours them for all when it is this worker's turn."""

    def __init__(
        self,
        url: Callable[[], str],
        *,
        name: str,
        names: Names,
        limit: RateLimit,
        most: int,
        queue: str | None = None,
        log: Log | None = None,
    ) -> None:
        """`most`: how many the worker can use at once; `queue`: the one that has the limit for itself, None: many share it."""
        self.link = Link(url, name, self, log)
        self._exchange = names.exchange
        self._wanted, self._queue = names.permits_wanted(queue), names.permits(limit, queue)
        self._limit = limit
        # A hundredth of a second's permits on the way hide the way to the broker; more would be kept from others.
        self._prefetch = max(1, min(most, limit.burst, round(limit.rate / 100)))
        self._note_every = min(max(0.5 / limit.rate, _OFTEN), _SELDOM)
        self._waiters = Turns[tuple[asyncio.Future[bool], float]]()  # and since when each waits
        self._thirst = asyncio.Event()
        self._told_at = 0.0  # when the last note was written
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._id = uuid.uuid4().hex.encode()
        self._channel: Channel | None = None
        self._tag: str | None = None  # of the consumer of permits, while there is one
        self._tags = 0
        # While this worker pours:
        self._bucket: Bucket | None = None
        self._note: int | None = None  # the delivery tag of the note that is held
        self._pour_until = 0.0
        self._pouring: asyncio.TimerHandle | None = None
        self._pouring_since = 0.0
        self._heard: dict[bytes, float] = {}  # when each worker's last note came
        # While the broker has an alarm:
        self._sharers = 0  # workers among which the rate is shared; 0: unknown
        self._alone: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many wait for a permit."""
        return len(self._waiters)

    async def take(self, group: Hashable = None) -> bool:
        """Wait for a permit, in turn with other groups, and use it up. False: there will be none, because this is closed."""
        if self._closed:
            return False
        waiter: asyncio.Future[bool] = self._loop.create_future()
        entry = (waiter, self._loop.time())
        self._waiters.append(entry, group)
        self._thirst.set()
        self._consume()
        try:
            return await waiter
        finally:
            self._waiters.discard(entry)  # unless it is granted and out already

    def close(self) -> None:
        """Grant no more: who waits hears it now."""
        self._closed = True
        for waiter, _ in self._waiters:
            resolve(waiter, False)

    async def run(self) -> None:
        """Keep the link, and tell when permits are short, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.link.run())
            group.create_task(self._tell())

    # ------------------------------------------------------------------------------------ what the link tells

    def on_up(self, connection: AsyncioConnection, channel: Channel) -> None:  # noqa: ARG002  # the channel is enough
        self._channel = channel
        channel.add_on_cancel_callback(lambda _: self.link.recycle("the broker cancelled a consumer of permits"))
        # Two: the note that is held, and the next one, which takes its place.
        channel.basic_qos(prefetch_count=2)
        channel.basic_consume(self._wanted, self._on_note)
        channel.basic_qos(prefetch_count=self._prefetch)  # of the consumers to come
        self._send_note()
        if self._waiters:
            self._consume()

    def on_down(self, reason: str) -> None:  # noqa: ARG002  # the link keeps the reason
        self._channel = self._tag = self._bucket = self._note = None
        self._stop_timers()

    def on_blocked(self, *, blocked: bool) -> None:
        self._stop_timers()
        now = self._loop.time()
        if blocked and self._sharers:
            self._go_on(Bucket(self._limit.rate / self._sharers, 1, now))
        elif not blocked and self._bucket is not None:
            self._bucket = Bucket(
                self._limit.rate, self._limit.burst, now
            )  # what fell due meanwhile was used as shares
            self._pour()

    # ------------------------------------------------------------------------------------ taking

    def _consume(self) -> None:
        if self._channel is None or self._tag is not None:
            return
        self._tags += 1
        self._tag = self._channel.basic_consume(self._queue, self._on_permit, consumer_tag=f"permits-{self._tags}")

    def _on_permit(self, channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        if self._channel is None or channel is not self._channel:
            return
        self._sharers = int(body)
        if self._grant():
            channel.basic_ack(method.delivery_tag)
            return
        # Nobody waits here: it is for others.
        channel.basic_nack(method.delivery_tag, requeue=True)
        if self._tag is not None:
            channel.basic_cancel(self._tag)
            self._tag = None

    def _grant(self) -> bool:
        """Give a permit to whose turn it is; whether anybody waits."""
        while self._waiters:
            waiter, _ = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(True)
                return True
        return False

    def _go_on(self, share: Bucket) -> None:
        """Grant this worker's share, as long as the alarm lasts."""
        now = self._loop.time()
        for _ in range(share.due(now)):
            self._grant()
        self._alone = self._loop.call_later(max(_TICK, share.wait(now)), self._go_on, share)

    # ------------------------------------------------------------------------------------ telling that permits are short

    async def _tell(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_QUIET):
                    await self._thirst.wait()
            await asyncio.sleep(SHORT)
            if self._short() or self._loop.time() - self._told_at > _QUIET:
                self._send_note()
                await asyncio.sleep(self._note_every)
            if not self._waiters:
                self._thirst.clear()

    def _short(self) -> bool:
        now = self._loop.time()
        return any(now - since >= SHORT for _, since in self._waiters)

    def _send_note(self) -> None:
        self._told_at = self._loop.time()
        self._publish(self._wanted, self._id)

    def _publish(self, queue: str, body: bytes) -> None:
        if self._channel is not None and self._channel.is_open and not self.link.blocked:
            self._channel.basic_publish(self._exchange, queue, body)

    # ------------------------------------------------------------------------------------ pouring

    def _on_note(self, channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        if self._channel is None or channel is not self._channel:
            return
        now = self._loop.time()
        self._release_note()
        self._note, self._heard[body] = method.delivery_tag, now
        self._pour_until = now + 3 * self._note_every
        if self._bucket is None:
            # Another worker may have poured until this moment.
            self._bucket, self._pouring_since = Bucket(self._limit.rate, self._limit.burst, now), now
        if self._pouring is None:
            self._pour()

    def _pour(self) -> None:
        self._pouring = None
        if self._bucket is None or self.link.blocked:
            return
        now = self._loop.time()
        if now > self._pour_until:
            self._release_note()
            return
        due = self._bucket.due(now)
        if due:
            sharers = str(self._count_sharers(now)).encode()
            for _ in range(due):
                self._publish(self._queue, sharers)
        self._pouring = self._loop.call_later(min(max(_TICK, self._bucket.wait(now)), self._note_every), self._pour)

    def _count_sharers(self, now: float) -> int:
        self._heard = {worker: at for worker, at in self._heard.items() if now - at < _FORGOTTEN}
        # Who has poured for less than that has not heard of all; its predecessor told how many they are.
        known = self._sharers if now - self._pouring_since < _FORGOTTEN else 0
        return max(1, known, len(self._heard))

    def _release_note(self) -> None:
        if self._note is not None and self._channel is not None and self._channel.is_open:
            self._channel.basic_ack(self._note)
        self._note = None

    def _stop_timers(self) -> None:
        for timer in (self._pouring, self._alone):
            if timer is not None:
                timer.cancel()
        self._pouring = self._alone = None
