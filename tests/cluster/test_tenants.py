"""Two tenants on one broker: neither can read, publish or touch what is the other's, and one's flood is not the other's trouble."""

import base64
import time
from collections.abc import Callable
from typing import Any

import pytest

from forebay.topology import Names
from tests.cluster.cluster import Cluster, Refused
from tests.cluster.tenant import SOURCE, Tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


def test_a_tenants_logins_open_nothing_of_anothers(cluster: Cluster, tenants: Callable[[], Tenant]) -> None:
    one, other = tenants(), tenants()
    for someone in (one, other):
        someone.apply()
    for someone in (one, other):
        someone.wait_ready()
    theirs = Names(other.namespace, SOURCE)
    for component in ("ingest", "worker"):
        uri = _value(one, f"{SOURCE}-broker-{component}", "uri")
        for queue in (theirs.queue(), theirs.dead):
            said = one.tell("trespass", uri=uri, exchange=theirs.exchange, queue=queue)
            allowed = [name for name, answer in said.items() if "ACCESS_REFUSED" not in answer]
            assert not allowed, f"{component} may do to another's {queue}: {allowed}"
    for account in (f"{SOURCE}-ingest", f"{SOURCE}-worker"):
        assert _rights(cluster, one.namespace, account, other.namespace) == "no"
        assert _rights(cluster, one.namespace, account, one.namespace) == "no"


def test_a_flood_and_a_dead_destination_are_their_owners_trouble(
    tenants: Callable[[], Tenant], results: dict[str, Any]
) -> None:
    calm, flooded = tenants(), tenants()
    for someone in (calm, flooded):
        someone.apply()
    for someone in (calm, flooded):
        someone.wait_ready()
    calm.load(rate=20)
    with calm.phase("alone"):
        time.sleep(15)
    flooded.tell("mood", mood="failing")
    flooded.load(rate=100)
    time.sleep(3)
    with calm.phase("beside a flood"):
        time.sleep(15)
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


def _value(someone: Tenant, secret: str, key: str) -> str:
    found = someone.kubectl("get", "secret", secret, "-o", f"jsonpath={{.data.{key}}}")
    return base64.b64decode(found).decode()


def _rights(cluster: Cluster, namespace: str, account: str, where: str) -> str:
    """Whether the account may read Secrets there."""
    whom = f"--as=system:serviceaccount:{namespace}:{account}"
    try:
        return cluster.kubectl("auth", "can-i", "get", "secrets", f"--namespace={where}", whom).strip()
    except Refused as error:  # its exit status is the answer, too
        return "no" if "no" in str(error).split() else str(error)
