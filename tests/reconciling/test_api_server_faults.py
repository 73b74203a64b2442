"""An API server whose watches break, that can not be reached, or says no: the operator lives on and misses nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.reconciling.sources import source
from tests.reconciling.yard import Yard, yard
from tests.support.apiserver import ControlPlane
from tests.support.brokers import VirtualHost
from tests.support.proxy import PASS, Fate, is_act, is_watch
from tests.support.waiting import eventually, so

pytestmark = pytest.mark.timeout(180)

_GONE = (
    '{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}}\n'
)
_NO_ROUTE = Fate(answer=(404, "404 page not found\n"))  # as the API server says it of a path that it does not serve
_FORBIDDEN = Fate(answer=(403, '{"kind": "Status", "message": "you may not"}'))
_LOOK = "GET /apis/gateway.networking.k8s.io/v1"  # for one of the optional APIs


@pytest.fixture
async def here(control_plane: ControlPlane, newest_broker: VirtualHost, tmp_path: Path) -> AsyncIterator[Yard]:
    async with yard(control_plane, newest_broker, tmp_path / "yard") as one:
        yield one
        assert one.lives, one.log[-2000:]


async def _healthy(here: Yard) -> None:
    assert await here.health() == (200, "ok")


@pytest.mark.parametrize(
    "fault",
    [Fate(line_cut=True), Fate(answer=(410, "{}")), Fate(answer=(200, _GONE)), Fate(answer=(200, '{"type":"ADD'))],
    ids=["cut in a line", "410", "told 410", "ended in a line"],
)
async def test_watches_that_break_again_and_again(here: Yard, fault: Fate) -> None:
    await here.start()
    await here.api.apply(source())
    await here.api.until("github", "TopologyReady", "True")
    here.kube.fate = lambda request: fault if is_watch(request) else PASS
    here.kube.requests.clear()
    await _cut_all(here)
    await asyncio.sleep(3)
    await here.api.apply(source("second"))
    await asyncio.sleep(3)
    assert len(here.kube.requests) < 400, "it asks without a pause"
    await _healthy(here)
    here.kube.fate = lambda _: PASS
    await here.api.until("second", "TopologyReady", "True", within_s=30)
    await here.api.delete("Service", "github-ingest")
    await eventually(lambda: here.api.find("Service", "github-ingest"), within_s=20)


async def _cut_all(here: Yard) -> None:
    """Every connection, once."""
    await here.kube.close()
    await here.kube.open()


async def test_no_connection_for_ten_seconds(here: Yard) -> None:
    await here.start()
    await here.api.apply(source())
    await here.api.until("github", "TopologyReady", "True")
    await here.kube.close()
    await here.api.apply(source("second"))
    await asyncio.sleep(10)
    await _healthy(here)
    await here.kube.open()
    await here.api.until("second", "TopologyReady", "True", within_s=20)


async def test_of_watches_that_one_of_them_takes_along_that_one_alone_is_told(here: Yard) -> None:
    await here.start()
    await here.api.apply(source())
    await here.api.until("github", "TopologyReady", "True")
    slow = Fate(delay_s=2)
    here.kube.fate = lambda request: PASS if is_act(request) else _NO_ROUTE if "policies" in request.path else slow
    await _cut_all(here)
    await eventually(so(lambda: '"watches ended"' in here.log))
    here.kube.fate = lambda _: PASS
    await here.api.apply(source("second"))
    await here.api.until("second", "TopologyReady", "True")
    assert "has failed: 404 page not found" in here.log
    assert "TCP closed" not in here.log, "it tells of each request that it took away itself"


async def test_an_api_that_went_unnoticed_is_missed_by_its_name_and_looked_for_at_once(here: Yard) -> None:
    await here.start()
    here.kube.fate = lambda request: _NO_ROUTE if is_act(request) and "autoscalers/" in request.path else PASS
    await here.api.apply(source(spec__ingest__autoscaling={"maxReplicas": 4}))
    said = await here.api.until("github", "Accepted", "False", "ApiMissing")
    assert "HorizontalPodAutoscaler github-ingest: the API server has no /apis/autoscaling/v2" in said["message"]
    # It looks every ten seconds in any case: a third time after twenty.
    seen = here.kube.requests.count(_LOOK)
    await eventually(so(lambda: here.kube.requests.count(_LOOK) >= seen + 3), within_s=19)
    here.kube.fate = lambda _: PASS
    await here.api.until("github", "Accepted", "True")


async def test_a_child_that_may_not_be_deleted_is_named_until_it_may(here: Yard) -> None:
    await here.start()
    await here.api.apply(source(spec__ingest__autoscaling={"maxReplicas": 4}))
    await eventually(lambda: here.api.find("HorizontalPodAutoscaler", "github-ingest"))
    here.kube.fate = lambda request: (
        _FORBIDDEN if request.method == "DELETE" and "autoscalers/" in request.path else PASS
    )
    await here.api.apply(source())
    said = await here.api.until("github", "Accepted", "False", "ChildRefused")
    assert "refuses to delete HorizontalPodAutoscaler github-ingest" in said["message"]
    here.kube.fate = lambda _: PASS
    await here.api.until("github", "Accepted", "True")
    assert await here.api.find("HorizontalPodAutoscaler", "github-ingest") is None
