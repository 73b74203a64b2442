"""A queue that was dropped from a spec is emptied by its workers, closed, counted once more, and goes.

What is confirmed into a queue between its last count and its end would be lost: hence closed before counted.
"""

import time
from urllib.parse import quote

from forebay.settings import RetryPolicy
from forebay.source import WebhookSource
from forebay.source.queues import Retry
from forebay.topology import BrokerObject, Names, tier_for, ways_into
from forebay_operator.broker import LOOK_S, Broker
from forebay_operator.world import Key


class Drains:
    """How far each queue that was dropped from a spec has come. Forgotten at a restart, which only delays."""

    def __init__(self) -> None:
        self._empty: dict[tuple[Key, str], float] = {}  # since when it has been seen empty
        self._closed: dict[tuple[Key, str], float] = {}  # since when nothing can be published into it

    async def go_on(self, key: Key, source: WebhookSource, broker: Broker, queue: str, *, needed: bool) -> None:
        """Bring a queue nearer to its end. `needed`: pods may still publish into it."""
        ways = ways_into(broker.vhost, Names.of(source.key), queue)
        front = ways[0]
        if needed or not self._quiet(key, source, broker, queue):
            await broker.declare(ways)  # if it was closed too early
        elif not broker.holdings.lacks([front]):
            await close(broker, front)
            self._closed[key, queue] = time.monotonic()
        elif (broker.looked or 0.0) > self._closed.setdefault((key, queue), time.monotonic()) + LOOK_S:
            await remove(broker, Names.of(source.key).queue(queue))
            self._empty.pop((key, queue))
            self._closed.pop((key, queue))

    def _quiet(self, key: Key, source: WebhookSource, broker: Broker, queue: str) -> bool:
        """Whether it has been empty for longer than a retry can be under way."""
        depth = broker.depths.get(Names.of(source.key).queue(queue))
        if depth is None or depth.messages:
            self._empty.pop((key, queue), None)
            return False
        since = self._empty.setdefault((key, queue), time.monotonic())
        return time.monotonic() - since > longest_absence_s(source.spec.retry) + 2 * LOOK_S


def longest_absence_s(retry: Retry) -> int:
    """Seconds for which a webhook can be away from its queue between two attempts, in the tier that its delay is rounded up to.

    A handler can ask for more: what comes back to a queue that is gone is kept among the orphans.
    """
    delays = retry.schedule or (retry.max_delay or RetryPolicy().max_delay_s,)
    return tier_for(max(*delays, retry.retry_after_max))


async def close(broker: Broker, way: BrokerObject) -> None:
    """Let nothing be published by this way any more. Who tries is told that it is unroutable, and never that it is safe."""
    key = way.body["routing_key"]
    for found in await broker.get(way.path):
        if found["routing_key"] == key:
            await broker.delete(f"{way.path}/{quote(found['properties_key'], safe='')}")
    broker.holdings.bindings = {b for b in broker.holdings.bindings if (f"{b[0]} -> {b[1]}", b[2]) != (way.name, key)}


async def remove(broker: Broker, name: str) -> None:
    """Delete a queue that nothing can be published into, and that is empty."""
    await broker.delete(f"queues/{quote(broker.vhost, safe='')}/{quote(name, safe='')}")
    broker.holdings.queues.pop(name, None)
    broker.holdings.bindings = {b for b in broker.holdings.bindings if b[1] != name}
