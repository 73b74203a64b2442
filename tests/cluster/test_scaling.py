"""A burst that finds no worker: KEDA wakes them, adds more, and lets them go again, and no delivery is cut short by it.

LONG=1: a burst of 30,000.
"""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import keda
from tests.cluster.cluster import Cluster, until
from tests.cluster.tenant import Tenant

LONG = bool(os.environ.get("LONG"))
BURST, RATE = (30_000, 300.0) if LONG else (2_000, 100.0)
MOST = 3
# KEDA looks every ten seconds: with a cooldown as short as that, one look at an empty queue would end all workers.
COOLDOWN = "30s" if LONG else "15s"
AUTOSCALING = {"minReplicas": 0, "maxReplicas": MOST, "targetQueueLength": 200, "cooldown": COOLDOWN}

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200 if LONG else 400)]


@pytest.fixture(scope="module")
def scaled(cluster: Cluster, installed: str) -> Iterator[None]:
    """A cluster with KEDA."""
    keda.install(cluster)
    yield
    keda.stop(cluster)


def test_a_burst_wakes_workers_from_none_to_the_most_and_lets_them_go(
    scaled: None, someone: Tenant, results: dict[str, Any]
) -> None:
    someone.apply(worker={**someone.source()["spec"]["worker"], "autoscaling": AUTOSCALING})
    someone.wait_ready()
    until(lambda: not someone.pods("worker"), "no worker while there is nothing to do", within_s=90)
    someone.tell("mood", mood="slow")  # each delivery takes a second: there is one to be cut whenever a worker goes
    someone.load(rate=RATE, connections=20)
    until(lambda: someone.ledger["ACKED"], "the first webhook is accepted", every_s=0.1)
    results["scale_from_zero_s"] = round(until(lambda: someone.ledger["taken"], "a worker delivers", every_s=0.2), 1)
    until(lambda: len(someone.pods("worker")) == MOST, "all workers", within_s=90)
    someone.tell("mood", mood="ok")
    until(lambda: someone.ledger["sent"] >= BURST, "the burst", within_s=BURST / RATE * 3)
    someone.tell("stop")
    results["burst_accepted"] = someone.ledger["ACKED"]
    until(lambda: _drained(someone), "the burst is delivered", within_s=300)

    someone.tell("mood", mood="slow")
    someone.load(rate=10)
    until(lambda: len(someone.pods("worker")) == 1, "one worker for a trickle", within_s=120)
    time.sleep(3)  # deliveries of those that were told to go end
    someone.tell("stop")
    until(lambda: not someone.pods("worker"), "none again", within_s=120)
    account = someone.account()
    assert account["acked"] == account["sent"] >= BURST, account
    assert account["lost"] == account["left_in_queues"] == 0, account
    assert account["duplicates"] == 0, "a delivery was cut short, and made again"


def _drained(someone: Tenant) -> bool:
    """But for dead letters, of which there is one in 200."""
    ledger = someone.ledger
    return bool(ledger["taken"] >= ledger["ACKED"] * 0.99)
