"""KEDA, prometheus-operator and Gateway API come to a cluster, and leave it, while the operator runs."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tools.build import built
from tools.control_plane import ControlPlane

from tests.reconciling.test_optional_apis import WITH_ALL
from tests.reconciling.test_restart import quiet
from tests.reconciling.test_rights import Installed
from tests.reconciling.yard import yard
from tests.support.apiserver import Answer, Api, Object, OperatorProcess
from tests.support.brokers import VirtualHost
from tests.support.helm import Helm
from tests.support.parts import FOREIGN
from tests.support.proxy import PASS, Fate, is_watch
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

THEIRS = {
    "HTTPRoute": ["github-ingest"],
    "PodMonitor": ["github"],
    "PrometheusRule": ["github"],
    "ScaledObject": ["github-worker-default"],
    "TriggerAuthentication": ["github-worker"],
}
# The endpoint's is there in any case; the workers' where no KEDA is.
ALONE = {"HorizontalPodAutoscaler": ["github-ingest", "github-worker-default"]}
TOGETHER = {"HorizontalPodAutoscaler": ["github-ingest"], **THEIRS}
# Requests, kopf's with them, in the seconds in which the operator does not know yet that three APIs have gone.
HAMMERING = 300
MUTE = Fate(mute=True)


@contextmanager
def _taken_away(plane: ControlPlane) -> Iterator[None]:
    """The server without the optional APIs; it has them again after the block."""
    _uninstall(plane)
    try:
        yield
    finally:
        _install(plane)


def _install(plane: ControlPlane) -> None:
    for name in FOREIGN["newest"]:
        plane.kubectl("apply", "--server-side", "-f", str(built(name)))
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")


def _uninstall(plane: ControlPlane) -> None:
    for name in FOREIGN["newest"]:
        plane.kubectl("delete", "--ignore-not-found", "-f", str(built(name)))


@pytest.fixture
async def installed(helm: Path, equipped: ControlPlane, equipped_place: Api, tmp_path: Path) -> Installed:
    """An operator under the chart's rights for one namespace."""
    values = {"watchNamespaces": [equipped_place.namespace]}
    return Installed(equipped, Helm(helm, tmp_path), tmp_path, equipped_place, values)


@pytest.mark.parametrize("equipped", ["newest"], indirect=True)
async def test_what_needs_an_api_is_made_when_it_comes_and_missed_when_it_goes(
    installed: Installed, equipped: ControlPlane, equipped_place: Api
) -> None:
    place = equipped_place
    with _taken_away(equipped):
        async with installed.operator() as process:
            await place.apply(WITH_ALL)
            await _without_them(place)

            _install(equipped)
            await eventually(lambda: _has(place, TOGETHER), within_s=90)
            await place.until("github", "MonitoringReady", "True", "Applied")
            await place.until("github", "RouteReady", "Unknown", "Pending")
            await quiet(process)

            before = _requests(equipped)
            _uninstall(equipped)
            await _without_them(place)
            await quiet(process)
            assert _requests(equipped) - before < HAMMERING
            assert (await place.conditions("github"))["Accepted"]["status"] == "True"
            assert await process.status_of("/readyz") == 200
            told = [len(apis) for apis in _told(process)]  # a look in the midst of an installation sees some of them
            assert 5 in told
            assert told[-1] == 0
            _complains_little(process)

            await place.patch("WebhookSource", "github", {"spec": {"ingest": {"autoscaling": {"maxReplicas": 5}}}})
            await eventually(lambda: _scales_to(place, 5))


@pytest.mark.parametrize("equipped", ["newest"], indirect=True)
async def test_what_went_with_its_api_unheard_is_gone_all_the_same(
    equipped: ControlPlane, newest_broker: VirtualHost, tmp_path: Path
) -> None:
    async with yard(equipped, newest_broker, tmp_path / "yard") as here:
        await here.start()
        await here.api.apply(WITH_ALL)
        await here.api.until("github", "MonitoringReady", "True", "Applied")
        await eventually(lambda: here.api.find("PodMonitor", "github"))
        here.kube.fate = lambda request: MUTE if is_watch(request) and request.path.endswith("/podmonitors") else PASS
        await here.kube.close()
        await here.kube.open()
        await here.api.until("github", "Accepted", "True")
        with _taken_away(equipped):
            here.kube.requests.clear()
            await here.api.until("github", "MonitoringReady", "False", "ApiMissing", within_s=60)
            assert [one for one in here.kube.requests if one.startswith("DELETE") and "podmonitors" in one] == []


async def _without_them(place: Api) -> None:
    await eventually(lambda: _has(place, ALONE), within_s=90)
    await place.until("github", "RouteReady", "False", "ApiMissing")
    await place.until("github", "MonitoringReady", "False", "ApiMissing")


async def _has(place: Api, wanted: dict[str, list[str]]) -> bool:
    return {kind: names async for kind, names in _there(place)} == wanted


async def _there(place: Api) -> AsyncIterator[tuple[str, list[str]]]:
    for kind in sorted({*ALONE, *TOGETHER}):
        if names := sorted(one["metadata"]["name"] for one in await _all(place, kind)):
            yield kind, names


async def _all(place: Api, kind: str) -> list[Object]:
    try:
        return await place.all(kind, "forebay.dev/source=github")
    except Answer as answer:
        if answer.status == 404:  # the server has no such kind
            return []
        raise


def _requests(plane: ControlPlane) -> int:
    """How many the operators have made so far."""
    return len(plane.audit_log.read_text().splitlines())


def _told(process: OperatorProcess) -> list[list[str]]:
    """The optional APIs that there were, each time that the log tells of a change."""
    return [line["apis"] for line in process.lines() if line["event"] == "optional APIs"]


def _complains_little(process: OperatorProcess) -> None:
    warnings = [line for line in process.lines() if line["level"] not in ("debug", "info")]
    assert len(warnings) < 10, warnings


async def _scales_to(place: Api, most: int) -> bool:
    return bool((await place.get("HorizontalPodAutoscaler", "github-ingest"))["spec"]["maxReplicas"] == most)
