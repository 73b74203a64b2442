"""Lanes of a source: queues of their own on the broker, with the workers of their queue, until they are empty."""

import json
from typing import Any

from forebay.manifest import read_source
from forebay.source import WebhookSource
from forebay.topology import LANE_DELIVERY_LIMIT, source_objects
from forebay_operator.desired import Platform, desired, source_topology
from forebay_operator.desired.lanes import with_leaving
from forebay_operator.desired.platform import SCALED_OBJECT, TRIGGER_AUTHENTICATION
from tests.support.sources import manifest

KEDA = Platform(apis=frozenset({SCALED_OBJECT, TRIGGER_AUTHENTICATION}))
ORDERS = [{"name": "orders", "match": {"eventTypes": ["order"]}}]


def source(**worker: Any) -> WebhookSource:
    return read_source(
        manifest(spec__queues=ORDERS, **{f"spec__worker__{name}": value for name, value in worker.items()})
    )


def queues(one: WebhookSource) -> dict[str, Any]:
    found = source_objects("/", source_topology(one))
    return {item.name.split(".", 3)[3]: item.body["arguments"] for item in found if item.kind == "queue"}


def settings(one: WebhookSource, file: str) -> Any:
    (config,) = (item for item in desired(one, KEDA) if item["kind"] == "ConfigMap")
    return json.loads(config["data"][file])


def test_each_queue_of_an_ordered_source_has_lanes_with_one_consumer_at_a_time() -> None:
    found = queues(source(ordering={"header": "X-Shop", "lanes": 2}))
    assert list(found) == ["dead", "orders", "default", "orders:0", "orders:1", "default:0", "default:1"]
    assert found["orders:1"]["x-single-active-consumer"] is True
    assert found["orders:1"]["x-delivery-limit"] == LANE_DELIVERY_LIMIT
    assert "x-single-active-consumer" not in found["orders"]


def test_a_fair_source_has_a_lane_that_is_like_its_queue() -> None:
    found = queues(source(fairness={"jsonPath": "shop.id"}))
    assert list(found) == ["dead", "orders", "default", "orders:busy", "default:busy"]
    assert found["orders:busy"] == found["orders"]


def test_a_source_without_either_has_no_queue_more() -> None:
    assert list(queues(source())) == ["dead", "orders", "default"]
    assert "lanes" not in settings(source(), "ingest.json")
    assert "lanes" not in settings(source(), "worker-orders.json")


def test_lanes_of_an_earlier_spec_are_consumed_by_the_workers_of_their_queue() -> None:
    one = with_leaving(
        source(ordering={"header": "X-Shop", "lanes": 1}), ("orders:1", "orders:busy", "refunds", "refunds:0")
    )
    assert settings(one, "worker-orders.json")["lanes"] == ["orders:0", "orders:1", "orders:busy"]
    assert settings(one, "worker-orders.json")["leaving"] == ["orders:1", "orders:busy"]
    assert settings(one, "worker-default.json")["lanes"] == ["default:0"]
    assert settings(one, "worker-refunds.json")["lanes"] == ["refunds:0"]
    assert [route["queue"] for route in settings(one, "ingest.json")["routes"]] == ["orders", "default"]
    workers = [item["metadata"]["name"] for item in desired(one, KEDA) if item["kind"] == "Deployment"]
    assert len(workers) == len(set(workers)) == 4


def test_autoscaling_counts_what_is_in_the_lanes_too() -> None:
    one = source(ordering={"header": "X-Shop", "lanes": 3}, autoscaling={})
    scaled = [item for item in desired(one, KEDA) if item["kind"] == "ScaledObject"]
    (told,) = (trigger["metadata"] for trigger in scaled[0]["spec"]["triggers"])
    assert told["queueName"].endswith(r"\.orders(:[a-z0-9]+)?$")
    assert (told["useRegex"], told["operation"]) == ("true", "sum")
    plain = [item for item in desired(source(autoscaling={}), KEDA) if item["kind"] == "ScaledObject"]
    assert "useRegex" not in plain[0]["spec"]["triggers"][0]["metadata"]
