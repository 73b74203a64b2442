"""What a person reads in the status while something is missing, and that it heals without a touch."""

from urllib.parse import quote

from forebay.topology import Names
from tests.reconciling.sources import source
from tests.support.apiserver import Api, OperatorProcess
from tests.support.brokers import VirtualHost
from tests.support.node import LocalNode
from tests.support.waiting import eventually


async def test_a_missing_secret_is_named_and_its_coming_heals_the_source(place: Api, running: OperatorProcess) -> None:
    await place.delete("Secret", "github-webhook")
    await place.apply(source())
    said = await place.until("github", "Accepted", "False", "SecretMissing")
    assert f"There is no Secret github-webhook in namespace {place.namespace}" in said["message"]
    assert "kubectl create secret generic github-webhook" in said["message"]
    assert (await place.conditions("github"))["Stalled"]["status"] == "True"
    await place.secret("github-webhook", secret="s3cret")
    await place.until("github", "Accepted", "True", within_s=5)


async def test_a_missing_broker_secret_is_named_and_its_coming_heals_the_source(
    place: Api, running: OperatorProcess, newest_broker: VirtualHost
) -> None:
    await place.delete("Secret", "rabbitmq")
    await place.apply(source())
    said = await place.until("github", "Accepted", "False", "BrokerSecretMissing")
    assert "There is no Secret rabbitmq" in said["message"]
    await place.secret("rabbitmq", uri=newest_broker.uri, management=newest_broker.server.management_url)
    await place.until("github", "TopologyReady", "True", within_s=15)


async def test_a_broker_secret_without_a_login_says_which_key_is_wrong_and_never_its_value(
    place: Api, running: OperatorProcess
) -> None:
    await place.secret("rabbitmq", uri="http://very-secret@rabbit")
    await place.apply(source())
    said = await place.until("github", "Accepted", "False", "BrokerSecretInvalid")
    assert "key uri is no AMQP address" in said["message"]
    assert "very-secret" not in said["message"]
    assert "very-secret" not in running.log.read_text()


async def test_a_source_without_workers_that_run_is_not_ready(place: Api, running: OperatorProcess) -> None:
    await place.apply(source())
    await place.until("github", "TopologyReady", "True")
    said = await place.until("github", "Ready", "False", "Unavailable")
    assert "No ingest pod is ready" in said["message"]
    assert f"kubectl describe pods -n {place.namespace}" in said["message"]


async def test_a_suspended_source_says_so_and_comes_back(place: Api, running: OperatorProcess, node: LocalNode) -> None:
    await place.apply(source())
    await place.until("github", "Ready", "True", within_s=40)
    await place.patch("WebhookSource", "github", {"spec": {"suspend": "Ingest"}})
    await place.until("github", "IngestAvailable", "False", "Suspended")
    await place.until("github", "Ready", "False", "Suspended")
    await place.patch("WebhookSource", "github", {"spec": {"suspend": "None"}})
    await place.until("github", "Ready", "True", within_s=40)


async def test_an_open_breaker_is_seen_by_the_workers_notes_in_the_broker(
    place: Api, running: OperatorProcess, newest_broker: VirtualHost
) -> None:
    await place.apply(source(spec__worker__circuitBreaker={}))
    await place.until("github", "DestinationReachable", "True", "BreakersClosed", within_s=20)
    host, queue = newest_broker, Names(place.namespace, "github").breaker_notes
    note = {"properties": {}, "routing_key": queue, "payload": "", "payload_encoding": "string"}
    exchange = f"exchanges/{quote(host.name, safe='')}/{Names(place.namespace, 'github').exchange}/publish"
    assert (await host.management.post(exchange, note))["routed"]
    said = await place.until("github", "DestinationReachable", "False", "BreakerOpen", within_s=20)
    assert f"kubectl forebay tail github -n {place.namespace}" in said["message"]
    await host.management.delete(f"queues/{quote(host.name, safe='')}/{queue}/contents")
    await place.until("github", "DestinationReachable", "True", within_s=20)


async def test_the_second_source_at_a_name_that_is_somebody_elses_is_told(place: Api, running: OperatorProcess) -> None:
    taken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "github-ingest"}}
    await place.apply({**taken, "spec": {"ports": [{"port": 1, "protocol": "TCP"}]}})
    await place.apply(source())
    said = await place.until("github", "Accepted", "False", "NameTaken")
    assert "Service github-ingest exists and is not Forebay's" in said["message"]
    assert (await place.get("Service", "github-ingest"))["spec"]["ports"][0]["port"] == 1
    await place.delete("Service", "github-ingest")
    await place.until("github", "Accepted", "True", within_s=20)


async def test_a_secret_that_is_somebody_elses_is_left_alone(place: Api, running: OperatorProcess) -> None:
    await place.secret("github-broker-ingest", password="theirs")
    await place.apply(source())
    said = await place.until("github", "TopologyReady", "False", "NameTaken")
    assert "kubectl delete secret github-broker-ingest" in said["message"]
    assert "ownerReferences" not in (await place.get("Secret", "github-broker-ingest"))["metadata"]
    await place.delete("Secret", "github-broker-ingest")
    await place.until("github", "TopologyReady", "True", within_s=20)


async def test_a_status_that_says_the_same_is_not_written_again(place: Api, running: OperatorProcess) -> None:
    await place.apply(source())
    await place.until("github", "TopologyReady", "True")

    async def settled() -> bool:
        before = (await place.get("WebhookSource", "github"))["metadata"]["resourceVersion"]
        await place.patch("WebhookSource", "github", {"metadata": {"annotations": {"a": before}}})
        now = (await place.get("WebhookSource", "github"))["metadata"]["resourceVersion"]
        return bool(now != before)

    await eventually(settled)
    written = [line for line in (await running.metrics()).splitlines() if 'verb="PATCH"' in line]
    await place.patch("WebhookSource", "github", {"metadata": {"annotations": {"a": "again"}}})
    await place.secret("unrelated", key="value")
    assert [line for line in (await running.metrics()).splitlines() if 'verb="PATCH"' in line] == written
