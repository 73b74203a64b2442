"""Bodies that are too large for a queue go by a real object storage, and nothing but them waits for it when it is away."""

import time
from typing import Any

import pytest

from bench.faults.webhooks import LARGE_EVERY
from tests.cluster.cluster import Cluster
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
    _wait_sent(someone, 6 * LARGE_EVERY)
    with someone.phase("storage away"), storage.away():
        _wait_sent(someone, 8 * LARGE_EVERY)  # a body is stored in several tries, which take a second or two
    _wait_sent(someone, 4 * LARGE_EVERY)
    account = someone.account()
    away, causes = account["phases"]["storage away"], account["refused_by_cause"]
    assert set(causes) == {"storage"}, account
    # One in so many is large, and those alone are refused; some may be refused while the storage goes or comes.
    assert 1 <= away["refused"].get("storage", 0) <= causes["storage"] <= (away["sent"] + RATE * 10) / LARGE_EVERY, (
        account
    )
    assert account["refused_for_good"] == account["refused_without_retry_after"] == 0, account
    assert account["lost"] == account["left_in_queues"] == account["damaged"] == account["misnamed"] == 0, account
    assert account["delivered"] + account["dead_lettered"] == account["acked"] > 8 * LARGE_EVERY, account
    results["large_bodies"] = {key: account[key] for key in ("sent", "acked", "refused_by_cause", "lost", "duplicates")}


def _wait_sent(someone: Tenant, more: int) -> None:
    enough = someone.ledger["sent"] + more
    while someone.ledger["sent"] < enough:
        time.sleep(0.2)
