"""Both majors of Helm; and clusters to install on."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tools.control_plane import Binaries, ControlPlane

from tests.support import chart_pods
from tests.support.apiserver import Api, session
from tests.support.helm import MAJORS, Helm
from tests.support.node import NODE, LocalNode, local_node
from tests.support.parts import part


@pytest.fixture(scope="session", params=MAJORS)
def major(request: pytest.FixtureRequest) -> str:
    """Each major of Helm in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def binary(major: str) -> Path:
    return part(major)


@pytest.fixture
def helm(binary: Path, tmp_path: Path) -> Helm:
    return Helm(binary, tmp_path)


# ------------------------------------------------------------------------------------------------ a cluster

HOME = "forebay-system"


@pytest.fixture
def cluster(programs: Binaries, tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane of one's own, with nothing of Forebay on it."""
    if why := chart_pods.why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(f"the chart's pods can not run here: {why}")
        pytest.skip(f"the chart's pods can not run here: {why}")
    plane = ControlPlane(tmp_path / "control-plane", programs)
    plane.start()
    try:
        node = f'{{"apiVersion": "v1", "kind": "Node", "metadata": {{"name": "{NODE}"}}}}'
        plane.kubectl("create", "-f", "-", stdin=node)
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def installer(binary: Path, cluster: ControlPlane, tmp_path: Path) -> Helm:
    """Helm, on that cluster."""
    return Helm(binary, tmp_path, cluster.kubeconfig)


@pytest.fixture
async def home(cluster: ControlPlane) -> AsyncIterator[Api]:
    """The operator's namespace, which is made when the chart is installed."""
    async with session(cluster) as opened:
        yield Api(opened, cluster.url, HOME)


@pytest.fixture
async def chart_node(cluster: ControlPlane, home: Api, tmp_path: Path) -> AsyncIterator[LocalNode]:
    """Something that runs the chart's pods."""
    async with local_node(home, chart_pods.ChartPods(cluster, home, tmp_path / "chart-node")) as node:
        yield node
