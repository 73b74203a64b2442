"""A queue goes when it is empty, closed, and counted once more, and not before: the operator's steps, one by one, on a real broker."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from forebay.manifest import read_source
from forebay.topology import Names, SourceTopology, shared_objects, source_objects, ways_into
from forebay_operator import draining, migrating
from forebay_operator.broker import Broker, Depth, address
from forebay_operator.draining import Drains, longest_absence_s
from forebay_operator.migrating import Migrations, heir_of
from forebay_operator.world import Key
from tests.support.brokers import VirtualHost
from tests.support.sources import manifest

LOOK_S = 0.2
pytestmark = pytest.mark.timeout(60)
SOURCE = read_source(manifest(spec__retry={"initialDelay": "1s", "maxDelay": "1s", "retryAfterMax": "1s"}))
KEY = Key(SOURCE.namespace, SOURCE.name)
NAMES = Names(*KEY)
TOPOLOGY = SourceTopology(names=NAMES, queues=("default", "orders"))
ORDERS, HEIR = NAMES.queue("orders"), NAMES.queue(heir_of("orders"))


@pytest.fixture
async def seen(newest_broker: VirtualHost, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Broker]:
    """The broker as the operator sees it, with the source's queues; what is in them each test says by `count`."""
    for module in (draining, migrating):
        monkeypatch.setattr(module, "LOOK_S", LOOK_S)
    monkeypatch.setattr(migrating, "SETTLE_S", 0.0)
    server = newest_broker.server
    secret = {"uri": server.uri(vhost=newest_broker.name), "management": server.management_url}
    async with Broker(
        address({key: base64.b64encode(text.encode()).decode() for key, text in secret.items()})
    ) as broker:
        await broker.look()
        await broker.declare([*shared_objects(broker.vhost), *source_objects(broker.vhost, TOPOLOGY)])
        yield broker


def count(broker: Broker, messages: int) -> None:
    """So much is in the queue of orders, as a look at this moment would tell."""
    broker.depths[ORDERS], broker.looked = Depth(messages, 0), time.monotonic()


async def ways_in(broker: Broker) -> set[str]:
    """The queues that new orders go to."""
    found = await broker.get(f"bindings/{quote(broker.vhost, safe='')}")
    return {one["destination"] for one in found if (one["source"], one["routing_key"]) == (NAMES.exchange, ORDERS)}


async def arguments(broker: Broker) -> dict[str, object] | None:
    """With which the queue of orders was declared; None if there is none."""
    queues = await broker.get(f"queues/{quote(broker.vhost, safe='')}?columns=name,arguments")
    return next((queue["arguments"] for queue in queues if queue["name"] == ORDERS), None)


async def test_a_queue_of_no_spec_goes_when_it_is_empty_and_not_before(seen: Broker) -> None:
    drains = Drains()

    async def closed() -> None:
        while await ways_in(seen):
            count(seen, 0)
            await drains.go_on(KEY, SOURCE, seen, "orders", needed=False)
            await asyncio.sleep(0.1)

    for _ in range(20):  # longer than an empty one stays
        count(seen, 1)
        await drains.go_on(KEY, SOURCE, seen, "orders", needed=False)
        await asyncio.sleep(0.1)
    assert await ways_in(seen) == {ORDERS}
    count(seen, 0)
    await drains.go_on(KEY, SOURCE, seen, "orders", needed=False)
    assert await ways_in(seen) == {ORDERS}, "what waits for a retry is to come back to it"

    await closed()
    await drains.go_on(KEY, SOURCE, seen, "orders", needed=False)
    assert await arguments(seen) is not None, "what came just before it was closed was not counted yet"
    await asyncio.sleep(2 * LOOK_S)
    count(seen, 1)
    await drains.go_on(KEY, SOURCE, seen, "orders", needed=False)
    assert await ways_in(seen) == {ORDERS}, "it was closed too early, and is open again"

    await closed()
    await asyncio.sleep(2 * LOOK_S)
    count(seen, 0)
    await drains.go_on(KEY, SOURCE, seen, "orders", needed=False)
    assert await arguments(seen) is None


async def test_a_queue_of_other_arguments_goes_when_it_is_empty_and_not_before(
    seen: Broker, newest_broker: VirtualHost
) -> None:
    migrations, old = Migrations(), {"x-queue-type": "quorum", "x-delivery-limit": 7}
    (queue,) = (item for item in source_objects(seen.vhost, TOPOLOGY) if item.name == ORDERS)
    await seen.delete(queue.path)
    await newest_broker.management.put(queue.path, {**queue.body, "arguments": old})
    await newest_broker.management.declare(ways_into(seen.vhost, NAMES, "orders"))
    await seen.look()

    for _ in range(10):
        count(seen, 1)
        await migrations.go_on(KEY, TOPOLOGY, seen)
        await asyncio.sleep(0.1)
    assert await ways_in(seen) == {HEIR}
    assert await arguments(seen) == old, "there is something in it"

    again = Migrations()  # of an operator that does not know since when it is closed
    count(seen, 0)
    await again.go_on(KEY, TOPOLOGY, seen)
    assert await arguments(seen) == old, "what came just before it was closed was not counted yet"
    await asyncio.sleep(2 * LOOK_S)
    count(seen, 0)
    await again.go_on(KEY, TOPOLOGY, seen)
    assert await arguments(seen) is None
    while await again.go_on(KEY, TOPOLOGY, seen):
        count(seen, 0)
    assert await arguments(seen) == queue.body["arguments"]
    assert await ways_in(seen) == {ORDERS}


@pytest.mark.parametrize(
    ("retry", "seconds"),
    [
        ({}, 3600),
        ({"maxDelay": "2h"}, 7200),
        ({"maxDelay": "1m"}, 3600),  # Retry-After
        ({"maxDelay": "1m", "retryAfterMax": "0s"}, 60),
        ({"maxDelay": "70s", "retryAfterMax": "0s"}, 90),  # there is no tier of 70 s
        ({"schedule": ["10s", "2m", "30s"], "retryAfterMax": "1s"}, 120),
        ({"schedule": ["10s"], "retryAfterMax": "5m"}, 300),
    ],
)
def test_a_queue_stays_as_long_as_a_webhook_can_wait_for_a_retry(retry: dict[str, Any], seconds: int) -> None:
    assert longest_absence_s(read_source(manifest(spec__retry=retry)).spec.retry) == seconds
