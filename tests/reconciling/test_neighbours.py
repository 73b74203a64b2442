"""Sources that want the same: the first keeps it, the second is told whose it is and heals when the first goes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.reconciling.conftest import with_secrets
from tests.reconciling.sources import source
from tests.support.apiserver import Api, ControlPlane, Object, OperatorProcess, namespace, operator
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


def _exposed(name: str, path: str = "/hooks", host: str = "hooks.example.com") -> dict[str, Any]:
    expose = {"ingress": {"className": "nginx", "host": host}}
    return source(name, spec__ingest__path=path, spec__ingest__expose=expose)


async def _without_status(place: Api, kind: str, name: str) -> Object:
    found = await place.get(kind, name)
    return {"spec": found["spec"], "uid": found["metadata"]["uid"], "generation": found["metadata"].get("generation")}


async def test_a_public_address_stays_with_the_first_of_two_sources(place: Api, running: OperatorProcess) -> None:
    await place.apply(_exposed("first"))
    await eventually(lambda: place.find("Ingress", "first-ingest"))
    before = await _without_status(place, "Ingress", "first-ingest")
    await place.apply(_exposed("second"))
    said = await place.until("second", "Accepted", "False", "AddressTaken")
    assert f"hooks.example.com/hooks is the address of source {place.namespace}/first already" in said["message"]
    await eventually(lambda: place.find("Deployment", "second-ingest"))
    assert await place.find("Ingress", "second-ingest") is None
    assert await _without_status(place, "Ingress", "first-ingest") == before
    assert (await place.conditions("first"))["Accepted"]["status"] == "True"
    await place.delete("WebhookSource", "first")
    await place.until("second", "Accepted", "True", within_s=30)
    await eventually(lambda: place.find("Ingress", "second-ingest"), within_s=5)

    await place.apply(_exposed("third"))
    await place.until("third", "Accepted", "False", "AddressTaken")
    await place.apply(_exposed("second", path="/elsewhere"))
    await place.until("third", "Accepted", "True", within_s=5)


async def test_a_public_address_is_one_for_all_namespaces(
    control_plane: ControlPlane, place: Api, wide_account: Path, newest_broker: VirtualHost, tmp_path: Path
) -> None:
    flags = "--allow-loopback"
    async with (
        namespace(control_plane) as other,
        operator(control_plane, tmp_path, flags, kubeconfig=wide_account) as running,
    ):
        await place.apply(_exposed("first", host="everywhere.example.com"))
        await eventually(lambda: place.find("Ingress", "first-ingest"))
        await asyncio.sleep(1.1)  # who was first is told by the API server's clock of whole seconds
        await with_secrets(other, newest_broker)
        await other.apply(_exposed("first", host="everywhere.example.com"))
        said = await other.until("first", "Accepted", "False", "AddressTaken")
        assert f"source {place.namespace}/first already" in said["message"]
        assert await other.find("Ingress", "first-ingest") is None
        running.kill()  # what it has learnt goes with it
        await running.ended()
        async with operator(control_plane, tmp_path, flags, kubeconfig=wide_account):
            assert await place.find("Ingress", "first-ingest")
            assert await other.find("Ingress", "first-ingest") is None
            await place.delete("WebhookSource", "first")
            await other.until("first", "Accepted", "True", within_s=30)
