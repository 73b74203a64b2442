"""A rate that all workers of a source keep together, on a real broker: whoever comes, goes or is cut off."""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import pytest

from forebay.amqp.permits import Permits
from forebay.topology import Names, Pace, RateLimit, SourceTopology, shared_objects, source_objects, worker_user
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually, so

NAMES = Names.of("payments/github")
LIMIT = RateLimit(requests=100, per_s=1.0, burst=5)


@dataclass(slots=True, kw_only=True)
class Taker:
    """A worker that takes permits as fast as it gets them, as a user with a worker's rights."""

    permits: Permits
    at: list[float]  # when all takers got theirs
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def begin(self, slots: int = 10) -> None:
        self.tasks += [asyncio.ensure_future(self._take()) for _ in range(slots)]

    async def _take(self) -> None:
        while await self.permits.take():
            self.at.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0)

    async def dies(self) -> None:
        """As by SIGKILL: its connection is gone, and nothing is said."""
        connection = self.permits.link.connection
        assert connection is not None
        connection._terminate_stream(OSError("killed"))
        await self.ends()

    async def ends(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@dataclass(slots=True, kw_only=True)
class Place:
    """A source with a rate limit on a broker."""

    host: VirtualHost
    limit: RateLimit
    at: list[float] = field(default_factory=list)
    takers: list[Taker] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=count)

    async def taker(self) -> Taker:
        uri = self.host.server.uri(vhost=self.host.name, username=f"worker-{self.host.name}", password="pw")
        name = f"taker {next(self.numbers)}"
        one = Taker(permits=Permits(lambda: uri, name=name, names=NAMES, limit=self.limit, most=10), at=self.at)
        one.tasks.append(asyncio.ensure_future(one.permits.run()))
        await eventually(so(lambda: one.permits.link.up))
        self.takers.append(one)
        return one

    def within(self, begin: float, end: float) -> int:
        """How many permits were taken in a time."""
        return bisect_left(self.at, end) - bisect_left(self.at, begin)

    def most(self, window: float) -> int:
        """The most permits that were taken in any time of this length."""
        return max(bisect_left(self.at, moment + window) - index for index, moment in enumerate(self.at))


@asynccontextmanager
async def limited(host: VirtualHost, limit: RateLimit) -> AsyncIterator[Place]:
    topology = SourceTopology(names=NAMES, queues=(), paces=(Pace(rate_limit=limit),))
    user = f"worker-{host.name}"
    needed = [
        one
        for one in (*shared_objects(host.name), *source_objects(host.name, topology))
        if one.kind == "exchange" or "permits" in one.name
    ]
    await host.management.declare([*needed, *worker_user(host.name, NAMES, user, "pw")])
    place = Place(host=host, limit=limit)
    try:
        yield place
    finally:
        await asyncio.gather(*(taker.ends() for taker in place.takers))
        await host.management.delete(f"users/{user}")


@pytest.fixture
async def place(broker: VirtualHost) -> AsyncIterator[Place]:
    async with limited(broker, LIMIT) as one:
        yield one


async def test_what_waits_is_permitted_lane_by_lane_in_turn(newest_broker: VirtualHost) -> None:
    async with limited(newest_broker, RateLimit(requests=20, per_s=1.0, burst=1)) as place:
        permits, order = (await place.taker()).permits, list[str]()

        async def deliver(lane: str) -> None:
            assert await permits.take(lane)
            order.append(lane)

        await asyncio.gather(*map(deliver, ("busy", "busy", "busy", "busy", "default")))
        assert order[:2] == ["busy", "default"]


async def test_the_rate_holds_while_workers_come_and_die(place: Place) -> None:
    loop = asyncio.get_running_loop()
    first = await place.taker()
    first.begin()
    await eventually(so(lambda: place.at))
    began = loop.time()
    await asyncio.sleep(1)
    others = [await place.taker() for _ in range(3)]
    for one in others:
        one.begin()
    for one in (first, *others[:2]):  # whoever pours is among them
        await asyncio.sleep(1)
        await one.dies()
    await asyncio.sleep(1)
    taken = place.within(began, loop.time()) / (loop.time() - began)
    # A machine that is busy with other things may let permits overflow, but never be given more.
    assert 0.75 * LIMIT.rate <= taken <= 1.02 * LIMIT.rate
    for window in (1.0, 3.0):
        assert place.most(window) <= LIMIT.rate * window + LIMIT.burst + len(place.takers)  # one in the hands of each
