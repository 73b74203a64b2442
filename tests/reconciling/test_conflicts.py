"""A conflict that the API server reports once does not leave a source half deleted, nor its status unsaid."""

from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.reconciling.sources import source
from tests.reconciling.yard import yard
from tests.support.apiserver import ControlPlane
from tests.support.brokers import VirtualHost
from tests.support.proxy import PASS, Fate
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(120)

_CONFLICT = '{"kind": "Status", "apiVersion": "v1", "code": 409, "message": "somebody else was faster"}'


def _once_for_each_act() -> Callable[[web.Request], Fate]:
    """Every act meets one conflict, the first time that it is tried."""
    met: set[tuple[str, str]] = set()

    def fate(request: web.Request) -> Fate:
        act = (request.method, request.path)
        if request.method == "GET" or act in met:
            return PASS
        met.add(act)
        return Fate(answer=(409, _CONFLICT), headers={"Content-Type": "application/json"})

    return fate


async def test_every_act_meets_one_conflict(
    control_plane: ControlPlane, newest_broker: VirtualHost, tmp_path: Path
) -> None:
    async with yard(control_plane, newest_broker, tmp_path / "yard") as here:
        here.kube.fate = _once_for_each_act()
        await here.start()
        await here.api.apply(source())
        await here.api.until("github", "TopologyReady", "True", within_s=40)
        here.kube.fate = _once_for_each_act()
        await here.api.delete("WebhookSource", "github")

        async def gone() -> bool:
            return await here.api.find("WebhookSource", "github") is None

        await eventually(gone, within_s=60, every_s=0.25)
        assert not [name for name in await here.world() if " forebay." in name]
