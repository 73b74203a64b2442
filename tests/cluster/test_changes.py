"""Changes under load, as a team makes them: new images, new settings, a new secret, an operator away, a source deleted.

No webhook is refused by any of them, but by the last, and none that was acknowledged is lost.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tools import images

from tests.cluster.cluster import Cluster
from tests.cluster.tenant import SOURCE, Tenant, moved_in
from tests.support.helm import CHART

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

RELEASE = ("forebay", str(CHART), "--namespace", "forebay-system", "--reuse-values", "--wait", "--timeout=120s")
RATE = 30.0


@pytest.fixture(scope="module")
def someone(cluster: Cluster, installed: str) -> Iterator[Tenant]:
    """With a source that each story changes further."""
    with moved_in(cluster) as tenant:
        tenant.apply()
        tenant.wait_ready()
        yield tenant


@pytest.fixture
def busy(someone: Tenant) -> Tenant:
    """The same, under load."""
    someone.wait_ready()
    someone.load(rate=RATE)
    time.sleep(2)
    return someone


def test_a_rollout_of_images_and_settings_refuses_nothing(
    cluster: Cluster, busy: Tenant, results: dict[str, Any]
) -> None:
    with busy.phase("rollout"):
        with busy.replaced("ingest"):
            busy.apply(ingest={**busy.source()["spec"]["ingest"], "maxBodyBytes": 200_000})
        with busy.replaced("worker"):
            busy.apply(worker={**busy.source()["spec"]["worker"], "concurrency": 7})
        if cluster.node:  # elsewhere the images have one name alone
            with busy.replaced("ingest"), busy.replaced("worker"):
                parts = [f"--set={part}.image.tag={_other_tag(part)}" for part in ("ingest", "worker")]
                cluster.helm.run("upgrade", *RELEASE, f"--set=image.tag={_other_tag('operator')}", *parts)
            for part in ("ingest", "worker"):
                assert {_image(pod) for pod in busy.pods(part)} == {_other_tag(part)}
    account = busy.account()
    missed = account["refused"] + sum(account["unknown"].values()) + account["unreachable"]
    results["refused_during_rollout"] = missed
    assert account["phases"]["rollout"]["sent"] > RATE * 10
    told = [account[key] for key in ("refused_by_cause", "unknown", "unreachable_by_cause", "findings")]
    assert missed == account["lost"] == account["left_in_queues"] == 0, told


def test_the_data_plane_does_not_need_the_operator(cluster: Cluster, busy: Tenant) -> None:
    deployment = ("deployment/forebay", "--namespace=forebay-system")
    cluster.kubectl("scale", *deployment, "--replicas=0")
    cluster.kubectl(
        "wait", "--for=delete", "pod", "--selector=app.kubernetes.io/name=forebay", deployment[1], "--timeout=60s"
    )
    busy.apply(worker={**busy.source()["spec"]["worker"], "concurrency": 9})
    time.sleep(5)
    before = _versions(busy)
    with busy.replaced("worker"):
        cluster.kubectl("scale", *deployment, "--replicas=1")
    busy.wait_ready()
    account = busy.account()
    assert account["refused"] == account["lost"] == account["left_in_queues"] == 0, account
    changed = {name for name, version in _versions(busy).items() if before.get(name) != version}
    assert changed <= {"Deployment/ledger-worker-default", "ConfigMap/ledger-settings"}, "a write storm"


def test_a_secret_is_rotated_with_both_valid_for_a_while(busy: Tenant) -> None:
    old, new = {"name": "github", "key": "secret"}, {"name": "github-next", "key": "secret"}
    busy.kubectl("create", "secret", "generic", "github-next", "--from-literal=secret=the-next-secret")
    ingest = busy.source()["spec"]["ingest"]
    with busy.replaced("ingest"):
        busy.apply(ingest={**ingest, "verification": {"provider": "GitHub", "secretRefs": [new, old]}})
    busy.tell("sign", secret="the-next-secret")
    time.sleep(2)
    with busy.replaced("ingest"):
        busy.apply(ingest={**ingest, "verification": {"provider": "GitHub", "secretRefs": [new]}})
    account = busy.account()
    assert account["refused"] == account["lost"] == account["left_in_queues"] == 0, account
    assert account["acked"] == account["sent"], account


def test_what_was_acknowledged_before_a_source_is_deleted_is_delivered_or_kept(busy: Tenant) -> None:
    busy.kubectl("delete", "whs", SOURCE, "--timeout=90s")
    account = busy.account("default")
    assert account["lost"] == account["left_in_queues"] == 0, account
    assert account["acked"] > RATE, account


def _image(pod: dict[str, Any]) -> str:
    return str(pod["spec"]["containers"][0]["image"]).rpartition(":")[2]


def _other_tag(component: str) -> str:
    """Beside the release's: the images' archives have both."""
    return images.built_as(images.archives()[component])


def _versions(someone: Tenant) -> dict[str, str]:
    """Of each child that the operator writes."""
    kinds = "deployments,services,configmaps,serviceaccounts,networkpolicies,poddisruptionbudgets,secrets"
    found = someone.cluster.objects(
        kinds, f"--namespace={someone.namespace}", f"--selector=forebay.dev/source={SOURCE}"
    )
    return {f"{one['kind']}/{one['metadata']['name']}": _version(one["metadata"]) for one in found}


def _version(metadata: dict[str, Any]) -> str:
    """Of what is wanted, where that can be told from what is so."""
    return str(metadata.get("generation") or metadata["resourceVersion"])
