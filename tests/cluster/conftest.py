"""One cluster for all stories, with RabbitMQ and Forebay on it: on a node of our own, on kind (KIND=1), or on the cluster that KUBECONFIG names."""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from tools import images
from tools.build import BuildError, built

from forebay.errors import ForebayError
from tests.cluster import broker, front, keda, prometheus, storage
from tests.cluster.cluster import Cluster
from tests.cluster.front import Front
from tests.cluster.kind import kind
from tests.cluster.node.node import Node, NoNode, build
from tests.cluster.tenant import Tenant, moved_in
from tests.support.helm import TREE
from tests.support.shell import blocks

HERE = Path(__file__).parent
INSTALL = TREE / "docs/install.md"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make programs and images now: the first time it takes longer than a test may."""
    if session.config.option.collectonly or not any(HERE in item.path.parents for item in session.items):
        return
    with suppress(NoNode, BuildError, ForebayError):  # the tests will say so
        built("helm-3")
        if not os.environ.get("KUBECONFIG"):
            if not os.environ.get("KIND"):
                build()
            for archives in (_archives, keda.archives, prometheus.archives):
                archives()
            for manifests in ("keda-manifests", "prometheus-operator-manifests"):
                built(manifests)


def _archives() -> list[Path]:
    return [*images.archives().values(), broker.archive(), storage.archive(), *front.archives()]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With the images on it, and nothing else. Of a cluster that is not ours, its owner sees to the images."""
    home = tmp_path_factory.mktemp("home")
    if given := os.environ.get("KUBECONFIG"):
        node = Node(Path(given).parent)
        yield Cluster(Path(given), home, node if node.is_up else None)
        return
    archives = _archives()
    if os.environ.get("KIND"):
        with kind(home, archives) as kubeconfig:
            yield Cluster(kubeconfig, home)
        return
    node = Node(tmp_path_factory.mktemp("cluster") / "node")
    try:
        node.up()
        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(node.load, archives))
        yield Cluster(node.kubeconfig, home, node)
    finally:
        node.down()


@pytest.fixture(scope="session")
def installed(cluster: Cluster) -> str:
    """RabbitMQ, and Forebay by the very commands of docs/install.md; what those printed. Nothing where Forebay is already."""
    if "forebay" in cluster.helm.run("list", "--namespace=forebay-system", "--short").split():
        return ""
    broker.ONE.install(cluster)
    given = {"RABBITMQ": broker.ONE.uri, "MANAGEMENT": broker.ONE.management}
    first, *commands = blocks(INSTALL)[0]
    assert first.startswith("export RABBITMQ=")
    return cluster.shell(given).run("\n".join(commands))


@pytest.fixture(scope="session")
def proxy(cluster: Cluster, installed: str, tmp_path_factory: pytest.TempPathFactory) -> Front:
    """Contour and Envoy before the endpoints. Gateway API comes with them, and the operator notices."""
    made = front.front(cluster, tmp_path_factory.mktemp("certificates"))
    made.install()
    return made


@pytest.fixture(scope="session")
def results() -> Iterator[dict[str, Any]]:
    """What the stories measured; after a long run it is what the repository keeps. Of stories not played now it stays."""
    path = TREE / ("bench/results/cluster.json" if os.environ.get("LONG") else ".forebay/cluster.json")
    figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    yield figures
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")


@pytest.fixture
def someone(cluster: Cluster, installed: str) -> Iterator[Tenant]:
    """For a single story."""
    with moved_in(cluster) as tenant:
        yield tenant


@pytest.fixture
def tenants(cluster: Cluster, installed: str) -> Iterator[Callable[[], Tenant]]:
    """Makes as many as a story asks for."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(moved_in(cluster))
