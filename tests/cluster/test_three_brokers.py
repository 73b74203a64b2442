"""A RabbitMQ of three nodes, each killed in its turn under load: queues are there in three copies, and nothing is lost."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.cluster.broker import THREE
from tests.cluster.cluster import Cluster, Object, Refused, is_ready, until
from tests.cluster.tenant import Tenant

ROUNDS = 3 if os.environ.get("LONG") else 1
RATE = 60.0
BACK_S = 300.0  # a node takes fifteen to come back, on a machine that has nothing else to do

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


@pytest.fixture
def replicated(cluster: Cluster, someone: Tenant) -> Iterator[Tenant]:
    """With a source on a broker of its own, of three nodes."""
    THREE.install(cluster)
    addresses = (f"--from-literal=uri={THREE.uri}", f"--from-literal=management={THREE.management}")
    someone.kubectl("create", "secret", "generic", "broker", *addresses)
    made = replace(someone, broker=THREE)
    made.apply(broker={"secretRef": {"name": "broker"}})
    made.wait_ready()
    _until_three_copies(made)
    yield made
    if cluster.node is None:  # ours is thrown away, with all that is on it
        made.kubectl("delete", "whs", "--all", "--timeout=90s")  # while there is a broker to clean up on
    cluster.kubectl("delete", "namespace", THREE.namespace, "--wait=false")


def test_each_node_of_three_killed_in_its_turn_loses_nothing(
    cluster: Cluster, replicated: Tenant, results: dict[str, Any]
) -> None:
    replicated.load(rate=RATE)
    time.sleep(3)
    with replicated.phase("kills"):
        for number in [0, 1, 2] * ROUNDS:
            _kill(cluster, number)
            _until_three_copies(replicated)
            time.sleep(2)
    account = replicated.account()
    told = ("sent", "acked", "delivered", "dead_lettered", "lost", "false_2xx", "duplicates", "refused_by_status")
    results["three_brokers"] = {"kills": 3 * ROUNDS, **{key: account[key] for key in told}}
    assert account["lost"] == account["false_2xx"] == account["left_in_queues"] == 0, account
    assert account["damaged"] == account["misnamed"] == account["refused_for_good"] == 0, account
    assert account["acked"] > RATE * 10, account


def _kill(cluster: Cluster, number: int) -> None:
    """And wait until it is back."""
    pod = _pod(cluster, number)
    cluster.kill(THREE.namespace, pod)
    until(lambda: _is_back(_pod(cluster, number), pod), f"node {number} is back", within_s=BACK_S)


def _is_back(now: Object, before: Object) -> bool:
    return _restarts(now) != _restarts(before) and is_ready(now)


def _pod(cluster: Cluster, number: int) -> Object:
    (found,) = cluster.objects(
        "pods", f"--namespace={THREE.namespace}", f"--field-selector=metadata.name=rabbitmq-{number}"
    )
    return found


def _restarts(pod: Object) -> tuple[str, int]:
    statuses = pod["status"].get("containerStatuses", ())
    return pod["metadata"]["uid"], sum(one["restartCount"] for one in statuses)


def _until_three_copies(someone: Tenant) -> None:
    """Of every queue: the next node that goes must not be the second."""
    until(lambda: set(_copies(someone).values()) == {3}, "all queues have three copies", within_s=BACK_S, every_s=1)


def _copies(someone: Tenant) -> dict[str, Any]:
    try:
        return someone.ask_broker("copies")
    except Refused:  # the management API of the node that was asked is not there yet
        return {}
