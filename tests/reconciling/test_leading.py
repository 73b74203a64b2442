"""Of several replicas one acts; when it dies another one does, within twenty seconds."""

import signal
import time
from pathlib import Path

import pytest

from tests.reconciling.sources import source
from tests.support.apiserver import Api, ControlPlane, OperatorProcess, operator
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


async def _leads(one: OperatorProcess) -> bool:
    return "forebay_operator_leading 1.0" in await one.metrics()


async def test_one_acts_and_a_killed_one_is_followed_within_twenty_seconds(
    control_plane: ControlPlane, place: Api, tmp_path: Path
) -> None:
    flags = ("--namespace", place.namespace, "--leader-election", "--lease-namespace", place.namespace)
    async with (
        operator(control_plane, tmp_path, *flags, "--identity", "one") as one,
        operator(control_plane, tmp_path, *flags, "--identity", "two") as two,
    ):
        await eventually(lambda: _leads(one), within_s=10)
        assert not await _leads(two)
        await place.apply(source())
        await place.until("github", "TopologyReady", "True")
        one.kill()
        killed = time.monotonic()
        await eventually(lambda: _leads(two), within_s=25)
        assert time.monotonic() - killed <= 20
        await place.delete("Service", "github-ingest")
        await eventually(lambda: place.find("Service", "github-ingest"), within_s=10)


async def test_one_that_ends_in_order_is_followed_at_once(
    control_plane: ControlPlane, place: Api, tmp_path: Path
) -> None:
    flags = ("--namespace", place.namespace, "--leader-election", "--lease-namespace", place.namespace)
    async with operator(control_plane, tmp_path, *flags, "--identity", "two", ready=False) as two:
        await eventually(lambda: _leads_if_up(two), within_s=15)
        async with operator(control_plane, tmp_path, *flags, "--identity", "one") as one:
            two.kill(signal.SIGTERM)
            assert await two.ended(within_s=10) == 0
            await eventually(lambda: _leads(one), within_s=6)


async def _leads_if_up(one: OperatorProcess) -> bool:
    try:
        return await _leads(one)
    except OSError:
        return False
