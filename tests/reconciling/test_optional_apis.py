"""With prometheus-operator, KEDA and Gateway API: their objects are made, and what their CRDs fill in is no drift."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tools.control_plane import ControlPlane

from tests.reconciling.sources import source
from tests.reconciling.test_restart import quiet, writes
from tests.support.apiserver import Api, operator
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)

WITH_ALL = source(
    spec__ingest__autoscaling={"maxReplicas": 4, "targetRequestsPerSecond": 100},
    spec__ingest__expose={"httpRoute": {"parentRefs": [{"name": "public"}], "hostnames": ["hooks.example.com"]}},
    spec__worker__autoscaling={"minReplicas": 0, "targetCpuPercent": 80},
    spec__monitoring={"labels": {"release": "prometheus"}, "dashboard": {"folder": "Webhooks"}},
)
MADE = {
    "PodMonitor": "github",
    "PrometheusRule": "github",
    "HTTPRoute": "github-ingest",
    "ScaledObject": "github-worker-default",
    "TriggerAuthentication": "github-worker",
    "HorizontalPodAutoscaler": "github-ingest",
    "ConfigMap": "github-dashboard",
}


async def test_their_objects_are_made_and_a_restart_writes_nothing(
    equipped: ControlPlane, equipped_place: Api, tmp_path: Path
) -> None:
    flags = ("--namespace", equipped_place.namespace)
    async with operator(equipped, tmp_path, *flags) as first:
        await equipped_place.apply(WITH_ALL)
        await equipped_place.until("github", "TopologyReady", "True", within_s=40)
        for kind, name in MADE.items():
            await eventually(lambda kind=kind, name=name: equipped_place.find(kind, name))  # type: ignore[misc]
        await equipped_place.until("github", "MonitoringReady", "True", "Applied")
        pods, scaled = [await _made_at(equipped_place, kind) for kind in ("Deployment", "ScaledObject")]
        assert pods < scaled, "KEDA asks by a login that has no rights before the queues have settled"
        await quiet(first)
    async with operator(equipped, tmp_path, *flags) as second:
        await quiet(second)
        assert not writes(await second.metrics())


async def _made_at(place: Api, kind: str) -> str:
    return str((await place.get(kind, "github-worker-default"))["metadata"]["creationTimestamp"])


async def test_an_object_of_theirs_that_somebody_edits_comes_back(
    equipped: ControlPlane, equipped_place: Api, tmp_path: Path
) -> None:
    async with operator(equipped, tmp_path, "--namespace", equipped_place.namespace):
        await equipped_place.apply(WITH_ALL)
        await eventually(lambda: equipped_place.find("ScaledObject", "github-worker-default"), within_s=40)
        await equipped_place.patch("ScaledObject", "github-worker-default", {"spec": {"maxReplicaCount": 1}})
        await equipped_place.patch(
            "ConfigMap", "github-dashboard", {"metadata": {"labels": {"grafana_dashboard": "0"}}}
        )

        async def mended() -> bool:
            scaled = await equipped_place.get("ScaledObject", "github-worker-default")
            config = await equipped_place.get("ConfigMap", "github-dashboard")
            return (scaled["spec"]["maxReplicaCount"], config["metadata"]["labels"]["grafana_dashboard"]) == (10, "1")

        await eventually(mended, within_s=30)


@contextmanager
def _without(plane: ControlPlane, crd: str, *path: str) -> Iterator[None]:
    """The CRD as it was before it had a field."""
    where = "".join(f"/properties/{name}" for name in path)
    pointer = f"/spec/versions/0/schema/openAPIV3Schema{where}"
    field = json.loads(plane.kubectl("get", "crd", crd, "-o", "json"))["spec"]["versions"][0]["schema"][
        "openAPIV3Schema"
    ]
    for name in path:
        field = field["properties"][name]
    plane.kubectl("patch", "crd", crd, "--type=json", "-p", json.dumps([{"op": "remove", "path": pointer}]))
    try:
        yield
    finally:
        again = [{"op": "add", "path": pointer, "value": field}]
        plane.kubectl("patch", "crd", crd, "--type=json", "-p", json.dumps(again))


async def test_an_api_that_is_too_old_is_named_and_its_upgrade_heals_the_source(
    equipped: ControlPlane, equipped_place: Api, tmp_path: Path
) -> None:
    async with operator(equipped, tmp_path, "--namespace", equipped_place.namespace):
        with _without(equipped, "scaledobjects.keda.sh", "spec", "fallback", "behavior"):  # as KEDA 2.16
            await equipped_place.apply(WITH_ALL)
            said = await equipped_place.until("github", "Accepted", "False", "ChildRefused", within_s=40)
            assert ".spec.fallback.behavior: field not declared in schema" in said["message"]
            assert "older than Forebay needs: upgrade it" in said["message"]
            await equipped_place.until("github", "Stalled", "True", "ChildRefused")
        await equipped_place.until("github", "Accepted", "True", within_s=60)
        assert await equipped_place.find("ScaledObject", "github-worker-default")
