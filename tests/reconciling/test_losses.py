"""What goes while no watch tells of it is missed all the same: a new watch begins with a list, and lists name no losses."""

import asyncio
import signal

import pytest

from tests.reconciling.sources import source
from tests.support.apiserver import Answer, Api, ControlPlane, OperatorProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


async def test_a_child_that_was_deleted_while_the_watches_were_cut(
    control_plane: ControlPlane, place: Api, running: OperatorProcess
) -> None:
    await place.apply(source())
    await place.until("github", "TopologyReady", "True")
    await eventually(lambda: place.find("Deployment", "github-worker-default"))
    before = await place.get("Service", "github-ingest")
    running.kill(signal.SIGSTOP)
    control_plane.kill_api_server()
    await asyncio.to_thread(control_plane.start_api_server)
    await _deleted(place)
    running.kill(signal.SIGCONT)

    async def back() -> bool:
        now = await place.find("Service", "github-ingest")
        return now is not None and bool(now["metadata"]["uid"] != before["metadata"]["uid"])

    await eventually(back, within_s=40, every_s=0.25)


async def _deleted(place: Api) -> None:
    """Deleted, as soon as the new API server knows who may."""

    async def done() -> bool:
        try:
            await place.delete("Service", "github-ingest")
        except Answer:
            return False
        return True

    await eventually(done, within_s=20, every_s=0.25)
