"""What bounds deliveries: limits that all workers of a source share, and those that a queue has for itself."""

import json
from typing import Any

from forebay.manifest import read_source
from forebay.source import WebhookSource
from forebay.topology import Pace, RateLimit, pacing_left, slots_objects, source_objects
from forebay_operator.desired import Platform, desired, source_topology
from tests.support.sources import manifest

TEN, TWO = RateLimit(requests=10, per_s=1.0, burst=1), RateLimit(requests=2, per_s=60.0, burst=2)
ORDERS = {"name": "orders", "match": {"eventTypes": ["order"]}}


def source(*queues: dict[str, Any], **worker: Any) -> WebhookSource:
    return read_source(
        manifest(spec__queues=list(queues), **{f"spec__worker__{name}": value for name, value in worker.items()})
    )


def settings(one: WebhookSource, queue: str) -> Any:
    (config,) = (item for item in desired(one, Platform()) if item["kind"] == "ConfigMap")
    found = json.loads(config["data"][f"worker-{queue}.json"])
    return {name: value for name, value in found.items() if "rate_limit" in name or "max_in_flight" in name}


def pacing(one: WebhookSource) -> set[str]:
    """Short names of the queues that pace its deliveries."""
    topology = source_topology(one)
    found = [*source_objects("/", topology), *(item.queue for item in slots_objects("/", topology))]
    prefix = topology.names.permits_prefix
    return {item.name.removeprefix(prefix) for item in found if item.kind == "queue" and item.name.startswith(prefix)}


LIMITED = source(
    {**ORDERS, "rateLimit": {"requests": 2, "per": "Minute", "burst": 2}, "maxInFlight": 3},
    {"name": "refunds", "match": {"eventTypes": ["refund"]}, "maxInFlight": 5},
    rateLimit={"requests": 10},
    maxInFlight=50,
)


def test_a_limit_of_a_queue_takes_the_place_of_the_one_that_all_share() -> None:
    assert source_topology(LIMITED).paces == (
        Pace(rate_limit=TEN, max_in_flight=50),
        Pace(queue="orders", rate_limit=TWO, max_in_flight=3),
        Pace(queue="refunds", max_in_flight=5),
    )
    ten = {"requests": 10, "per_s": 1.0, "burst": 1}
    assert settings(LIMITED, "default") == {"rate_limit": ten, "max_in_flight": 50}
    assert settings(LIMITED, "refunds") == {"rate_limit": ten, "max_in_flight": 5, "own_max_in_flight": True}
    assert settings(LIMITED, "orders") == {
        "rate_limit": {"requests": 2, "per_s": 60.0, "burst": 2}, "own_rate_limit": True, "max_in_flight": 3, "own_max_in_flight": True,
    }  # fmt: skip


def test_each_limit_has_queues_of_its_own_on_the_broker() -> None:
    assert pacing(LIMITED) == {
        "wanted", "rate-1", "slots-50", "wanted:orders", "rate-2:orders", "slots-3:orders", "slots-5:refunds"
    }  # fmt: skip


def test_what_paced_a_queue_by_an_earlier_wish_is_left_over() -> None:
    prefix = source_topology(LIMITED).names.permits_prefix
    there = [f"{prefix}{name}" for name in ("wanted", "rate-1", "rate-2:orders", "slots-50", "slots-3:orders")]
    without = source(ORDERS, rateLimit={"requests": 10})
    left = ["rate-2:orders", "slots-3:orders", "slots-50"]
    assert pacing_left(source_topology(without), there) == [f"{prefix}{name}" for name in left]
    assert pacing_left(source_topology(LIMITED), there) == []


def test_a_queue_can_have_a_number_of_workers_of_its_own_and_a_budget_only_for_several() -> None:
    one = source({**ORDERS, "replicas": 3}, {"name": "bulk", "match": {"eventTypes": ["b"]}, "replicas": 0})
    rendered = desired(one, Platform())
    replicas = {item["metadata"]["name"]: item["spec"]["replicas"] for item in rendered if item["kind"] == "Deployment"}
    assert replicas == {
        "github-ingest": 2, "github-worker-default": 1, "github-worker-orders": 3, "github-worker-bulk": 0
    }  # fmt: skip
    budgets = {item["metadata"]["name"] for item in rendered if item["kind"] == "PodDisruptionBudget"}
    assert budgets == {"github-ingest", "github-worker-orders"}
