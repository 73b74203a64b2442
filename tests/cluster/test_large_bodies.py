"""Bodies that are too large for a queue go by a real object storage, and nothing but them waits for it when it is away."""

from typing import Any

import pytest

from bench.faults.webhooks import LARGE_EVERY
from tests.cluster.cluster import Cluster, until
from tests.cluster.storage import Storage
from tests.cluster.tenant import Tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

RATE = 40.0


@pytest.fixture(scope="module")
def storage(cluster: Cluster, installed: str) -> Storage:
    made = Storage(cluster)
    made.install()
    return made


def test_large_bodies_come_out_whole_and_small_ones_do_not_need_the_storage(
    storage: Storage, someone: Tenant, results: dict[str, Any]
) -> None:
    someone.apply(storage=storage.given_to(someone))
    someone.wait_ready()
    someone.load(rate=RATE, large=True)
    with someone.phase("storage there"):
        _wait_sent(someone, 6 * LARGE_EVERY)
    with someone.phase("storage away"), storage.away():
        _wait_sent(someone, 8 * LARGE_EVERY)  # a body is stored in several tries, which take a second or two
    _wait_sent(someone, 4 * LARGE_EVERY)
    account = someone.account()
    there, away = (account["phases"][f"storage {where}"] for where in ("there", "away"))
    # As it goes, and until everybody knows that it is back, one more may be refused.
    assert sum(there["refused"].values()) <= 1, account
    # One in so many is large, and those alone are refused, or wait.
    assert set(account["refused_by_cause"]) == {"storage"}, account
    assert 1 <= away["refused"].get("storage", 0) <= account["refused"] <= away["sent"] / LARGE_EVERY + 2, account
    assert away["accept_ms_p50"] < 1000, account
    assert account["refused_for_good"] == account["refused_without_retry_after"] == 0, account
    # So some five at least were stored, and all that was is delivered as it was sent.
    assert account["lost"] == account["left_in_queues"] == account["damaged"] == account["misnamed"] == 0, account
    assert account["delivered"] + account["dead_lettered"] == account["acked"], account
    results["large_bodies"] = {
        **{key: account[key] for key in ("sent", "acked", "refused_by_cause", "lost", "duplicates")},
        "accept_ms_p50": {"storage there": there["accept_ms_p50"], "storage away": away["accept_ms_p50"]},
    }


def _wait_sent(someone: Tenant, more: int) -> None:
    enough = someone.ledger["sent"] + more
    until(lambda: someone.ledger["sent"] >= enough, f"{more} webhooks more are sent")
