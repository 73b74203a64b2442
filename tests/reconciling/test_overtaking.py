"""An edit that is made while an answer to the operator is under way is heeded, whichever of the two it hears of first."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from forebay_operator.broker import LOOK_S
from tests.reconciling.sources import source
from tests.reconciling.yard import Yard, yard
from tests.support.apiserver import ControlPlane
from tests.support.brokers import VirtualHost
from tests.support.proxy import PASS, Fate, is_watch
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(120)

_HELD_S, _LAG_S = 2.0, 0.5


def _slow_watch(request: web.Request) -> Fate:
    """Edits of sources are told late."""
    return Fate(held_s=_LAG_S) if is_watch(request) and request.path.endswith("/webhooksources") else PASS


@pytest.fixture
async def here(control_plane: ControlPlane, newest_broker: VirtualHost, tmp_path: Path) -> AsyncIterator[Yard]:
    async with yard(control_plane, newest_broker, tmp_path / "yard") as one:
        one.kube.fate = _slow_watch
        await one.start()
        await one.api.apply(source())
        await one.api.until("github", "TopologyReady", "True")
        await eventually(lambda: one.api.find("Deployment", "github-worker-default"))
        yield one


def _attempts(most: int) -> dict[str, object]:
    return source(spec__retry={"maxAttempts": most})


async def _heeded(here: Yard, generation: int) -> None:
    """Wait until the status speaks of this generation."""

    async def so() -> bool:
        found = await here.api.get("WebhookSource", "github")
        return bool(found["status"].get("observedGeneration") == generation == found["metadata"]["generation"])

    await eventually(so, within_s=20, every_s=0.1)


async def _status_says(here: Yard, generation: int) -> None:
    async def so() -> bool:
        found = await here.api.get("WebhookSource", "github")
        return bool(found["status"].get("observedGeneration") == generation)

    await eventually(so, within_s=20)


async def test_an_edit_of_a_source_that_is_heard_of_before_the_answer(here: Yard) -> None:
    def late_status(request: web.Request) -> Fate:
        return Fate(held_s=_HELD_S) if request.method == "PATCH" and request.path.endswith("/status") else PASS

    here.kube.fate = late_status
    await here.api.apply(_attempts(3))
    await _status_says(here, 2)
    here.kube.fate = lambda _: PASS
    await here.api.apply(_attempts(4))
    await _heeded(here, 3)


async def _at_rest(here: Yard) -> None:
    """Wait until a look at the broker has found nothing new: it would wake the operator, and the edit be heeded by chance."""
    since, before = 0.0, -1

    async def so() -> bool:
        nonlocal since, before
        now = sum(request.startswith("PATCH ") for request in here.kube.requests)
        if now != before:
            since, before = time.monotonic(), now
        return time.monotonic() - since > 1.5 * LOOK_S

    await eventually(so, within_s=60)


async def test_an_edit_of_a_source_that_comes_with_the_answer(here: Yard) -> None:
    edits = [source(spec__deletionPolicy="Retain")]  # which no child shows, whose change would wake the operator too

    async def edit_before_the_status() -> bool:
        if edits and here.kube.requests[-1].endswith("/status"):
            await here.api.apply(edits.pop())
        return True

    await _at_rest(here)
    here.kube.begin = edit_before_the_status
    await here.api.apply(source(spec__deletionPolicy="Delete"))
    await _heeded(here, 3)
    assert not edits


async def test_an_edit_of_a_child_that_is_heard_of_before_the_answer(here: Yard) -> None:
    before = await here.api.get("ConfigMap", "github-settings")

    def late_settings(request: web.Request) -> Fate:
        return Fate(held_s=_HELD_S) if request.path.endswith("/github-settings") else PASS

    async def applied() -> bool:
        return bool((await here.api.get("ConfigMap", "github-settings"))["data"] != before["data"])

    here.kube.fate = late_settings
    await here.api.apply(_attempts(3))
    await eventually(applied)
    here.kube.fate = lambda _: PASS
    wanted = (await here.api.get("ConfigMap", "github-settings"))["data"]
    await here.api.patch("ConfigMap", "github-settings", {"data": {"ingest.json": "{}"}})

    async def mended() -> bool:
        return bool((await here.api.get("ConfigMap", "github-settings"))["data"] == wanted)

    await eventually(mended, within_s=20, every_s=0.1)
