"""The chart's rules are exactly what the operator uses: it is refused nothing, and no rule stays unused.

One life with everything in it, under the chart's own flags, once by a ClusterRole and once by Roles; then the API server's
audit log is asked for each verb of each rule.
"""

import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.control_plane import ControlPlane

from tests.reconciling.rights import Right, account_in, granted, rights_in, used_by
from tests.reconciling.sources import source
from tests.support.apiserver import Api, Object, OperatorProcess, namespace, operator
from tests.support.brokers import VirtualHost
from tests.support.helm import Helm
from tests.support.sources import manifest
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

HOME = "forebay-system"  # where the chart goes
HOST = "hooks.example.com"
# What is no request of its own, so that no log tells of it: the last test here shows who asks for it.
UNLOGGED = {("update", "webhooksources/finalizers", "forebay.dev")}
KINDS = (
    "ConfigMap", "Deployment", "HTTPRoute", "HorizontalPodAutoscaler", "Ingress", "NetworkPolicy", "PodDisruptionBudget",
    "PodMonitor", "PrometheusRule", "ScaledObject", "Service", "ServiceAccount", "TriggerAuthentication",
)  # fmt: skip


def everything(name: str, *, by: str) -> Object:
    """A source with every kind of child, at the operator's default broker, reached by an Ingress or an HTTPRoute."""
    ways = {
        "Ingress": {"ingress": {"host": HOST}},
        "HTTPRoute": {"httpRoute": {"parentRefs": [{"name": "public"}], "hostnames": [HOST]}},
    }
    return manifest(
        metadata__name=name,
        spec__ingest__autoscaling={"maxReplicas": 4},
        spec__ingest__expose=ways[by],
        spec__worker__autoscaling={"maxReplicas": 4},
        spec__monitoring={"dashboard": {"folder": "Webhooks"}},
    )


def little(name: str) -> Object:
    """The same source with no child that it can be without."""
    alerts = {"state": "Disabled"}
    return manifest(
        metadata__name=name,
        spec__ingest__replicas=1,
        spec__worker__replicas=1,
        spec__monitoring={"alerts": alerts},
    )


@dataclass(slots=True)
class Installed:
    """The chart's rights and flags, on an API server that writes down what is asked of it."""

    plane: ControlPlane
    helm: Helm
    folder: Path
    place: Api
    values: dict[str, Any]

    def rendered(self, **more: Any) -> list[Object]:
        text = self.helm.render({**self.values, **more}, release=f"op-{self.place.namespace}", namespace=HOME)
        return [one for one in yaml.safe_load_all(text) if one]

    @asynccontextmanager
    async def operator(self, *, lacking: str = "", **more: Any) -> AsyncIterator[OperatorProcess]:
        """Run it, without the rules for one resource if so wished."""
        rendered = self.rendered(**more)
        for role in (one for one in rendered if one["kind"] in ("Role", "ClusterRole")):
            role["rules"] = [rule for rule in role["rules"] if lacking not in rule["resources"]]
        kubeconfig = granted(self.plane, rendered, self.folder / "kubeconfig")
        (deployment,) = (one for one in rendered if one["kind"] == "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        async with operator(self.plane, self.folder, *container["args"], kubeconfig=kubeconfig) as process:
            yield process

    async def until(self, holds: Callable[[], Awaitable[object]]) -> None:
        """Wait for it. What it was refused is likelier to help than that time is up."""
        try:
            await eventually(holds, within_s=40, every_s=0.2)
        except TimeoutError:
            self.is_refused_nothing()
            raise

    def is_refused_nothing(self) -> None:
        refused = sorted(map(str, self._asked()[1]))
        assert not refused, "it asks for what the chart's rules do not allow"

    async def is_refused_an_owner(self) -> bool:
        return "cannot set blockOwnerDeletion" in self.plane.audit_log.read_text()

    def uses_everything(self) -> None:
        allowed, _ = self._asked()
        rights = {right for right in rights_in(self.rendered()) if right[:3] not in UNLOGGED}
        unused = sorted(str(right) for right in rights if not any(right.covers(use) for use in allowed))
        assert not unused, "take these out of the chart's rules, or let this test use them"

    def _asked(self) -> tuple[set[Right], set[Right]]:
        return used_by(account_in(self.rendered()), self.plane.audit_log)


@pytest.fixture
async def broker_namespace(equipped: ControlPlane, newest_broker: VirtualHost) -> AsyncIterator[str]:
    """Where the default broker's Secret is, and nothing else."""
    async with namespace(equipped) as api:
        await api.secret("rabbitmq", uri=newest_broker.uri, management=newest_broker.server.management_url)
        yield api.namespace


@pytest.mark.parametrize("equipped", ["newest"], indirect=True)
@pytest.mark.parametrize("wide", [True, False], ids=["ClusterRole", "Roles"])
async def test_each_right_is_used_and_none_is_missing(
    wide: bool, helm: Path, equipped: ControlPlane, equipped_place: Api, broker_namespace: str, tmp_path: Path
) -> None:
    place = equipped_place
    values = {
        "watchNamespaces": [] if wide else [place.namespace],
        "defaultBroker": {"namespace": broker_namespace, "name": "rabbitmq"},
    }
    installed = Installed(equipped, Helm(helm, tmp_path), tmp_path, place, values)
    async with installed.operator():
        made = await _children_of_both_ways(installed)
        await _meet_children_of_others(installed, made)
    async with installed.operator(sourceNetworkPolicies={"enabled": False}):
        await place.delete("WebhookSource", "taken")
        await place.apply(little("github"))
        await installed.until(lambda: _only_what_is_left(place))
        await place.delete("WebhookSource", "github")
        await installed.until(lambda: _no_source(place))
    installed.is_refused_nothing()
    installed.uses_everything()


async def _children_of_both_ways(installed: Installed) -> list[Object]:
    """Make a source with an HTTPRoute, then give it an Ingress instead; all its children."""
    place, made = installed.place, dict[tuple[str, str], Object]()

    async def all_with(route: str) -> bool:
        lists = [await place.all(kind, "forebay.dev/source=github") for kind in KINDS]
        made.update({(one["kind"], one["metadata"]["name"]): one for some in lists for one in some})
        return {some[0]["kind"] for some in lists if some} == {*KINDS} - {"Ingress", "HTTPRoute"} | {route}

    for way in ("HTTPRoute", "Ingress"):
        await place.apply(everything("github", by=way))
        await installed.until(functools.partial(all_with, way))
    return list(made.values())


async def _meet_children_of_others(installed: Installed, made: list[Object]) -> None:
    """A source whose children's names are all taken: the operator has to look whose they are."""
    place = installed.place
    for child in made:
        await place.create(_of_nobody(child))
    for way in ("HTTPRoute", "Ingress"):
        await place.apply(everything("taken", by=way))
        generation = (await place.get("WebhookSource", "taken"))["metadata"]["generation"]

        await installed.until(functools.partial(_says_taken, place, generation))


async def _says_taken(place: Api, generation: int) -> bool:
    """And its queues have settled: before that it does not try to make a ScaledObject."""
    said = await place.conditions("taken")
    accepted, topology = said.get("Accepted", {}), said.get("TopologyReady", {})
    taken = (accepted.get("reason"), accepted.get("observedGeneration")) == ("NameTaken", generation)
    return taken and topology.get("status") == "True"


def _of_nobody(child: Object) -> Object:
    """The same object with another name, without owner and labels."""
    text = json.dumps({name: value for name, value in child.items() if name in ("spec", "data", "kind", "apiVersion")})
    copy: Object = json.loads(text.replace("github", "taken"))
    if child["kind"] == "Service":
        copy["spec"] = {name: value for name, value in copy["spec"].items() if not name.startswith("clusterIP")}
    elif child["kind"] == "Deployment":
        copy["spec"]["replicas"] = 0
    return {**copy, "metadata": {"name": child["metadata"]["name"].replace("github", "taken")}}


async def _only_what_is_left(place: Api) -> bool:
    kept = {"ConfigMap": 1, "Deployment": 2, "PodMonitor": 1, "Service": 1, "ServiceAccount": 2}
    return {kind: n for kind in KINDS if (n := len(await place.all(kind, "forebay.dev/source=github")))} == kept


async def _no_source(place: Api) -> bool:
    return not await place.all("WebhookSource")


@pytest.mark.parametrize("equipped", ["newest"], indirect=True)
async def test_children_that_wait_for_their_owner_need_the_right_to_its_finalizers(
    helm: Path, equipped: ControlPlane, equipped_place: Api, tmp_path: Path
) -> None:
    values = {"watchNamespaces": [equipped_place.namespace]}
    installed = Installed(equipped, Helm(helm, tmp_path), tmp_path, equipped_place, values)
    async with installed.operator(lacking="webhooksources/finalizers"):
        await equipped_place.apply(source())
        await eventually(installed.is_refused_an_owner, within_s=40)
