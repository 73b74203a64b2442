"""Every field a person may set changes something: what is accepted takes effect, and nothing is silently ignored."""

import json
from typing import Any

import pytest

from forebay.manifest import read_source
from forebay.schema import plain_schema
from forebay.source import WebhookSource
from forebay.source.queues import Queue
from forebay.source.values import DURATION
from forebay_operator.desired import Platform, desired, source_topology
from forebay_operator.desired.platform import (
    HTTP_ROUTE,
    POD_MONITOR,
    PROMETHEUS_RULE,
    SCALED_OBJECT,
    TRIGGER_AUTHENTICATION,
)
from tests.support.sources import manifest

# What only the operator itself reads: when it reaches for the broker, captures a secret, and when a source is deleted.
OF_THE_OPERATOR = ("spec.broker", "spec.ingest.verification.captureFor", "spec.deletionPolicy")

QUEUES = [{"name": "a", "match": {"eventTypes": ["push"]}, "concurrency": 3}]
SHOP = {"provider": "HMAC", "secretRefs": [{"name": "s", "key": "k"}], "hmac": {"header": "X-Sig"}}
TIMED = {**SHOP, "hmac": {"header": "X-Sig", "template": "{timestamp}{body}", "timestampHeader": "X-Time"}}
META = {
    "spec__ingest__verification__provider": "Meta",
    "spec__ingest__handshake": {"verifyTokenSecretRef": {"name": "m", "key": "k"}},
}
SQUARE = {
    "spec__ingest__verification__provider": "Square",
    "spec__ingest__publicUrl": "https://a.example.com/a",
}
JWT = {"keysUrl": "https://a.example.com/keys", "issuer": "a", "audience": "b", "claims": []}
TOKENS = {"spec__ingest__verification": {"provider": "JWT", "jwt": JWT}}
TOKEN = {"tokenUrl": "https://i.example/token", "clientId": "c", "clientSecretRef": {"name": "o", "key": "s"}}
OAUTH2 = {"spec__worker__destination__auth": {"oauth2": TOKEN}}
SECRET_ID = {"tokenUrl": "https://i.example/token", "clientSecretRef": {"name": "o", "key": "s"}}
STORED = {"spec__storage": {"provider": "S3", "bucket": "webhooks"}}
AZURE = {"spec__storage": {"provider": "Azure", "bucket": "webhooks", "account": "us"}}
HANDLER = {"handler": {"image": "i", "target": "a:b"}}
RATE = {"spec__worker__rateLimit": {"requests": 50}}
ROUTE = {"spec__ingest__expose__httpRoute__parentRefs": [{"name": "gateway"}]}
INGRESS = {"spec__ingest__expose__ingress": {"host": "a.example.com"}}
TLS = {"spec__ingest__expose__ingress": {"host": "a.example.com", "tls": {"secretName": "b"}}}

# (path, manifest it is set in, value): where the sample that suits most fields does not.
SAMPLES: dict[str, tuple[dict[str, Any], Any]] = {
    "spec.ingest.path": ({}, "/elsewhere"),
    "spec.ingest.methods": ({}, ["PUT"]),
    "spec.ingest.autoscaling.minReplicas": ({"spec__ingest__autoscaling": {}}, 3),
    "spec.ingest.expose.httpRoute.parentRefs": (ROUTE, [{"name": "other", "sectionName": "https"}]),
    "spec.ingest.expose.httpRoute.hostnames": (ROUTE, ["a.example.com"]),
    "spec.ingest.expose.httpRoute.annotations": (ROUTE, {"a": "b"}),
    "spec.ingest.expose.ingress.host": (INGRESS, "b.example.com"),
    "spec.ingest.expose.ingress.className": (INGRESS, "nginx"),
    "spec.ingest.expose.ingress.tls.secretName": (TLS, "other"),
    "spec.ingest.expose.ingress.annotations": (INGRESS, {"a": "b"}),
    "spec.monitoring.alerts.state": ({}, "Disabled"),
    "spec.monitoring.alerts.oldestAge": ({}, "7m"),
    "spec.monitoring.alerts.silence": ({}, "7m"),
    "spec.monitoring.alerts.holdFor": ({}, "30s"),
    "spec.monitoring.alerts.labels": ({}, {"team": "payments"}),
    "spec.monitoring.alerts.runbookUrl": ({}, "https://wiki.example.com/runbooks"),
    "spec.monitoring.dashboard.state": ({"spec__monitoring": {"dashboard": {}}}, "Disabled"),
    "spec.monitoring.dashboard.folder": ({}, "Payments"),
    "spec.worker.ordering.lanes": ({"spec__worker__ordering": {"header": "X-A"}}, 5),
    "spec.worker.ordering.afterDeadLetter": ({"spec__worker__ordering": {"header": "X-A"}}, "Hold"),
    "spec.worker.autoscaling.minReplicas": ({"spec__worker__autoscaling": {}}, 3),
    "spec.ingest.contentTypes": ({}, ["text/plain"]),
    "spec.ingest.verification.provider": ({"spec__ingest__verification__provider": "Stripe"}, "StandardWebhooks"),
    "spec.ingest.verification.secretRefs": ({}, [{"name": "other", "key": "k"}]),
    "spec.ingest.verification.capture": ({"spec__ingest__verification__provider": "Asana"}, True),
    "spec.ingest.verification.tolerance": ({"spec__ingest__verification__provider": "Stripe"}, "1m"),
    "spec.ingest.handshake.mode": ({}, "Queue"),
    "spec.ingest.handshake.verifyTokenSecretRef": (META, {"name": "other", "key": "k"}),
    "spec.ingest.handshake.deliverSecret": ({"spec__ingest__verification__provider": "Asana"}, True),
    "spec.ingest.handshake.confirm": ({"spec__ingest__verification__provider": "SNS"}, True),
    "spec.ingest.verification.jwt.audience": (TOKENS, "c"),
    "spec.ingest.verification.jwt.issuer": (TOKENS, "c"),
    "spec.ingest.verification.jwt.keysUrl": (TOKENS, "https://b.example.com/keys"),
    "spec.ingest.verification.jwt.claims": (TOKENS, [{"name": "sub", "value": "c"}]),
    "spec.ingest.rateLimit.requests": ({}, 77),
    "spec.ingest.rateLimit.per": ({"spec__ingest__rateLimit": {"requests": 5}}, "Minute"),
    "spec.ingest.rateLimit.burst": ({"spec__ingest__rateLimit": {"requests": 5}}, 77),
    "spec.ingest.rateLimit.perClient": ({"spec__ingest__rateLimit": {"requests": 5}}, {"requests": 7}),
    "spec.ingest.trustedProxies": ({}, ["10.0.0.0/8"]),
    "spec.ingest.urlToken.secretRefs": (
        {"spec__ingest__urlToken": {"secretRefs": [{"name": "a", "key": "b"}]}},
        [{"name": "other", "key": "b"}],
    ),
    "spec.ingest.allowedClients": ({}, ["10.0.0.0/8"]),
    "spec.ingest.deduplication.key": ({}, "bodyHash"),
    "spec.ingest.deduplication.header": (
        {"spec__ingest__deduplication": {"key": "header", "header": "X-Id"}},
        "X-Other",
    ),
    "spec.ingest.deduplication.jsonPath": (
        {"spec__ingest__deduplication": {"key": "jsonPath", "jsonPath": "id"}},
        "other",
    ),
    "spec.ingest.deduplication.window": ({"spec__ingest__deduplication": {}}, "2d"),
    "spec.ingest.deduplication.maxIds": ({}, 7000),
    "spec.ingest.publicUrl": (SQUARE, "https://b.example.com/b"),
    "spec.ingest.verification.header": ({"spec__ingest__verification__provider": "ApiKey"}, "X-Other"),
    "spec.ingest.response.headers": ({}, [{"name": "X-A", "value": "b"}]),
    "spec.ingest.limits.headerBytes": ({}, "70Ki"),
    "spec.ingest.outageBuffer.maxBytes": (STORED, "70Mi"),
    "spec.ingest.outageBuffer.maxAge": (STORED, "2d"),
    "spec.storage.provider": (STORED, "GCS"),
    "spec.storage.bucket": (STORED, "other"),
    "spec.storage.endpoint": (STORED, "http://minio.storage.svc:9000"),
    "spec.storage.region": (STORED, "eu-central-1"),
    "spec.storage.account": (AZURE, "other"),
    "spec.storage.credentialsSecretRef": (STORED, {"name": "a", "key": "b"}),
    "spec.storage.threshold": (STORED, "70Ki"),
    "spec.storage.putTimeout": (STORED, "7s"),
    "spec.storage.spool": (STORED, "70Mi"),
    "spec.storage.afterDelivery": (STORED, "Keep"),
    "spec.deadLetter.retention.age": ({}, "7d"),
    "spec.ingest.response.status": ({}, 200),
    "spec.ingest.response.contentType": ({}, "text/html"),
    "spec.queues": ({}, QUEUES),
    "spec.retry.schedule": ({}, ["7s"]),
    "spec.retry.statuses": ({}, ["503"]),
    "spec.retry.maxDelay": ({}, "2h"),
    "spec.worker.destination.url": ({}, "http://other.svc"),
    "spec.worker.destination.headers": ({}, [{"name": "X-A", "value": "b"}]),
    "spec.worker.destination.tls.caSecretRef": (
        {"spec__worker__destination__url": "https://orders.svc"},
        {"name": "ca", "key": "ca.crt"},
    ),
    "spec.worker.destination.tls.insecureSkipVerify": ({"spec__worker__destination__url": "https://orders.svc"}, True),
    "spec.worker.destination.auth.basic": ({}, {"username": "u", "passwordSecretRef": {"name": "a", "key": "p"}}),
    "spec.worker.destination.auth.bearer": ({}, {"secretRef": {"name": "a", "key": "t"}}),
    "spec.worker.destination.auth.oauth2.tokenUrl": (OAUTH2, "https://other.example/token"),
    "spec.worker.destination.auth.oauth2.clientId": (OAUTH2, "other"),
    "spec.worker.destination.auth.oauth2.clientIdSecretRef": (
        {"spec__worker__destination__auth": {"oauth2": {**SECRET_ID, "clientIdSecretRef": {"name": "a", "key": "i"}}}},
        {"name": "o", "key": "id"},
    ),
    "spec.worker.destination.auth.oauth2.clientSecretRef": (OAUTH2, {"name": "a", "key": "t"}),
    "spec.worker.destination.auth.oauth2.clientAuthentication": (OAUTH2, "Body"),
    "spec.worker.destination.auth.oauth2.scopes": (OAUTH2, ["a", "b"]),
    "spec.worker.destination.auth.oauth2.audience": (OAUTH2, "other"),
    "spec.worker.destination.auth.oauth2.caSecretRef": (OAUTH2, {"name": "ca", "key": "ca.crt"}),
    "spec.worker.destination.auth.apiKey": ({}, {"secretRef": {"name": "a", "key": "t"}}),
    "spec.worker.destination.tls.clientCertSecretRef": (
        {"spec__worker__destination__url": "https://orders.svc"},
        {"name": "client"},
    ),
    "spec.worker.destination.signing": ({}, {"secretRefs": [{"name": "a", "key": "k"}]}),
    "spec.worker.rateLimit.per": (RATE, "Minute"),
    "spec.worker.rateLimit.burst": (RATE, 7),
    "spec.worker.handler.image": ({"spec__worker": HANDLER}, "other"),
    "spec.worker.handler.target": ({"spec__worker": HANDLER}, "c:d"),
    "spec.worker.handler.timeout": ({"spec__worker": HANDLER}, "7s"),
    "spec.worker.handler.threads": ({"spec__worker": HANDLER}, 7),
    "spec.ingest.verification.hmac.header": ({"spec__ingest__verification": SHOP}, "X-Other"),
    "spec.ingest.verification.hmac.algorithm": ({"spec__ingest__verification": SHOP}, "SHA1"),
    "spec.ingest.verification.hmac.encoding": ({"spec__ingest__verification": SHOP}, "Base64"),
    "spec.ingest.verification.hmac.prefix": ({"spec__ingest__verification": SHOP}, "v1="),
    "spec.ingest.verification.hmac.template": ({"spec__ingest__verification": SHOP}, "x{body}"),
    "spec.ingest.verification.hmac.timestampHeader": ({"spec__ingest__verification": TIMED}, "X-Other-Time"),
    "spec.ingest.verification.hmac.keyEncoding": ({"spec__ingest__verification": SHOP}, "Hex"),
    "spec.ingest.verification.hmac.deliveryIdHeader": ({"spec__ingest__verification": SHOP}, "X-Id"),
    "spec.ingest.verification.hmac.eventTypeHeader": ({"spec__ingest__verification": SHOP}, "X-Type"),
    "spec.ingest.verification.hmac.eventTypeJsonPath": ({"spec__ingest__verification": SHOP}, "a.b"),
}
POD_SAMPLES: dict[str, Any] = {
    "labels": {"a": "b"},
    "annotations": {"a": "b"},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "a"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [{"maxSkew": 2}],
    "imagePullSecrets": ["a"],
    "env": [{"name": "A", "value": "b"}],
    "volumes": [{"name": "a", "emptyDir": {}}],
    "volumeMounts": [{"name": "a", "mountPath": "/a"}],
}


def _leaves(schema: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any]]]:
    if "properties" not in schema or f"{path}" in SAMPLES:
        return [(path, schema)]
    return [leaf for name, field in schema["properties"].items() for leaf in _leaves(field, f"{path}.{name}")]


LEAVES = dict(_leaves(plain_schema(WebhookSource)["properties"]["spec"], "spec"))


def _sample(path: str, schema: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    if path in SAMPLES:
        return SAMPLES[path]
    parent, _, name = path.rpartition(".")
    if parent.endswith("podTemplate") and name in POD_SAMPLES:
        return {}, POD_SAMPLES[name]
    if "enum" in schema:
        return {}, schema["enum"][-1]
    if schema.get("pattern") == f"^{DURATION}$":
        return {}, "7s" if "keepAlive" not in name else "70s"
    return {}, _plain_sample(schema)


def _plain_sample(schema: dict[str, Any]) -> Any:
    match schema.get("type"):
        case "integer":
            return 77
        case "object":
            return {"memory": "70Mi"}
        case "string":
            return "other"
        case _:
            return "3Mi" if "Ki" in schema.get("pattern", "") else "3"


def _becomes(data: dict[str, Any]) -> str:
    source = read_source(data)
    platform = Platform(apis=frozenset({POD_MONITOR, PROMETHEUS_RULE, HTTP_ROUTE}))
    with_keda = Platform(apis=frozenset({SCALED_OBJECT, TRIGGER_AUTHENTICATION}))
    return json.dumps([desired(source, platform), desired(source, with_keda)]) + repr(source_topology(source))


@pytest.mark.parametrize("path", [path for path in LEAVES if not path.startswith(OF_THE_OPERATOR)])
def test_a_field_that_is_accepted_takes_effect(path: str) -> None:
    around, value = _sample(path, LEAVES[path])
    after = manifest(**{**around, path.replace(".", "__"): value})
    assert _becomes(after) != _becomes(manifest(**around))


OF_A_QUEUE = {
    "name": "b",
    "match": {"header": {"name": "X-A"}},
    "concurrency": 9,
    "replicas": 3,
    "rateLimit": {"requests": 7},
    "maxInFlight": 7,
}


@pytest.mark.parametrize("name", plain_schema(Queue)["properties"])
def test_a_field_of_a_queue_takes_effect(name: str) -> None:
    before = manifest(spec__queues=QUEUES)
    after = manifest(spec__queues=[{**QUEUES[0], name: OF_A_QUEUE[name]}])
    assert _becomes(after) != _becomes(before)


def test_a_match_comes_through_whole() -> None:
    match = {
        "eventTypes": ["push", "pull_*"],
        "header": {"name": "X-A", "values": ["1", "2"]},
        "jsonPath": {"path": "a.b", "values": ["true"]},
        "pathSuffix": "/a",
    }
    text = _becomes(manifest(spec__queues=[{"name": "a", "match": match}]))
    for word in ("push", "pull_*", "X-A", "a.b", "true", "/a"):
        assert f'\\"{word}\\"' in text


def test_the_platform_decides_which_addresses_may_be_dialed() -> None:
    source = read_source(manifest())
    (config, *_) = desired(source, Platform(allow_private=False, allow_loopback=True))
    destination = json.loads(config["data"]["worker-default.json"])["destination"]
    assert (destination["allow_private"], destination["allow_loopback"]) == (False, True)


def test_without_prometheus_operator_there_is_no_pod_monitor() -> None:
    assert not [item for item in desired(read_source(manifest()), Platform()) if item["kind"] == "PodMonitor"]
