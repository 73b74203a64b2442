"""`kubectl forebay doctor`: each check is seen to fail, says what to do, and is fine once that is done."""

import ssl
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from forebay.errors import Unavailable
from forebay_cli.cluster.api import NotFound
from forebay_cli.cluster.checks import Facts, lines
from forebay_cli.cluster.operators import Operator
from tests.reconciling.sources import source
from tests.support.apiserver import Api, ControlPlane, Object
from tests.support.brokers import VirtualHost
from tests.support.destination import destination, says
from tests.support.kubectl import Person, administrator

pytestmark = pytest.mark.timeout(180)

FINE = says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


@pytest.fixture
def doctor(control_plane: ControlPlane, place: Api, tmp_path: Path) -> Person:
    """Somebody who may see everything."""
    return administrator(control_plane, place, tmp_path)


async def _said(doctor: Person, about: str, level: str, containing: str = "") -> str:
    """The finding about something, which has to be this."""
    found = [one for one in await doctor.findings("github") if one["about"] == about and containing in one["text"]]
    assert [one["level"] for one in found] == [level], found
    return found[0]["text"]


def _facts(operators: list[Operator]) -> Facts:
    return Facts(
        server="https://here", version="v1", crd=NotFound("no"), served=True, rights={}, operators=operators, apis=frozenset(),
        now=time.time(),
    )  # fmt: skip


async def test_an_operator_without_a_pod_is_told(doctor: Person, place: Api) -> None:
    await place.apply(source())
    labels = {"app.kubernetes.io/name": "forebay", "app.kubernetes.io/component": "operator"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "operator", "image": "forebay"}]}}
    body: Object = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "forebay", "labels": labels}}
    await place.apply({**body, "spec": {"selector": {"matchLabels": labels}, "replicas": 0, "template": pod}})
    here = f"forebay in namespace {place.namespace}"
    assert f"has no ready pod; see kubectl describe pods -n {place.namespace}" in await _said(
        doctor, "operator", "fail", here
    )


def test_an_operator_whose_lease_is_old_acts_no_more() -> None:
    deployment: Object = {"metadata": {"name": "forebay", "namespace": "home"}, "status": {"readyReplicas": 2}}
    lease: Object = {"spec": {"renewTime": "2026-01-01T00:00:00Z"}}
    idle = Operator(deployment=deployment, lease=lease)
    acting = replace(idle, now=1767225630.0)  # half a minute later
    said = [[line for line in lines(_facts([one])) if line.about == "operator"] for one in (idle, acting)]
    assert said[0][0].level == "fail"
    assert "so nobody acts; see kubectl logs -n home deployment/forebay" in said[0][0].text
    assert said[1] == [("ok", "operator", "forebay in namespace home: 2 ready, one of them acts")]


async def test_the_broker_its_login_and_that_of_the_workers_are_tried(
    doctor: Person, place: Api, newest_broker: VirtualHost
) -> None:
    await place.apply(source())
    management, user = newest_broker.management, f"users/{newest_broker.username}"
    assert "may do what the operator needs" in await _said(doctor, "broker", "ok")
    assert "kubectl forebay status github" in await _said(doctor, "workers' login", "fail")
    await management.put(user, {"password": newest_broker.password, "tags": "monitoring"})
    assert "rabbitmqctl set_user_tags USER administrator" in await _said(doctor, "broker", "fail")
    await management.put(user, {"password": "another", "tags": "administrator"})
    assert "correct the login in Secret rabbitmq of namespace" in await _said(doctor, "broker", "fail")
    await place.secret("rabbitmq", uri="http://rabbit")
    assert "key uri is no AMQP address" in await _said(doctor, "broker", "fail")
    await place.delete("Secret", "rabbitmq")
    assert "kubectl create secret generic rabbitmq" in await _said(doctor, "broker", "fail")
    await place.secret("github-broker-worker", uri=newest_broker.uri)  # whose password is another one by now
    assert await _said(doctor, "workers' login", "fail")


async def test_the_destination_is_looked_for_where_pods_would_find_it(doctor: Person, place: Api) -> None:
    async def at(url: str) -> None:
        await place.apply(source(spec__worker={"destination": {"url": url}}))

    await at("http://orders/hook")
    assert f"there is no Service orders in namespace {place.namespace}; create it" in await _said(
        doctor, "destination", "fail"
    )
    ports = [{"port": 80, "protocol": "TCP"}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders"}}
    await place.apply({**service, "spec": {"ports": ports, "selector": {"app": "orders"}}})
    assert "has no ready pod behind it; see kubectl get endpointslices" in await _said(doctor, "destination", "fail")
    await at("http://nobody.invalid/hook")
    assert "does not know nobody.invalid" in await _said(doctor, "destination", "warn")
    await at("http://127.0.0.1:1/hook")
    assert await _said(doctor, "destination", "ok") == "127.0.0.1 is an address, there is no name to look for"


def _make(key: Path, certificate: Path) -> None:
    command = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    files = ("-keyout", str(key), "-out", str(certificate), "-days", "1", "-subj", "/CN=localhost")
    subprocess.run([*command, *files], check=True, capture_output=True)


async def test_a_certificate_that_no_provider_takes_is_told(doctor: Person, place: Api, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    _make(key, certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    await place.apply(source())
    async with destination(FINE, tls=context) as public:
        await place.patch(
            "WebhookSource", "github", {"status": {"url": f"https://localhost:{public.port}/x"}}, sub="status"
        )
        said = await _said(doctor, "TLS", "fail")
        assert "localhost shows a certificate that providers will not take: self-signed certificate" in said
        trusting = Person(doctor.namespace, {**doctor.environ, "SSL_CERT_FILE": str(certificate)})
        assert "renew it" in await _said(trusting, "TLS", "warn")
    assert "can not be reached from here" in await _said(doctor, "TLS", "warn")


def test_a_cluster_without_forebay_is_told_how_to_get_it() -> None:
    facts = replace(_facts([]), served=False)
    found = {line.about: line for line in lines(facts)}
    assert found["CRD"].level == "fail"
    assert "install Forebay's chart" in found["CRD"].text
    assert found["operator"].level == "fail"
    assert sum(line.about == "optional APIs" for line in lines(facts)) == 4


def test_operators_that_can_not_be_seen_are_no_failure() -> None:
    facts = replace(_facts([]), operators=Unavailable("hidden"))
    assert [(line.level, line.text) for line in lines(facts) if line.about == "operator"] == [
        ("warn", "can not be seen: hidden")
    ]
