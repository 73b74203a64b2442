"""A queue that leaves the spec takes nothing new, is emptied by its workers, and goes with them; nothing in it is lost."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from tests.reconciling.provider import Provider, sending
from tests.reconciling.sources import source
from tests.support.apiserver import Api, OperatorProcess
from tests.support.brokers import VirtualHost
from tests.support.destination import Destination, Request, destination
from tests.support.node import LocalNode
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

# Short waits between attempts: a queue is done when nothing that was put aside for a retry can come back to it.
RETRY = {"maxAttempts": 1000, "initialDelay": "1s", "maxDelay": "1s", "retryAfterMax": "1s", "jitter": "None"}


@dataclass(slots=True)
class Moody:
    """A destination that is ill until it is well."""

    well: bool = False
    delivered: dict[str, int] = field(default_factory=dict)  # how often, by body

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if self.well:
            self.delivered[request.body.decode()] = self.delivered.get(request.body.decode(), 0) + 1
        writer.write(b"HTTP/1.1 %s\r\ncontent-length: 0\r\n\r\n" % (b"200 OK" if self.well else b"503 Unavailable"))
        await writer.drain()


def wanted(target: Destination, queues: list[str]) -> dict[str, Any]:
    """A source with a queue for each of these events."""
    return source(
        spec__queues=[{"name": name, "match": {"eventTypes": [name]}} for name in queues],
        spec__retry=RETRY,
        spec__worker={"destination": {"url": f"http://127.0.0.1:{target.port}/hook"}},
    )


async def depth(broker: VirtualHost, place: Api, queue: str) -> int | None:
    """How many webhooks are in the queue, in flight ones too; None if there is no such queue."""
    queues = await broker.management.get(f"queues/{quote(broker.name, safe='')}?columns=name,messages")
    found = {item["name"]: item.get("messages", 0) for item in queues}
    return found.get(f"forebay.{place.namespace}.github.{queue}")


async def test_a_queue_that_is_renamed_is_emptied_first(
    place: Api, running: OperatorProcess, node: LocalNode, newest_broker: VirtualHost
) -> None:
    moody = Moody()
    async with destination(moody) as target:
        await place.apply(wanted(target, ["orders"]))
        await place.until("github", "Ready", "True", within_s=60)
        async with sending(place, node, "orders", "others") as provider:
            await eventually(_so_many(provider, 60), within_s=30)
            await place.apply(wanted(target, ["purchases"]))
            await eventually(_told(place, ["orders"]), within_s=30)
            await place.until("github", "Ready", "True", within_s=60)
            await eventually(_so_many(provider, len(provider.accepted) + 60), within_s=30)
        assert await depth(newest_broker, place, "orders") is not None
        assert await place.find("Deployment", "github-worker-orders")  # while the destination is ill
        moody.well = True

        async def all_delivered() -> bool:
            return set(provider.accepted) <= moody.delivered.keys()

        await eventually(all_delivered, within_s=60)

        async def closed() -> bool:
            bindings = await newest_broker.management.get(f"bindings/{quote(newest_broker.name, safe='')}")
            return f"forebay.{place.namespace}.github.orders" not in {
                one["routing_key"] for one in bindings if one["source"] == f"forebay.{place.namespace}.github"
            }

        async def gone() -> bool:
            left = await depth(newest_broker, place, "orders")
            return left is None and await place.find("Deployment", "github-worker-orders") is None

        await eventually(closed, within_s=90, every_s=0.2)
        assert await depth(newest_broker, place, "orders") == 0  # and counted once more, before it goes
        await eventually(gone, within_s=60, every_s=0.5)
        await eventually(_told(place, None), within_s=30)
        assert await depth(newest_broker, place, "purchases") == 0
        assert await depth(newest_broker, place, "dead") == 0
        assert not provider.refused


def _so_many(provider: Provider, many: int) -> Any:
    async def so() -> bool:
        return len(provider.accepted) >= many

    return so


def _told(place: Api, retained: list[str] | None) -> Any:
    async def so() -> bool:
        status = (await place.get("WebhookSource", "github")).get("status", {})
        return bool(status.get("retained") == retained)

    return so


async def test_no_webhook_is_lost_while_the_brokers_logins_are_rotated(
    place: Api, running: OperatorProcess, node: LocalNode, newest_broker: VirtualHost
) -> None:
    moody = Moody(well=True)
    async with destination(moody) as target:
        await place.apply(wanted(target, []))
        await place.until("github", "Ready", "True", within_s=60)
        before = await _users(newest_broker, place)
        async with sending(place, node, "push") as provider:
            await eventually(_so_many(provider, 50), within_s=30)
            await place.patch(
                "WebhookSource", "github", {"metadata": {"annotations": {"forebay.dev/rotate-broker-login": "1"}}}
            )

            async def rotated() -> bool:
                now = await _users(newest_broker, place)
                return len(now) == len(before) and not now & before

            await eventually(rotated, within_s=90, every_s=0.5)
            await eventually(_so_many(provider, len(provider.accepted) + 50), within_s=30)

        async def all_delivered() -> bool:
            return set(provider.accepted) <= moody.delivered.keys()

        await eventually(all_delivered, within_s=60)
        assert not provider.refused


async def _users(broker: VirtualHost, place: Api) -> set[str]:
    users = await broker.management.get("users?columns=name")
    return {item["name"] for item in users if item["name"].startswith(f"forebay.{place.namespace}.")}
