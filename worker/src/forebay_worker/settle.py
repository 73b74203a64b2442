"""Carries out a decision on the broker. Publish first, ack last: a crash in between repeats a webhook, it never loses one.

While the broker does not take the retry or the dead letter, the message is held, unacknowledged, and the publish is repeated:
giving it back would count towards the queue's delivery limit, and a hiccup of the broker is no fault of the webhook.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

from forebay.envelope import QUEUE_HEADER, AmqpMessage, Envelope, as_sent, encode, obituary
from forebay.errors import Busy, Rejected, Unavailable
from forebay.topology import DELAY_EXCHANGE, Names, delay_key, queue_of
from forebay_worker.retry import UNDECODABLE, Ack, DeadLetter, Decision, RetryIn

# Seconds between two tries of a publish: the first, doubling up to the last.
FIRST_PAUSE, LAST_PAUSE = 0.2, 5.0
# Seconds for which a message is held. Well below RabbitMQ's own patience with a consumer (30 min), which would close the
# channel and with it give back every other message too.
HOLD = 600.0


class Message(Protocol):
    """One delivery by the broker."""

    @property
    def message_id(self) -> str | None: ...
    @property
    def content_type(self) -> str | None: ...
    @property
    def headers(self) -> Mapping[str, Any]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def stale(self) -> bool:
        """Whether its channel is gone, and the broker hands it out again."""

    def ack(self) -> None: ...
    def give_back(self) -> None: ...
    def reject(self, *, requeue: bool = True) -> None: ...


class Publisher(Protocol):
    """Publishes and returns after the broker's confirm."""

    async def publish(self, exchange: str, routing_key: str, message: AmqpMessage) -> None:
        """Raises Unavailable, Busy or Rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settler:
    """Settles the messages of one queue. `unsettled` hears of each publish that failed, with its error."""

    publisher: Publisher
    names: Names
    queue: str  # short name
    unsettled: Callable[[Exception], None]

    async def settle(self, message: Message, envelope: Envelope, decision: Decision) -> Decision | None:
        """Carry out the decision on a message; `envelope` knows of the attempt already. What was done; None: it comes again."""
        match decision:
            case Ack():
                message.ack()
                return decision
            case RetryIn(tier):
                key = delay_key(tier, self.names.queue(self._way_back(envelope)))
                done = await self._confirmed(message, DELAY_EXCHANGE, key, encode(envelope))
            case DeadLetter(reason, detail):
                buried = envelope.buried(reason, detail, now_ms())
                done = await self._confirmed(message, self.names.exchange, self.names.dead, encode(buried))
            case _:
                assert_never(decision)
        return decision if done else None

    def _way_back(self, envelope: Envelope) -> str:
        """Its lane, if it is in one of ours; anybody can have written what a message says."""
        return envelope.queue if queue_of(envelope.queue) == self.queue else self.queue

    async def bury_undecodable(self, message: Message, error: str) -> bool:
        """Dead-letter a message that is no envelope, its bytes and headers as they are."""
        buried = undecodable(message, error, self.queue, now_ms())
        return await self._confirmed(message, self.names.exchange, self.names.dead, buried, whole=False)

    async def _confirmed(
        self, message: Message, exchange: str, key: str, successor: AmqpMessage, *, whole: bool = True
    ) -> bool:
        """Publish until the broker has confirmed the successor; only then acknowledge the message.

        A successor that is not `whole` may be impossible to publish (headers beyond a frame, when our own are added):
        then the broker dead-letters the message itself, without our reason.
        """
        until, pause = time.monotonic() + HOLD, FIRST_PAUSE
        while True:
            try:
                await self.publisher.publish(exchange, key, successor)
            except (Unavailable, Busy, Rejected) as error:
                self.unsettled(error)
                if isinstance(error, Rejected) and not whole:
                    message.reject(requeue=False)
                    return True
            else:
                message.ack()
                return True
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE)
            if message.stale:
                return False
            if time.monotonic() > until:
                message.reject(requeue=True)
                return False


def undecodable(message: Message, error: str, queue: str, at: int) -> AmqpMessage:
    """The dead letter of a message that is no envelope. `queue` is where it was found, whatever it says itself."""
    return AmqpMessage(
        message_id=message.message_id or "",
        timestamp=at // 1000,
        content_type=message.content_type,
        headers={**as_sent(message.headers), QUEUE_HEADER: queue, **obituary(UNDECODABLE, error, at)},
        body=message.body,
    )


def now_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)
