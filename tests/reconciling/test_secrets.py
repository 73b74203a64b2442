"""Secrets: a rotated one reaches running pods; nothing of any is told."""

import base64

from tests.reconciling.sources import source
from tests.support.apiserver import Api, OperatorProcess
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually

_HASH = "forebay.dev/secrets-sha256"


async def _mark(api: Api, deployment: str) -> str:
    found = await api.find("Deployment", deployment)
    return found["spec"]["template"]["metadata"]["annotations"][_HASH] if found else ""


async def test_a_rotated_secret_makes_new_pods_of_those_who_mount_it(place: Api, running: OperatorProcess) -> None:
    await place.apply(source())
    await eventually(lambda: _mark(place, "github-ingest"))
    await eventually(lambda: _mark(place, "github-worker-default"))
    ingest, worker = await _mark(place, "github-ingest"), await _mark(place, "github-worker-default")
    await place.secret("github-webhook", secret="another one")

    async def other() -> bool:
        return await _mark(place, "github-ingest") != ingest

    await eventually(other, within_s=5)
    assert await _mark(place, "github-worker-default") == worker


async def test_a_wish_for_another_broker_login_makes_one_and_new_pods(place: Api, running: OperatorProcess) -> None:
    await place.apply(source())
    await eventually(lambda: _mark(place, "github-ingest"))
    before = await place.get("Secret", "github-broker-ingest")
    wish = {"metadata": {"annotations": {"forebay.dev/rotate-broker-login": "2026-11"}}}
    await place.patch("WebhookSource", "github", wish)

    async def other() -> bool:
        now = await place.get("Secret", "github-broker-ingest")
        return bool(now["data"]["username"] != before["data"]["username"])

    await eventually(other, within_s=10)


async def test_the_operators_own_login_is_changed_and_no_pod_of_a_source_with_it(
    place: Api, running: OperatorProcess, newest_broker: VirtualHost
) -> None:
    await place.apply(source())
    await place.until("github", "TopologyReady", "True")
    before = await _mark(place, "github-ingest")
    user, password = newest_broker.username, "another one"
    await newest_broker.management.put(f"users/{user}", {"password": password, "tags": "administrator"})
    uri = newest_broker.server.uri(vhost=newest_broker.name, username=user, password=password)
    await place.secret("rabbitmq", uri=uri, management=newest_broker.server.management_url)
    await place.apply(source(spec__queues=[{"name": "orders", "match": {"eventTypes": ["order"]}}]))

    async def declared() -> bool:
        there = await newest_broker.management.queues(newest_broker.name)
        return f"forebay.{place.namespace}.github.orders" in {queue.name for queue in there}

    await eventually(declared, within_s=20)
    await place.until("github", "TopologyReady", "True")
    assert await _mark(place, "github-ingest") == before


async def test_no_secret_is_in_the_log_the_status_an_event_or_a_child(place: Api, running: OperatorProcess) -> None:
    await place.apply(source())
    await eventually(lambda: place.find("Deployment", "github-worker-default"))
    told = running.log.read_text()
    told += str(await place.get("WebhookSource", "github")) + str(await place.all("Event"))
    for kind in ("ConfigMap", "Deployment", "Service"):
        told += str(await place.all(kind))
    for name in ("github-webhook", "rabbitmq", "github-broker-ingest", "github-broker-worker"):
        held = await place.get("Secret", name)
        for key in ("secret", "uri", "password", "management"):
            value = base64.b64decode(held["data"].get(key, "")).decode()
            if value and not value.startswith("http://127"):
                assert value not in told, f"{name}/{key}"
