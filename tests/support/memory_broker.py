"""A broker in memory with RabbitMQ's semantics, as far as a worker can see them: what is not acknowledged comes again."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from forebay.envelope import AmqpMessage
from forebay.topology import DELAY_EXCHANGE

Fault = Callable[[], None]


@dataclass(slots=True, kw_only=True)
class Delivered:
    """A message in the hands of a worker."""

    broker: "Broker"
    tag: int
    queue: str
    sent: AmqpMessage
    channel: int

    @property
    def message_id(self) -> str | None:
        return self.sent.message_id

    @property
    def content_type(self) -> str | None:
        return self.sent.content_type

    @property
    def headers(self) -> Mapping[str, Any]:
        return self.sent.headers

    @property
    def body(self) -> bytes:
        return self.sent.body

    @property
    def stale(self) -> bool:
        return self.channel != self.broker.channel

    def ack(self) -> None:
        if not self.stale:
            del self.broker.unacknowledged[self.tag]

    def give_back(self) -> None:
        self.reject(requeue=True)

    def reject(self, *, requeue: bool = True) -> None:
        if not self.stale:
            message = self.broker.unacknowledged.pop(self.tag)
            if requeue:
                self.broker.requeue(message)
            else:
                self.broker.dead_lettered.append(message.sent)


@dataclass(slots=True)
class Broker:
    """Queues by name. `fate` is asked before a publish gets to the broker and again before its confirm gets back."""

    fate: Callable[[str], None] = lambda _: None
    queues: dict[str, list[AmqpMessage]] = field(default_factory=lambda: defaultdict(list))
    unacknowledged: dict[int, Delivered] = field(default_factory=dict)
    handed_back: list[str] = field(default_factory=list)
    dead_lettered: list[AmqpMessage] = field(default_factory=list)  # by the broker itself
    channel: int = 1
    _tags: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def publish(self, exchange: str, routing_key: str, message: AmqpMessage) -> None:
        await asyncio.sleep(0)
        self.fate("before it arrived")
        self.queues["delay" if exchange == DELAY_EXCHANGE else routing_key].append(message)
        await asyncio.sleep(0)
        self.fate("before the confirm")

    def deliver(self, queue: str) -> Delivered:
        message = Delivered(
            broker=self, tag=next(self._tags), queue=queue, sent=self.queues[queue].pop(0), channel=self.channel
        )
        self.unacknowledged[message.tag] = message
        return message

    def requeue(self, message: Delivered) -> None:
        self.handed_back.append(message.sent.message_id)
        self.queues[message.queue].append(message.sent)

    def lose_channel(self) -> None:
        """The connection ends: everything that was not acknowledged comes again."""
        self.channel += 1
        for message in list(self.unacknowledged.values()):
            self.requeue(message)
        self.unacknowledged.clear()

    def end_delays(self, queue: str) -> None:
        self.queues[queue] += self.queues.pop("delay", [])

    def everywhere(self) -> set[str]:
        """The ids of all messages that the broker still has."""
        return {message.message_id for queue in self.queues.values() for message in queue} | {
            message.sent.message_id for message in self.unacknowledged.values()
        }
