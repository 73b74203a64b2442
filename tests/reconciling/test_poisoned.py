"""A source whose reconcile always fails is tried ever later, and delays nobody."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from tools.control_plane import ControlPlane

from tests.reconciling.sources import source
from tests.reconciling.yard import Yard, yard
from tests.support.brokers import VirtualHost
from tests.support.proxy import PASS, Fate
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)

_FEW = 20  # tries in the time that the test takes: it takes a minute at most, and half a minute is between two by then


async def _edits_apply(here: Yard, name: str, replicas: int) -> None:
    await here.api.patch("WebhookSource", name, {"spec": {"ingest": {"replicas": replicas}}})

    async def applied() -> bool:
        return bool((await here.api.get("Deployment", f"{name}-ingest"))["spec"]["replicas"] == replicas)

    await eventually(applied, within_s=20)


@pytest.mark.parametrize(
    "fault",
    [Fate(answer=(500, "{}")), Fate(answer=(200, "[]"))],
    ids=["the API server fails", "an answer that makes no sense"],
)
async def test_one_source_that_always_fails_delays_nobody(
    control_plane: ControlPlane, newest_broker: VirtualHost, tmp_path: Path, fault: Fate
) -> None:
    tried = 0

    def fate(request: web.Request) -> Fate:
        nonlocal tried
        if not request.path.endswith("/poisoned/status"):
            return PASS
        tried += 1
        return fault

    async with yard(control_plane, newest_broker, tmp_path / "yard") as here:
        here.kube.fate = fate
        await here.start()
        await here.api.apply(source("poisoned"))
        await eventually(lambda: asyncio.sleep(0, tried >= 3), within_s=30)
        for name in ("one", "two"):
            await here.api.apply(source(name))
        for name in ("one", "two"):
            await here.api.until(name, "TopologyReady", "True", within_s=30)
        await _edits_apply(here, "one", 3)
        await _edits_apply(here, "two", 4)
        assert await here.api.conditions("poisoned") == {}
        assert tried <= _FEW
        assert await here.health() == (200, "ok")
        here.kube.fate = lambda _: PASS
        await here.api.patch("WebhookSource", "poisoned", {"metadata": {"annotations": {"again": "now"}}})
        await here.api.until("poisoned", "TopologyReady", "True", within_s=30)
        assert here.lives
