"""SIGKILL of everything under load, and pods cut off from the network: what was acknowledged arrives, and a 2xx is never false.

LONG=1 kills more often.
"""

import os
import random
import time
from collections import Counter
from typing import Any

import pytest

from tests.cluster import broker
from tests.cluster.cluster import Cluster, Object
from tests.cluster.tenant import Tenant

LONG = bool(os.environ.get("LONG"))
KILLS = (
    {"ingest": 20, "worker": 20, "operator": 20, "broker": 5, "network": 6}
    if LONG
    else {"ingest": 4, "worker": 4, "operator": 2, "broker": 1, "network": 1}
)
RATE = 80.0
BROKER_STARTS_S = 1.5  # sooner than that after a SIGKILL no RabbitMQ answers

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800 if LONG else 400)]


def test_random_kills_of_all_pods_lose_nothing(cluster: Cluster, someone: Tenant, results: dict[str, Any]) -> None:
    dice = random.Random(7)
    someone.apply()
    someone.wait_ready()
    killed: Counter[str] = Counter()
    someone.load(rate=RATE)
    time.sleep(3)
    with someone.phase("kills"):
        kills = {what: count for what, count in KILLS.items() if what != "network" or cluster.node}
        for what in dice.sample(list(kills), counts=list(kills.values()), k=sum(kills.values())):
            _kill(cluster, someone, what, dice)
            killed[what] += 1
            time.sleep(dice.uniform(0.5, 3))
    someone.wait_ready()
    time.sleep(3)
    account = someone.account()
    results.update(
        {key: account[key] for key in ("sent", "acked", "delivered", "dead_lettered", "lost", "false_2xx", "duplicates")},
        kills={what: killed[what] for what in KILLS if what != "network"}, cuts=killed["network"],
        refused_by_status=account["refused_by_status"],
    )  # fmt: skip
    assert account["lost"] == account["false_2xx"] == account["left_in_queues"] == 0, account
    assert account["damaged"] == account["misnamed"] == account["refused_for_good"] == 0, account
    assert account["acked"] > RATE * 10, account


def _kill(cluster: Cluster, someone: Tenant, what: str, dice: random.Random) -> None:
    if what == "network":
        with cluster.cut_off(dice.choice([*someone.pods("ingest"), *someone.pods("worker")])):
            time.sleep(dice.uniform(2, 6))
        return
    namespace, pods = _pods(cluster, someone, what)
    assert pods, f"no pod of {what} came back"
    cluster.kill(namespace, dice.choice(pods))
    if what == "broker":
        someone.tell("impossible", cause="broker killed", seconds=BROKER_STARTS_S)
        # Until it is back: the next SIGKILL would only meet it halfway through its start.
        cluster.kubectl(
            "wait", f"--namespace={namespace}", "--for=condition=Ready=false", "pod/rabbitmq-0", "--timeout=10s"
        )
        cluster.kubectl("wait", f"--namespace={namespace}", "--for=condition=Ready", "pod/rabbitmq-0", "--timeout=90s")


def _pods(cluster: Cluster, someone: Tenant, what: str) -> tuple[str, list[Object]]:
    if what in ("ingest", "worker"):
        return someone.namespace, someone.pods(what)
    namespace, selector = {
        "operator": ("forebay-system", "app.kubernetes.io/name=forebay"),
        "broker": (broker.ONE.namespace, "app=rabbitmq"),
    }[what]
    return namespace, cluster.objects("pods", f"--namespace={namespace}", f"--selector={selector}")
