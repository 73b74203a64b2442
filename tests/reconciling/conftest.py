"""A source's whole world for the operator's tests: namespace, broker, Secrets, a node, the operator."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.reconciling.rights import granted
from tests.reconciling.yard import Yard, yard
from tests.support.apiserver import Api, ControlPlane, OperatorProcess, namespace, operator
from tests.support.brokers import VirtualHost
from tests.support.helm import Helm
from tests.support.kubectl import Person, somebody
from tests.support.network import pod_network
from tests.support.node import KUBELET_PORT, NODE, NODE_ADDRESS, LocalNode, SourcePods, local_node
from tests.support.parts import part


@pytest.fixture(scope="session")
def node_object(control_plane: ControlPlane) -> None:
    """What pods are bound to."""
    status = {
        "addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
    }
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "status": status}
    control_plane.kubectl("create", "-f", "-", stdin=json.dumps(node))


@pytest.fixture
async def place(api: Api, newest_broker: VirtualHost) -> Api:
    """A namespace with the Secrets that the smallest source needs."""
    return await with_secrets(api, newest_broker)


@pytest.fixture
async def equipped_place(equipped: ControlPlane, newest_broker: VirtualHost) -> AsyncIterator[Api]:
    """The same on an API server that has the optional APIs."""
    async with namespace(equipped) as api:
        yield await with_secrets(api, newest_broker)


async def with_secrets(api: Api, newest_broker: VirtualHost) -> Api:
    """The namespace, with the Secrets that the smallest source needs."""
    await newest_broker.management.put(
        f"users/{newest_broker.username}", {"password": newest_broker.password, "tags": "administrator"}
    )
    await api.secret("rabbitmq", uri=newest_broker.uri, management=newest_broker.server.management_url)
    await api.secret("github-webhook", secret="s3cret")
    return api


@pytest.fixture
async def here(control_plane: ControlPlane, newest_broker: VirtualHost, tmp_path: Path) -> AsyncIterator[Yard]:
    """A world of its own around an operator that runs, and has to live to the end."""
    async with yard(control_plane, newest_broker, tmp_path / "yard") as one:
        await one.start()
        yield one
        assert one.lives, one.log[-2000:]


HOME = "forebay-system"  # the operator's own namespace


@pytest.fixture(scope="session")
def helm() -> Path:
    """Helm."""
    return part("helm-3")


@pytest.fixture(scope="session")
def home(control_plane: ControlPlane) -> str:
    """The namespace that the chart goes into."""
    control_plane.kubectl("create", "namespace", HOME)
    return HOME


Account = Callable[[str, dict[str, Any]], Path]


@pytest.fixture
def account_of(control_plane: ControlPlane, helm: Path, home: str, tmp_path: Path) -> Account:
    """The kubeconfig of an operator, by its release and values, that may do what the chart lets it, and nothing else."""

    def granting(release: str, values: dict[str, Any]) -> Path:
        rendered = Helm(helm, tmp_path).render(values, release=release, namespace=HOME)
        rules = [one for one in yaml.safe_load_all(rendered) if one]
        return granted(control_plane, rules, tmp_path / f"{release}.kubeconfig")

    return granting


@pytest.fixture
def account(account_of: Account, place: Api) -> Path:
    """The kubeconfig of an operator that may act in this namespace alone."""
    return account_of(f"op-{place.namespace}", {"watchNamespaces": [place.namespace]})


@pytest.fixture
def wide_account(account_of: Account, place: Api) -> Path:
    """The kubeconfig of an operator that may act in all namespaces."""
    return account_of(f"wide-{place.namespace}", {})


@contextlib.asynccontextmanager
async def _running(
    control_plane: ControlPlane, account: Path, place: Api, home: Path
) -> AsyncIterator[OperatorProcess]:
    flags = ("--namespace", place.namespace, "--allow-loopback")
    async with operator(control_plane, home, *flags, kubeconfig=account) as process:
        yield process
        assert "may not" not in process.log.read_text(), "the chart's rules are too few"


@pytest.fixture
async def running(
    control_plane: ControlPlane, account: Path, place: Api, tmp_path: Path
) -> AsyncIterator[OperatorProcess]:
    """The operator, for this namespace alone, under the chart's rules for one namespace."""
    async with _running(control_plane, account, place, tmp_path) as process:
        yield process


@pytest.fixture
async def running_wide(
    control_plane: ControlPlane, wide_account: Path, place: Api, tmp_path: Path
) -> AsyncIterator[OperatorProcess]:
    """The same under the chart's rules for a whole cluster."""
    async with _running(control_plane, wide_account, place, tmp_path) as process:
        yield process


@pytest.fixture
async def node(node_object: None, place: Api, tmp_path: Path) -> AsyncIterator[LocalNode]:
    """Something that runs the pods."""
    pods = SourcePods(place, tmp_path / "node")
    async with local_node(place, pods, pods.sync) as node:
        yield node


@pytest.fixture
async def network(control_plane: ControlPlane, node: LocalNode) -> AsyncIterator[None]:
    """The API server's way to the node's pods and their logs."""
    async with pod_network(control_plane, node):
        yield


@pytest.fixture
def person(control_plane: ControlPlane, place: Api, running: OperatorProcess, tmp_path: Path) -> Person:
    """Somebody with Kubernetes' role `edit` in this namespace, to which the chart adds Forebay's own resource."""
    return somebody(control_plane, place, tmp_path, "edit")
