"""No more deliveries at a time than there are slots, of all workers of a source together, on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from forebay.amqp.slots import Slots
from forebay.filling import fill
from forebay.topology import Names, Pace, SourceTopology, shared_objects, slots_objects, source_objects, worker_user
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually, so

NAMES = Names.of("payments/github")
COUNT = 5


class Place:
    """A source with slots on a broker, and how many deliveries are under way."""

    def __init__(self, host: VirtualHost) -> None:
        self.host = host
        self.under_way = self.most = self.done = 0
        self.tasks: dict[Slots, list[asyncio.Task[None]]] = {}

    async def worker(self, deliveries: int = 8) -> Slots:
        """One that delivers for good, so many at a time if it is let."""
        slots = await self.idle_worker()
        self.tasks[slots] += [asyncio.ensure_future(self._deliver(slots)) for _ in range(deliveries)]
        return slots

    async def idle_worker(self) -> Slots:
        uri = self.host.server.uri(vhost=self.host.name, username=f"worker-{self.host.name}", password="pw")
        slots = Slots(lambda: uri, name="worker", queue=NAMES.slots(COUNT))
        self.tasks[slots] = [asyncio.ensure_future(slots.run())]
        await eventually(so(lambda: slots.link.up))
        return slots

    async def _deliver(self, slots: Slots) -> None:
        while (give_back := await slots.take()) is not None:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                await asyncio.sleep(0.01)
            finally:
                self.under_way -= 1
                self.done += 1
            give_back()

    async def end(self, slots: Slots) -> None:
        """As by SIGKILL: what is under way ends with the connection, and nothing is said."""
        for task in self.tasks.pop(slots):
            task.cancel()
        connection = slots.link.connection
        if connection is not None and connection.is_open:
            connection._terminate_stream(OSError("killed"))


@pytest.fixture
async def place(broker: VirtualHost) -> AsyncIterator[Place]:
    topology = SourceTopology(names=NAMES, queues=(), paces=(Pace(max_in_flight=COUNT),))
    ((queue, filled, _),) = slots_objects(broker.name, topology)
    user = f"worker-{broker.name}"
    exchanges = [one for one in (*shared_objects(broker.name), *source_objects(broker.name, topology)) if one.kind == "exchange"]  # fmt: skip
    await broker.management.declare([*exchanges, queue, *worker_user(broker.name, NAMES, user, "pw")])
    await fill(broker.management, broker.name, queue, 2)
    await fill(broker.management, broker.name, queue, COUNT)  # as after a fill that was interrupted
    await broker.management.declare([filled])
    place = Place(broker)
    yield place
    for slots in list(place.tasks):
        await place.end(slots)
    await broker.management.delete(f"users/{user}")


async def test_all_slots_are_used_and_none_beyond_while_workers_come_and_die(place: Place) -> None:
    first, second = await place.worker(), await place.worker()
    await eventually(so(lambda: place.done > 100))
    await place.end(first)
    third = await place.worker()
    before = place.done
    await eventually(so(lambda: place.done > before + 100))
    await place.end(second)
    await place.end(third)
    assert place.most == COUNT
    await place.worker()  # not one slot was lost
    place.most = 0
    await eventually(so(lambda: place.most == COUNT))


async def test_an_idle_worker_keeps_no_slot(place: Place) -> None:
    idle = await place.idle_worker()
    for _ in range(COUNT):
        give_back = await idle.take()
        assert give_back is not None
        give_back()
    await place.worker()
    await eventually(so(lambda: place.most == COUNT))


async def test_who_gives_up_waiting_keeps_no_slot(place: Place) -> None:
    idle = await place.idle_worker()
    for _ in range(30):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.002):
                give_back = await idle.take()
                assert give_back is not None
                give_back()
    await place.worker()
    await eventually(so(lambda: place.most == COUNT))


async def test_who_waits_when_it_is_closed_hears_it(place: Place) -> None:
    worker = await place.idle_worker()
    held = [await worker.take() for _ in range(COUNT)]
    waiting = asyncio.ensure_future(worker.take())
    await eventually(so(lambda: worker.waiting == 1))
    worker.close()
    assert await waiting is None
    assert await worker.take() is None
    assert all(held)
