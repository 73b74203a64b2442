"""A restart with nothing changed writes nothing; what changed meanwhile is seen."""

from pathlib import Path

from tests.reconciling.sources import source
from tests.support.apiserver import Api, ControlPlane, OperatorProcess, operator
from tests.support.waiting import eventually


def writes(metrics: str) -> dict[str, float]:
    lines = (line for line in metrics.splitlines() if line.startswith("forebay_operator_api_calls_total{"))
    told = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    return {name: value for name, value in told.items() if 'verb="GET"' not in name}


async def quiet(operator: OperatorProcess) -> None:
    """Wait until it has reconciled and written nothing more for a while."""
    last: list[object] = []

    async def same() -> bool:
        metrics = await operator.metrics()
        last.append((writes(metrics), 'forebay_operator_reconcile_seconds_count{result="ok"}' in metrics))
        return len(last) > 4 and all(one == last[-1] for one in last[-4:])

    await eventually(same, within_s=40, every_s=0.5)


async def test_a_restart_with_nothing_changed_writes_nothing(
    control_plane: ControlPlane, place: Api, tmp_path: Path
) -> None:
    flags = ("--namespace", place.namespace)
    async with operator(control_plane, tmp_path, *flags) as first:
        await place.apply(source())
        await place.until("github", "TopologyReady", "True")
        await eventually(lambda: place.find("Deployment", "github-worker-default"))
        await quiet(first)
        assert writes(await first.metrics()), "the first one wrote"
    async with operator(control_plane, tmp_path, *flags) as second:
        await quiet(second)
        assert not writes(await second.metrics())
        broker = [line for line in (await second.metrics()).splitlines() if "broker_writes" in line and line[0] != "#"]
        assert all(line.endswith(" 0.0") for line in broker)


async def test_a_child_edited_while_no_operator_ran_is_mended_at_the_start(
    control_plane: ControlPlane, place: Api, tmp_path: Path
) -> None:
    flags = ("--namespace", place.namespace)
    async with operator(control_plane, tmp_path, *flags):
        await place.apply(source())
        await eventually(lambda: place.find("Deployment", "github-worker-default"))
        await eventually(lambda: place.find("Service", "github-ingest"))  # they are applied side by side
    await place.patch("ConfigMap", "github-settings", {"data": {"ingest.json": "{}"}})
    await place.delete("Service", "github-ingest")
    async with operator(control_plane, tmp_path, *flags):
        await eventually(lambda: place.find("Service", "github-ingest"), within_s=10)

        async def mended() -> bool:
            return bool((await place.get("ConfigMap", "github-settings"))["data"]["ingest.json"] != "{}")

        await eventually(mended, within_s=10)
