"""From the version before to this one, nodes drained, logins renewed: all under load through the proxy, and nothing refused."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tools import images

from forebay.topology import Names
from tests.cluster.cluster import Cluster, Refused, until
from tests.cluster.former import Former, NoFormer, former
from tests.cluster.front import BY_INGRESS, CERTIFICATE, Front
from tests.cluster.tenant import SOURCE, Tenant, moved_in
from tests.support.helm import TREE
from tests.support.shell import blocks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

RATE = 30.0
VALUES = ("--reset-values", "--set=defaultBroker.namespace=forebay-system", "--set=defaultBroker.name=rabbitmq")


@pytest.fixture(scope="module")
def before(cluster: Cluster, installed: str, tmp_path_factory: pytest.TempPathFactory) -> Former:
    """The former version, installed in the place of this one."""
    if cluster.node is None:
        pytest.skip("its images are on a node of our own alone")
    try:
        made = former(tmp_path_factory.mktemp("former") / "tree")
    except NoFormer as error:
        pytest.skip(str(error))
    # Both call themselves by the release's number, too: that is this tree's again after the second.
    for archive in (*made.archives, *images.archives().values()):
        cluster.node.load(archive)
    cluster.kubectl("apply", "-f", str(made.tree / "crds"))
    chart = str(made.tree / "charts/forebay")
    cluster.helm.run("upgrade", "forebay", chart, "--namespace=forebay-system", *VALUES, "--wait", "--timeout=120s")
    return made


@pytest.fixture(scope="module")
def someone(cluster: Cluster, before: Former, proxy: Front) -> Iterator[Tenant]:
    """With a source that the former version made, exposed by an Ingress."""
    with moved_in(cluster) as made:
        _expose(made, proxy)
        yield made


def _expose(made: Tenant, proxy: Front) -> None:
    proxy.give_certificate(made.namespace)
    ingress = {"className": "contour", "host": BY_INGRESS, "tls": {"secretName": CERTIFICATE}}
    spec = made.source()["spec"]
    made.apply(ingest={**spec["ingest"], "expose": {"ingress": ingress}}, worker={**spec["worker"], "replicas": 2})
    made.wait_ready()
    made.tell(
        "first", path=f"/{made.namespace}/{SOURCE}", rate=20, connections=1, within_s=30, **proxy.door(BY_INGRESS)
    )


@pytest.fixture
def busy(someone: Tenant, proxy: Front) -> Tenant:
    """The same, under load."""
    someone.load(rate=RATE, door=proxy.door(BY_INGRESS))
    time.sleep(2)
    return someone


def test_the_commands_of_docs_upgrade_refuse_nothing(cluster: Cluster, busy: Tenant, results: dict[str, Any]) -> None:
    with busy.phase("upgrade"), busy.replaced("ingest"), busy.replaced("worker"):
        said = cluster.shell({}).run("\n".join(blocks(TREE / "docs/upgrade.md")[0]))
    assert SOURCE in said
    for component in ("ingest", "worker"):
        (image,) = {pod["spec"]["containers"][0]["image"] for pod in busy.pods(component)}
        assert image == f"{images.REPOSITORY}{component}:{images.RELEASE}"
    told = _nothing_missed(busy, "upgrade")
    results["refused_during_upgrade"] = told["sent"] - told["acked"]


def test_a_drain_takes_one_pod_at_a_time(busy: Tenant) -> None:
    with busy.phase("drain"):
        for component in ("ingest", "worker"):
            with busy.replaced(component):
                names = [pod["metadata"]["name"] for pod in busy.pods(component)]
                _evict_in_time(busy, names[0])
                with pytest.raises(Refused, match="disruption budget"):
                    _evict(busy, names[1])
                for name in names[1:]:
                    _evict_in_time(busy, name)
    _nothing_missed(busy, "drain")


def test_new_logins_at_the_broker_close_the_old_ones(busy: Tenant) -> None:
    old = _login(busy)
    with busy.phase("rotation"), busy.replaced("ingest"), busy.replaced("worker"):
        busy.kubectl("annotate", "whs", SOURCE, "forebay.dev/rotate-broker-login=now", "--overwrite")
    _nothing_missed(busy, "rotation")
    assert _login(busy) != old
    until(lambda: not _let_in(busy, old), "the old login is refused", within_s=90, every_s=2)
    assert _let_in(busy, _login(busy))


def _nothing_missed(busy: Tenant, phase: str) -> dict[str, Any]:
    """In that phase all was acknowledged, and what ever was is delivered in the end; what is told of the phase."""
    account = busy.account()
    told: dict[str, Any] = account["phases"][phase]
    assert told["sent"] > RATE, told
    assert account["lost"] == account["left_in_queues"] == account["false_2xx"] == 0, str(account)
    assert told["acked"] == told["sent"], told
    return told


def _evict(busy: Tenant, name: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": busy.namespace}}
    path = f"/api/v1/namespaces/{busy.namespace}/pods/{name}/eviction"
    busy.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def _evict_in_time(busy: Tenant, name: str) -> None:
    """As `kubectl drain` does: again and again until the budget allows it."""
    deadline = time.monotonic() + 90
    while True:
        try:
            return _evict(busy, name)
        except Refused as error:
            if "disruption budget" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1)


def _login(busy: Tenant) -> str:
    """The endpoint's, at the broker."""
    return busy.secret(f"{SOURCE}-broker-ingest")["uri"]


def _let_in(busy: Tenant, uri: str) -> bool:
    """Whether the broker knows the login. What it tries by it would go nowhere."""
    exchange = Names(busy.namespace, SOURCE).exchange
    said = busy.tell("trespass", uri=uri, exchange=exchange, queue="nowhere")
    return not all("ACCESS_REFUSED" in answer for answer in said.values())
