"""Whoever is on call hears of it: alerts of our own rules, in a Prometheus that prometheus-operator runs and that found us by our monitors."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import prometheus
from tests.cluster.cluster import Cluster, until
from tests.cluster.tenant import SOURCE, Tenant, moved_in
from tests.support.helm import TREE
from tests.support.shell import blocks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

MONITOR = TREE / "docs/how-to/monitor.md"
PODS = 3  # of a source: two endpoints and a worker
BREAKER = {"window": "5s", "minimum": 5, "openFor": "2s"}
SOON = {"alerts": {"holdFor": "10s"}}


@pytest.fixture(scope="module")
def watched(cluster: Cluster, installed: str) -> Iterator[Tenant]:
    """With a source whose alerts call soon. The operator is watched, too, by the command of docs/how-to/monitor.md."""
    prometheus.install(cluster)
    cluster.shell({}).run("\n".join(blocks(MONITOR)[0]))
    with moved_in(cluster) as someone:
        someone.apply(worker={**someone.source()["spec"]["worker"], "circuitBreaker": BREAKER}, monitoring=SOON)
        someone.wait_ready()
        ours = f'namespace="{someone.namespace}"'
        until(lambda: _up(cluster, ours) == PODS, "the source's pods are scraped", within_s=90)
        until(lambda: _up(cluster, 'namespace="forebay-system"'), "the operator is scraped")
        group = f"forebay.{someone.namespace}.{SOURCE}"
        until(lambda: group in prometheus.rules(cluster), "our rules are gone by")
        yield someone
    prometheus.stop(cluster)


def test_one_dead_letter_calls_and_is_replayed(cluster: Cluster, watched: Tenant) -> None:
    watched.load(rate=10)
    until(lambda: watched.ledger["sent"] > 20, "the one that the destination refuses for good is sent")
    watched.tell("stop")
    until(lambda: _alerts(cluster, watched).get("ForebayDeadLetters") == "firing", "the alert")
    watched.tell("mood", mood="mended")
    said = cluster.shell({}).run(f"kubectl forebay dlq replay {SOURCE} -n {watched.namespace} --all")
    assert "1 of 1 dead letters replayed" in said, said
    until(lambda: "ForebayDeadLetters" not in _alerts(cluster, watched), "the alert's end")
    account = watched.account()
    assert account["acked"] == account["delivered"] == account["sent"] > 20, account
    assert account["dead_lettered"] == account["lost"] == account["left_in_queues"] == 0, account


def test_a_destination_that_is_down_calls_until_it_is_up_again(
    cluster: Cluster, watched: Tenant, results: dict[str, Any]
) -> None:
    states: list[str] = []

    def state() -> str:
        now = _alerts(cluster, watched).get("ForebayBreakerOpen", "well")
        if states[-1:] != [now]:
            states.append(now)
        return now

    state()
    watched.load(rate=20)
    watched.tell("mood", mood="failing")
    results["alert_s"] = round(until(lambda: state() == "firing", "the alert", within_s=90), 1)
    watched.tell("mood", mood="ok")
    results["alert_resolved_s"] = round(until(lambda: state() == "well", "the alert's end", within_s=90), 1)
    assert states == ["well", "pending", "firing", "well"]
    account = watched.account()
    assert account["acked"] == account["sent"], account
    assert account["lost"] == account["left_in_queues"] == 0, account


def _alerts(cluster: Cluster, someone: Tenant) -> dict[str, str]:
    return prometheus.alerts(cluster, someone.namespace)


def _up(cluster: Cluster, matcher: str) -> float | None:
    return prometheus.value(cluster, f"count(up{{{matcher}}} == 1)")
