"""A queue that is gone from the spec and still holds webhooks is told in the status, until it is back or gone."""

import re
from typing import Any

import pytest

from tests.reconciling.sources import source
from tests.support.apiserver import Api, OperatorProcess
from tests.support.brokers import VirtualHost
from tests.support.kubectl import Person
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)

TWO = [{"name": "orders", "match": {"eventTypes": ["push"]}}]


async def _status(place: Api) -> dict[str, Any]:
    return dict((await place.get("WebhookSource", "github")).get("status", {}))


async def _until_retained(place: Api, names: list[str] | None) -> None:
    async def told() -> bool:
        return (await _status(place)).get("retained") == names

    await eventually(told, within_s=30, every_s=0.25)


async def test_a_queue_that_is_dropped_from_the_spec_is_told_until_it_is_back(
    place: Api, person: Person, newest_broker: VirtualHost
) -> None:
    await place.apply(source(spec__queues=TWO))
    await place.until("github", "TopologyReady", "True")
    assert "retained" not in await _status(place)
    await newest_broker.put(f"forebay.{place.namespace}.github.orders")
    await place.apply(source(spec__queues=[]))
    await _until_retained(place, ["orders"])
    assert await place.find("Deployment", "github-worker-orders")  # whose workers empty it
    assert (await person.json("status", "github"))["retained"] == ["orders"]
    assert re.search(r"leaving +orders: gone from the spec", (await person("status", "github")).out)
    await place.apply(source(spec__queues=TWO))
    await _until_retained(place, None)


async def test_what_an_earlier_source_of_the_name_left_behind_is_told(
    place: Api, running: OperatorProcess, newest_broker: VirtualHost
) -> None:
    await place.apply(source(spec__queues=TWO))
    await place.until("github", "TopologyReady", "True")
    await newest_broker.put(f"forebay.{place.namespace}.github.orders")
    await place.delete("WebhookSource", "github")

    async def gone() -> bool:
        return await place.find("WebhookSource", "github") is None

    await eventually(gone, within_s=60, every_s=0.25)
    await place.apply(source())
    await _until_retained(place, ["orders"])
