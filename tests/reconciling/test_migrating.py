"""A queue whose arguments change gets an heir and comes back as wanted: nothing lost, nothing refused, whoever is killed."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from forebay.topology import Names, ways_into
from forebay_operator.migrating import heir_of
from tests.reconciling.provider import Provider, sending
from tests.reconciling.sources import source
from tests.reconciling.test_draining import Moody, wanted
from tests.support.apiserver import Api, ControlPlane, OperatorProcess, operator
from tests.support.brokers import VirtualHost
from tests.support.destination import destination
from tests.support.node import LocalNode
from tests.support.waiting import eventually, so

pytestmark = pytest.mark.timeout(300)

OF_OLD = {"x-queue-type": "quorum", "x-delivery-limit": 7}


async def arguments(broker: VirtualHost, place: Api) -> dict[str, dict[str, Any]]:
    """What the source's queues of webhooks were declared with, by short name."""
    found = await broker.management.get(f"queues/{quote(broker.name, safe='')}?columns=name,arguments")
    own = f"forebay.{place.namespace}.github."
    return {q["name"].removeprefix(own): q["arguments"] for q in found if q["name"].startswith(own)}


async def make_old(broker: VirtualHost, names: Names, queue: str) -> None:
    """Declare a queue as an earlier Forebay might have."""
    path = f"queues/{quote(broker.name, safe='')}/{names.queue(queue)}"
    await broker.management.delete(path)
    await broker.management.put(path, {"durable": True, "arguments": OF_OLD})
    await broker.management.declare(ways_into(broker.name, names, queue))
    await asyncio.sleep(1)


async def more(provider: Provider) -> None:
    """Until many more webhooks have been accepted."""
    many = len(provider.accepted) + 50
    await eventually(so(lambda: len(provider.accepted) >= many), within_s=60)


async def test_a_queue_of_other_arguments_is_replaced_under_load(
    control_plane: ControlPlane, place: Api, node: LocalNode, newest_broker: VirtualHost, tmp_path: Path
) -> None:
    flags = ("--namespace", place.namespace, "--allow-loopback")
    moody, names = Moody(), Names(place.namespace, "github")

    async def stage(heir: bool, renewed: bool) -> bool:
        there = await arguments(newest_broker, place)
        return (heir_of("orders") in there) is heir and (there.get("orders", OF_OLD) != OF_OLD) is renewed

    async with destination(moody) as target:
        async with operator(control_plane, tmp_path, *flags):
            await place.apply(wanted(target, ["orders"]))
            await place.until("github", "Ready", "True", within_s=60)
        await make_old(newest_broker, names, "orders")
        async with sending(place, node, "orders") as provider:
            await more(provider)
            async with operator(control_plane, tmp_path, *flags) as first:
                await eventually(lambda: stage(heir=True, renewed=False), within_s=60, every_s=0.2)
                await more(provider)
                await _killed(first)
            moody.well = True
            async with operator(control_plane, tmp_path, *flags):
                await eventually(lambda: stage(heir=True, renewed=True), within_s=90, every_s=0.2)
                await more(provider)
                await eventually(lambda: stage(heir=False, renewed=True), within_s=120, every_s=0.5)
                await place.until("github", "Ready", "True", within_s=60)
                await more(provider)

    assert not provider.refused
    assert set(provider.accepted) <= moody.delivered.keys()


async def _killed(process: OperatorProcess) -> None:
    process.kill()
    await process.ended()


async def test_a_dead_letter_queue_of_other_arguments_is_kept_and_it_is_said_how_to_renew_it(
    place: Api, running: OperatorProcess, newest_broker: VirtualHost
) -> None:
    names = Names(place.namespace, "github")
    path = f"queues/{quote(newest_broker.name, safe='')}/{names.dead}"
    await newest_broker.management.put(path, {"durable": True, "arguments": OF_OLD})
    await newest_broker.put(names.dead)
    await place.apply(source())
    said = (await place.until("github", "TopologyReady", "False", "QueueInequivalent"))["message"]
    assert f"kubectl forebay dlq replay github -n {place.namespace} --all" in said
    assert f"rabbitmqctl delete_queue --vhost {newest_broker.name} {names.dead}:" in said
    assert (await arguments(newest_broker, place))["dead"] == OF_OLD
    await newest_broker.management.delete(path)
    await place.until("github", "TopologyReady", "True", within_s=40)
    assert (await arguments(newest_broker, place))["dead"] != OF_OLD
