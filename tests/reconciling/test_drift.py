"""What somebody else changes comes back: objects at once, the broker's within its look."""

from urllib.parse import quote

import pytest

from tests.reconciling.sources import source
from tests.support.apiserver import Api, OperatorProcess
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def applied(place: Api, running: OperatorProcess) -> Api:
    await place.apply(source())
    await place.until("github", "TopologyReady", "True")
    await eventually(lambda: place.find("Deployment", "github-worker-default"))
    return place


async def test_a_deleted_child_is_back_within_five_seconds(applied: Api) -> None:
    before = await applied.get("Service", "github-ingest")
    await applied.delete("Service", "github-ingest")

    async def back() -> bool:
        now = await applied.find("Service", "github-ingest")
        return now is not None and bool(now["metadata"]["uid"] != before["metadata"]["uid"])

    await eventually(back, within_s=5)


async def test_an_edited_field_is_back_within_five_seconds(applied: Api) -> None:
    await applied.patch("Service", "github-ingest", {"spec": {"selector": {"app.kubernetes.io/component": "worker"}}})

    async def back() -> bool:
        now = await applied.get("Service", "github-ingest")
        return bool(now["spec"]["selector"]["app.kubernetes.io/component"] == "ingest")

    await eventually(back, within_s=5)


async def test_what_others_add_to_a_child_stays(applied: Api) -> None:
    await applied.patch("Deployment", "github-ingest", {"metadata": {"annotations": {"team": "payments"}}})
    await applied.delete("Service", "github-ingest")
    await eventually(lambda: applied.find("Service", "github-ingest"), within_s=5)
    assert (await applied.get("Deployment", "github-ingest"))["metadata"]["annotations"]["team"] == "payments"


async def test_an_edit_made_while_no_operator_ran_is_mended_when_one_does(
    applied: Api, running: OperatorProcess
) -> None:
    async def settled() -> bool:
        return bool((await applied.conditions("github"))["Reconciling"])

    await eventually(settled)
    # Its own resync finds what no event told it.
    await applied.patch("ConfigMap", "github-settings", {"data": {"ingest.json": "{}"}})

    async def back() -> bool:
        return bool((await applied.get("ConfigMap", "github-settings"))["data"]["ingest.json"] != "{}")

    await eventually(back, within_s=5)


async def test_what_is_no_longer_wanted_is_pruned(applied: Api) -> None:
    await applied.patch(
        "WebhookSource", "github", {"spec": {"queues": [{"name": "big", "match": {"eventTypes": ["push"]}}]}}
    )
    await eventually(lambda: applied.find("Deployment", "github-worker-big"), within_s=10)
    await applied.patch("WebhookSource", "github", {"spec": {"ingest": {"replicas": 1}}})

    async def one() -> bool:
        return bool((await applied.get("Deployment", "github-ingest"))["spec"]["replicas"] == 1)

    await eventually(one, within_s=5)


async def test_a_deleted_queue_binding_and_policy_are_back_within_thirty_seconds(
    applied: Api, newest_broker: VirtualHost
) -> None:
    management, vhost = newest_broker.management, quote(newest_broker.name, safe="")
    base = f"forebay.{applied.namespace}.github"
    await management.delete(f"queues/{vhost}/{base}.default")
    await management.delete(f"policies/{vhost}/forebay.dead")

    async def back() -> bool:
        queues = {queue["name"] for queue in await management.get(f"queues/{vhost}")}
        bound = await management.get(f"exchanges/{vhost}/{base}/bindings/source")
        policies = {policy["name"] for policy in await management.get(f"policies/{vhost}")}
        keys = {binding["routing_key"] for binding in bound}
        return f"{base}.default" in queues and f"{base}.default" in keys and "forebay.dead" in policies

    await eventually(back, within_s=30, every_s=0.5)


async def test_a_deleted_broker_user_is_back_with_the_password_that_pods_have(
    applied: Api, newest_broker: VirtualHost
) -> None:
    secret = await applied.get("Secret", "github-broker-ingest")
    user = secret["metadata"]["annotations"]["forebay.dev/broker-user"]
    await newest_broker.management.delete(f"users/{user}")

    async def back() -> bool:
        return user in {known["name"] for known in await newest_broker.management.get("users")}

    await eventually(back, within_s=30, every_s=0.5)
    assert (await applied.get("Secret", "github-broker-ingest"))["data"] == secret["data"]


async def test_workers_that_keda_scales_get_a_login_that_may_count_and_their_password_stays(
    applied: Api, newest_broker: VirtualHost
) -> None:
    secret = await applied.get("Secret", "github-broker-worker")
    path = f"users/{secret['metadata']['annotations']['forebay.dev/broker-user']}"
    assert (await newest_broker.management.get(path))["tags"] == []
    await applied.apply(source(spec__worker__autoscaling={"minReplicas": 0}))

    async def counts() -> bool:
        return bool((await newest_broker.management.get(path))["tags"] == ["management"])

    await eventually(counts, within_s=30, every_s=0.5)
    assert (await applied.get("Secret", "github-broker-worker"))["data"] == secret["data"]
