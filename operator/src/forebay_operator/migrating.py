"""A queue that is to have other arguments, as after an upgrade of Forebay, is replaced without losing or refusing a webhook.

    fill    an heir is declared; webhooks go there (bound first, then unbound here: one in between comes twice)
    empty   the queue's own workers deliver what it holds; what waits for a retry comes back to the heir
    renew   closed and counted once more, it is deleted, and declared as it is wanted
    return  webhooks go to the new queue; the heir is now a queue that no spec names, and `draining` lets it go

The heir has workers of its own from the beginning: so has every queue that is there and in no spec. How far a queue has
come is read from the broker each time: whoever is killed in between goes on where it was. Only queues of webhooks are replaced;
dead letters and the delay tiers are not consumed, so nothing would empty them.
"""

import time
from collections.abc import Iterable
from dataclasses import replace

from forebay.management import SETTLE_S
from forebay.topology import BrokerObject, SourceTopology, source_objects, ways_into
from forebay_operator.broker import LOOK_S, Broker
from forebay_operator.draining import close, remove
from forebay_operator.world import Key

_AGAIN_S = 2.0
_HEIR = "-while-migrating"  # with it no name can be one of a spec: those have 15 characters at most


def heir_of(queue: str) -> str:
    """Short name of the queue that stands in for another one."""
    return queue + _HEIR


class Migrations:
    """How far each queue has come whose arguments change. Forgotten at a restart, which only delays."""

    def __init__(self) -> None:
        self._closed: dict[tuple[Key, str], float] = {}  # since when nothing can be published into the old one
        self._under_way: dict[Key, frozenset[str]] = {}  # names of the queues on the broker

    def concerns(self, key: Key, item: BrokerObject) -> bool:
        """Whether a declaration is the migration's own matter for now."""
        return item.kind in ("queue", "binding") and item.name.rpartition(" ")[2] in self._under_way.get(key, ())

    def holds(self, key: Key, topology: SourceTopology, queue: str) -> bool:
        """Whether this is an heir that is not to go yet."""
        return topology.names.queue(queue.removesuffix(_HEIR)) in self._under_way.get(key, ())

    async def go_on(self, key: Key, topology: SourceTopology, broker: Broker) -> float | None:
        """Bring every such queue of the source nearer to what is wanted. Seconds until the next step, None if there is none."""
        under_way = [queue for queue in topology.queues if _under_way(topology, broker, queue)]
        if not under_way:
            self._under_way.pop(key, None)  # of most sources nothing is kept
            return None
        for queue in under_way:
            await self._go_on(key, topology, broker, queue)
        self._under_way[key] = frozenset(topology.names.queue(q) for q in under_way if _under_way(topology, broker, q))
        return _AGAIN_S

    async def _go_on(self, key: Key, topology: SourceTopology, broker: Broker, queue: str) -> None:
        names = topology.names
        wanted, ways = _objects(topology, broker, queue)
        lent = ways_into(broker.vhost, names, queue, place=heir_of(queue))
        if not broker.holdings.lacks([wanted]) or wanted.name not in broker.holdings.queues:
            self._closed.pop((key, queue), None)
            await _hand_over(broker, wanted, ways, lent)
            return
        heir, own_ways = _objects(topology, broker, heir_of(queue))
        await _hand_over(broker, heir, [*own_ways, *lent], ways)
        if _open(broker, ways):
            return
        closed = self._closed.setdefault((key, queue), time.monotonic())
        if (broker.looked or 0.0) > closed + LOOK_S and not broker.depths[wanted.name].messages:
            await remove(broker, wanted.name)


def _under_way(topology: SourceTopology, broker: Broker, queue: str) -> bool:
    """Whether the queue is there with other arguments, or another one still stands in for it."""
    wanted, _ = _objects(topology, broker, queue)
    other = wanted.name in broker.holdings.queues and bool(broker.holdings.lacks([wanted]))
    return other or _open(broker, ways_into(broker.vhost, topology.names, queue, place=heir_of(queue)))


def _objects(topology: SourceTopology, broker: Broker, queue: str) -> tuple[BrokerObject, list[BrokerObject]]:
    """One queue as it is wanted, and the ways into it."""
    name = topology.names.queue(queue)
    found = source_objects(broker.vhost, replace(topology, queues=(queue,)))
    return next(item for item in found if item.name == name), ways_into(broker.vhost, topology.names, queue)


def _open(broker: Broker, ways: list[BrokerObject]) -> bool:
    """Whether anything still comes by one of these ways."""
    return len(broker.holdings.lacks(ways)) < len(ways)


async def _hand_over(
    broker: Broker, to: BrokerObject, ways: Iterable[BrokerObject], former: Iterable[BrokerObject]
) -> None:
    """Webhooks go to this queue, once it has settled, and then no longer where they went before."""
    await broker.declare([to])
    if broker.age_s([to.name]) < SETTLE_S:
        return
    await broker.declare(ways)
    for way in former:
        if not broker.holdings.lacks([way]):
            await close(broker, way)
