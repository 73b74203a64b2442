"""Deleting a source loses nothing that was acknowledged and leaves nothing that is not wanted."""

from urllib.parse import quote

import pytest

from tests.reconciling.sources import source
from tests.support.apiserver import Api, OperatorProcess
from tests.support.brokers import VirtualHost
from tests.support.node import LocalNode
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


async def _gone(api: Api) -> None:
    async def gone() -> bool:
        return await api.find("WebhookSource", "github") is None

    await eventually(gone, within_s=60, every_s=0.25)


async def _own(broker: VirtualHost, api: Api) -> set[str]:
    """Everything on the broker with the source's name."""
    base, vhost = f"forebay.{api.namespace}.github", quote(broker.name, safe="")
    found = set()
    for what in (f"queues/{vhost}", f"exchanges/{vhost}", f"policies/{vhost}", "users"):
        found |= {f"{what.split('/')[0]} {item['name']}" for item in await broker.management.get(what)}
    return {name for name in found if name.split(" ")[1].startswith(base)}


async def test_a_source_whose_queues_are_empty_leaves_nothing_behind(
    place: Api, running: OperatorProcess, node: LocalNode, newest_broker: VirtualHost
) -> None:
    await place.apply(source())
    await place.until("github", "Ready", "True", within_s=40)
    assert await _own(newest_broker, place)
    await place.delete("WebhookSource", "github")
    await _gone(place)
    assert not await _own(newest_broker, place)
    for kind in ("Deployment", "Service", "ConfigMap", "Secret"):

        async def cleaned(kind: str = kind) -> bool:
            return not await place.all(kind, "forebay.dev/source=github")

        await eventually(cleaned, within_s=20)


async def test_what_still_waits_is_retained_and_said_where_and_taken_over_again(
    place: Api, running: OperatorProcess, newest_broker: VirtualHost
) -> None:
    await place.apply(source())
    await place.until("github", "TopologyReady", "True")
    await newest_broker.put(f"forebay.{place.namespace}.github.default")
    await place.delete("WebhookSource", "github")
    await _gone(place)
    kept = await _own(newest_broker, place)
    base = f"forebay.{place.namespace}.github"
    assert f"queues {base}.default" in kept
    assert f"users {base}" not in {name.rpartition(".")[0] for name in kept}
    events = [event for event in await place.all("Event") if event["reason"] == "QueuesRetained"]
    assert base in events[0]["message"]
    await place.apply(source())
    await place.until("github", "TopologyReady", "True")

    async def counted() -> bool:
        return bool((await place.get("WebhookSource", "github")).get("status", {}).get("queued") == 1)

    await eventually(counted, within_s=40, every_s=0.5)


async def test_deletion_policy_delete_throws_away_what_waits(
    place: Api, running: OperatorProcess, newest_broker: VirtualHost
) -> None:
    await place.apply(source(spec__deletionPolicy="Delete"))
    await place.until("github", "TopologyReady", "True")
    await newest_broker.put(f"forebay.{place.namespace}.github.default")
    await place.delete("WebhookSource", "github")
    await _gone(place)
    assert not await _own(newest_broker, place)


async def test_a_namespace_that_is_deleted_ends(place: Api, running_wide: OperatorProcess) -> None:
    # Rules inside the namespace could be deleted before the source is: with them, nobody may let it go any more.
    await place.apply(source())
    await place.until("github", "TopologyReady", "True")
    await place.call("DELETE", f"/api/v1/namespaces/{place.namespace}")
    await _gone(place)


async def test_a_source_with_a_spec_that_can_not_be_used_can_be_deleted(place: Api, running: OperatorProcess) -> None:
    await place.delete("Secret", "rabbitmq")
    await place.apply(source())
    await place.until("github", "Accepted", "False")
    await place.delete("WebhookSource", "github")
    await _gone(place)
