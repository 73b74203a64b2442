"""A namespace that is deleted with several sources in it ends, and what waits in their queues stays or goes as they say."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.reconciling.conftest import Account, with_secrets
from tests.reconciling.sources import source
from tests.reconciling.yard import yard
from tests.support.apiserver import Answer, Api, ControlPlane, OperatorProcess, namespace, operator
from tests.support.brokers import VirtualHost
from tests.support.proxy import proxy
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


async def _end(api: Api) -> None:
    await api.call("DELETE", f"/api/v1/namespaces/{api.namespace}")


async def _ended(api: Api) -> None:
    async def ended() -> bool:
        try:
            await api.call("GET", f"/api/v1/namespaces/{api.namespace}")
        except Answer as answer:
            return answer.status == 404
        return False

    await eventually(ended, within_s=90, every_s=0.5)


async def test_a_namespace_with_webhooks_that_wait(
    control_plane: ControlPlane, newest_broker: VirtualHost, tmp_path: Path
) -> None:
    async with yard(control_plane, newest_broker, tmp_path / "yard") as here:
        await here.start("--no-leader-election")  # and no --namespace: for the whole cluster
        policies = {"kept": "Retain", "thrown": "Delete", "kept-too": "Retain"}
        for name, policy in policies.items():
            await here.api.apply(source(name, spec__deletionPolicy=policy))
        for name in policies:
            await here.api.until(name, "TopologyReady", "True")
            await newest_broker.put(f"forebay.{here.api.namespace}.{name}.default")
        await _end(here.api)
        await _ended(here.api)
        left = {name for name in await here.world() if name.startswith("queue ")}
        base = "queue forebay.NS"
        assert left == {f"{base}.{name}.{queue}" for name in ("kept", "kept-too") for queue in ("default", "dead")}
        assert not [name for name in await here.world() if name.startswith("user ")]


async def test_a_namespace_whose_rules_go_before_its_source_is_cleaned_up_after_and_holds_up_no_other(
    control_plane: ControlPlane, place: Api, account_of: Account, newest_broker: VirtualHost, tmp_path: Path
) -> None:
    trust = ssl.create_default_context(cafile=str(control_plane.authority))
    async with namespace(control_plane) as doomed, proxy(control_plane.url, trust) as gate:
        await with_secrets(doomed, newest_broker)
        both = [place.namespace, doomed.namespace]
        kubeconfig = account_of(f"op-{place.namespace}", {"watchNamespaces": both})
        kubeconfig.write_text(kubeconfig.read_text().replace(control_plane.url, gate.url))

        @asynccontextmanager
        async def running() -> AsyncIterator[OperatorProcess]:
            flags = [flag for name in both for flag in ("--namespace", name)]
            async with operator(control_plane, tmp_path, "--allow-loopback", *flags, kubeconfig=kubeconfig) as process:
                yield process

        async def edited(queue: str) -> None:
            await place.apply(source(spec__queues=[{"name": queue, "match": {"pathSuffix": f"/{queue}"}}]))
            await eventually(lambda: place.find("Deployment", f"github-worker-{queue}"), within_s=20)

        async def cleaned_up() -> bool:
            found = [*await newest_broker.management.queues(newest_broker.name)]
            users = await newest_broker.management.get("users?columns=name")
            names = [queue.name for queue in found] + [user["name"] for user in users]
            return not [name for name in names if name.startswith(f"forebay.{doomed.namespace}.")]

        async with running() as first:
            for api in (place, doomed):
                await api.apply(source())
                await api.until("github", "TopologyReady", "True")
            await _end(doomed)
            await eventually(cleaned_up, within_s=90, every_s=0.5)

            async def says_the_remedy() -> bool:
                return f"force-finalize github -n {doomed.namespace}" in first.log.read_text()

            await eventually(says_the_remedy, within_s=70)
            assert await doomed.find("WebhookSource", "github"), "nobody was left who may let it go"
            await gate.close()  # every watch ends, and what begins anew is refused in one of the namespaces
            await gate.open()
            await edited("urgent")
        async with running():
            await edited("slow")
        await doomed.patch("WebhookSource", "github", {"metadata": {"finalizers": None}})  # as force-finalize does it
        await _ended(doomed)
