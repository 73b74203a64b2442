"""Two tenants on one broker: neither can read, publish or touch what is the other's, and one's flood is not the other's trouble.

LONG=1 measures for longer what a flood costs the other.
"""

import os
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from forebay.topology import Names
from tests.cluster.broker import ONE
from tests.cluster.cluster import Cluster, Refused
from tests.cluster.tenant import SOURCE, Tenant

OBJECTS = ("secrets", "configmaps", "pods", "webhooksources.forebay.dev")
REFUSED = re.compile("ACCESS_REFUSED|^401|^403|access_refused", re.IGNORECASE)
LONG = bool(os.environ.get("LONG"))
# Webhooks a second, and for how long: in a long run twenty webhooks are slower than what is told.
CALM, FLOOD, TIME_S = 50.0, 100.0, 40.0 if LONG else 8.0
BREAKER = {"openFor": "2s"}  # when the destination is well again, nobody here waits for longer than that

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


def test_a_tenants_logins_open_nothing_of_anothers(cluster: Cluster, tenants: Callable[[], Tenant]) -> None:
    one, other = tenants(), tenants()
    for someone in (one, other):
        someone.apply()
    for someone in (one, other):
        someone.wait_ready()
    theirs = Names(other.namespace, SOURCE)
    for component in ("ingest", "worker"):
        login = one.secret(f"{SOURCE}-broker-{component}")
        for queue in (theirs.queue(), theirs.dead):
            said = one.tell("trespass", **login, exchange=theirs.exchange, queue=queue)
            allowed = [name for name, answer in said.items() if not REFUSED.search(answer)]
            assert not allowed, f"{component} may do to another's {queue}: {allowed}"
    for account in (f"{SOURCE}-ingest", f"{SOURCE}-worker"):
        for where in (one.namespace, other.namespace):
            rights = {what: _rights(cluster, one.namespace, account, where, what) for what in OBJECTS}
            assert rights == dict.fromkeys(OBJECTS, "no")


def test_an_endpoint_that_was_taken_over_reaches_the_broker_and_nobody_else(
    cluster: Cluster, tenants: Callable[[], Tenant]
) -> None:
    if cluster.node is None:
        pytest.skip("whether the network of this cluster knows NetworkPolicies is its owner's decision")
    one, other = tenants(), tenants()
    for someone in (one, other):
        someone.apply()
    for someone in (one, other):
        someone.wait_ready()
    broker, theirs = f"rabbitmq.{ONE.namespace}.svc", f"orders.{other.namespace}.svc"
    assert not one.unreached("ingest", broker, 5672)
    for host, port in ((theirs, 80), (theirs, 9001), (broker, 15672), ("kubernetes.default.svc", 443)):
        assert one.unreached("ingest", host, port) in ("ConnectionRefusedError", "TimeoutError"), host
    # A worker delivers wherever its tenant says. At another's pods it meets webhooks' and metrics' ports alone.
    assert not one.unreached("worker", f"orders.{one.namespace}.svc", 80)
    (worker,) = other.pods("worker")
    assert not one.unreached("worker", worker["status"]["podIP"], 9090)
    assert one.unreached("ingest", worker["status"]["podIP"], 9090) in ("ConnectionRefusedError", "TimeoutError")


def test_a_flood_and_a_dead_destination_are_their_owners_trouble(
    tenants: Callable[[], Tenant], results: dict[str, Any]
) -> None:
    calm, flooded = tenants(), tenants()
    calm.apply()
    flooded.apply(worker={**flooded.source()["spec"]["worker"], "circuitBreaker": BREAKER})
    for someone in (calm, flooded):
        someone.wait_ready()
    calm.load(rate=CALM)
    time.sleep(2)
    with calm.phase("alone"):
        time.sleep(TIME_S)
    flooded.tell("mood", mood="failing")
    flooded.load(rate=FLOOD)
    time.sleep(3)
    with calm.phase("beside a flood"):
        time.sleep(TIME_S)
    flooded.tell("stop")
    others = flooded.account()  # first: its retries wait in tiers that both share
    account = calm.account()
    before, during = (account["phases"][name]["accept_ms_p99"] for name in ("alone", "beside a flood"))
    results["tenant_p99_ms"] = {"alone": before, "beside a flood": during}
    results["tenant_p99_ratio"] = round(during / before, 2)
    assert account["acked"] == account["sent"], account
    assert account["lost"] == account["left_in_queues"] == others["lost"] == others["left_in_queues"] == 0, (
        account,
        others,
    )


def _rights(cluster: Cluster, namespace: str, account: str, where: str, what: str) -> str:
    """Whether the account may read such objects there."""
    whom = f"--as=system:serviceaccount:{namespace}:{account}"
    try:
        return cluster.kubectl("auth", "can-i", "get", what, f"--namespace={where}", whom).strip()
    except Refused as error:  # its exit status is the answer, too
        return "no" if "no" in str(error).split() else str(error)
