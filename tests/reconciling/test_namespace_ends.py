"""A namespace that is deleted with several sources in it ends, and what waits in their queues stays or goes as they say."""

from pathlib import Path

import pytest

from tests.reconciling.sources import source
from tests.reconciling.yard import yard
from tests.support.apiserver import Answer, ControlPlane
from tests.support.brokers import VirtualHost
from tests.support.forks import Nursery
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


async def test_a_namespace_with_webhooks_that_wait(
    control_plane: ControlPlane, newest_broker: VirtualHost, nursery: Nursery, tmp_path: Path
) -> None:
    async with yard(control_plane, newest_broker, nursery, tmp_path / "yard") as here:
        await here.start("--no-leader-election")  # and no --namespace: for the whole cluster
        policies = {"kept": "Retain", "thrown": "Delete", "kept-too": "Retain"}
        for name, policy in policies.items():
            await here.api.apply(source(name, spec__deletionPolicy=policy))
        for name in policies:
            await here.api.until(name, "TopologyReady", "True")
            await newest_broker.put(f"forebay.{here.api.namespace}.{name}.default")
        await here.api.call("DELETE", f"/api/v1/namespaces/{here.api.namespace}")

        async def ended() -> bool:
            try:
                await here.api.call("GET", f"/api/v1/namespaces/{here.api.namespace}")
            except Answer as answer:
                return answer.status == 404
            return False

        await eventually(ended, within_s=90, every_s=0.5)
        left = {name for name in await here.world() if name.startswith("queue ")}
        base = "queue forebay.NS"
        assert left == {f"{base}.{name}.{queue}" for name in ("kept", "kept-too") for queue in ("default", "dead")}
        assert not [name for name in await here.world() if name.startswith("user ")]
