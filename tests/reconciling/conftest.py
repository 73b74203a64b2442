"""A source's whole world for the operator's tests: namespace, broker, Secrets, a node, the operator."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.apiserver import Api, ControlPlane, OperatorProcess, operator
from tests.support.brokers import VirtualHost
from tests.support.node import NODE, LocalNode, local_node


@pytest.fixture(scope="session")
def node_object(control_plane: ControlPlane) -> None:
    """What pods are bound to."""
    control_plane.kubectl(
        "create", "-f", "-", stdin=f'{{"apiVersion": "v1", "kind": "Node", "metadata": {{"name": "{NODE}"}}}}'
    )


@pytest.fixture
async def place(api: Api, newest_broker: VirtualHost) -> Api:
    """A namespace with the Secrets that the smallest source needs."""
    await newest_broker.management.put(
        f"users/{newest_broker.username}", {"password": newest_broker.password, "tags": "administrator"}
    )
    await api.secret("rabbitmq", uri=newest_broker.uri, management=newest_broker.server.management_url)
    await api.secret("github-webhook", secret="s3cret")
    return api


@pytest.fixture
async def running(control_plane: ControlPlane, place: Api, tmp_path: Path) -> AsyncIterator[OperatorProcess]:
    """The operator, for this namespace alone."""
    async with operator(control_plane, tmp_path, "--namespace", place.namespace, "--allow-loopback") as process:
        yield process


@pytest.fixture
async def node(node_object: None, place: Api, tmp_path: Path) -> AsyncIterator[LocalNode]:
    """Something that runs the pods."""
    async with local_node(place, tmp_path / "node") as node:
        yield node
