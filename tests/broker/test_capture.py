"""A secret on its way over a real broker: one at a time, while one is awaited, and readable for the operator's login alone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from forebay.amqp.publisher import Outcome
from forebay.captured import Captured, message_of, read
from forebay.topology import (
    Names,
    SourceTopology,
    capture_objects,
    ingest_user,
    shared_objects,
    source_objects,
    worker_user,
)
from tests.broker.test_ingest import NAMES
from tests.broker.test_publisher import publishing
from tests.broker.test_topology import consume, get, refused
from tests.support.brokers import VirtualHost

SENT = [message_of(Captured(secret=b"secret-%d" % n, client="192.0.2.1", at=n), f"id-{n}") for n in range(3)]


@pytest.fixture
async def host(broker: VirtualHost) -> AsyncIterator[VirtualHost]:
    management, name = broker.management, broker.name
    users = {make: f"{name}-{make.__name__}" for make in (ingest_user, worker_user)}
    objects = [*shared_objects(name, (1,)), *source_objects(name, SourceTopology(names=NAMES))]
    await management.declare([*objects, *capture_objects(name, NAMES)], settle_s=0)
    for make, user in users.items():
        await management.declare(make(name, NAMES, user, "secret"))
    try:
        yield broker
    finally:
        for user in users.values():
            await management.delete(f"users/{user}")


def uri(host: VirtualHost, user: str) -> str:
    return host.server.uri(vhost=host.name, username=f"{host.name}-{user}", password="secret")


async def send(host: VirtualHost, number: int, names: Names = NAMES) -> Outcome:
    async with publishing(uri(host, "ingest_user")) as publisher:
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        publisher.send(
            publisher.encode(names.exchange, names.captured, SENT[number]), b"id-%d" % number, answer.set_result
        )
        return await answer


async def test_the_first_is_kept_and_others_are_refused_until_it_is_taken(host: VirtualHost) -> None:
    assert [await send(host, 0), await send(host, 1)] == [Outcome.CONFIRMED, Outcome.REFUSED]
    for take in (False, True):  # looking takes nothing out
        found = await host.management.first(host.name, NAMES.captured, take=take)
        assert found is not None
        assert read(*found) == Captured(secret=b"secret-0", client="192.0.2.1", at=0)
    assert await host.management.first(host.name, NAMES.captured) is None
    assert await send(host, 2) is Outcome.CONFIRMED
    await host.management.delete(f"queues/{host.name}/{NAMES.captured}")
    assert await send(host, 1) is Outcome.UNROUTABLE


async def test_neither_endpoint_nor_worker_can_read_it(host: VirtualHost) -> None:
    attempts = [
        (uri(host, user), how(NAMES.captured)) for user in ("ingest_user", "worker_user") for how in (consume, get)
    ]
    answers = await asyncio.to_thread(lambda: [refused(*attempt) for attempt in attempts])
    assert answers == ["403"] * 4
