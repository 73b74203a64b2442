"""The endpoint of a source: its Deployment, the Service before it, its identity."""

from forebay.settings import dump
from forebay.source import WebhookSource
from forebay.source.cluster import PodTemplate, Resources
from forebay.source.references import SecretKeyRef
from forebay_operator.desired.ingest_settings import INGESTS, ingest_settings
from forebay_operator.desired.metadata import Object, ingest_name, metadata, selector
from forebay_operator.desired.platform import Platform
from forebay_operator.desired.pod import NO_VERSIONS, Process, Versions, deployment, service_account
from forebay_operator.desired.settings import fingerprint

PORT = 8080
RESOURCES = Resources(requests={"cpu": "100m", "memory": "64Mi"}, limits={"memory": "512Mi"})

# A pod that is told to end keeps serving for so long, because proxies learn late that it is gone.
LINGER_S = 5


def objects(source: WebhookSource, platform: Platform, versions: Versions = NO_VERSIONS) -> list[Object]:
    pods = deployment(source, platform, process(source, platform), versions)
    return [service_account(source, "ingest"), pods, service(source)]


def secrets(source: WebhookSource) -> tuple[SecretKeyRef, ...]:
    """What the endpoint checks signatures by, the tokens of handshakes and of the URL, and what opens the storage."""
    ingest = source.spec.ingest
    token, tokens = ingest.handshake.verify_token_secret_ref, ingest.url_token.secret_refs if ingest.url_token else ()
    return (*ingest.verification.secret_refs, *([token] if token else ()), *tokens, *storage_credentials(source))


def awaited(source: WebhookSource) -> tuple[SecretKeyRef, ...]:
    """What the provider sends itself, so that pods run without it at first."""
    verification = source.spec.ingest.verification
    return verification.secret_refs if verification.capture else ()


def storage_credentials(source: WebhookSource) -> tuple[SecretKeyRef, ...]:
    """What opens the object storage of large bodies, for endpoint and workers alike."""
    given = source.spec.storage and source.spec.storage.credentials_secret_ref
    return (given,) if given else ()


def replicas(source: WebhookSource) -> int:
    """How many pods there are, if no autoscaler says."""
    given = source.spec.ingest.replicas
    return INGESTS if given is None else given


def most(source: WebhookSource) -> int:
    """How many pods there may ever be."""
    scaling = source.spec.ingest.autoscaling
    return scaling.max_replicas if scaling else replicas(source)


def process(source: WebhookSource, platform: Platform) -> Process:
    ingest, settings = source.spec.ingest, ingest_settings(source, platform)
    return Process(
        component="ingest",
        name=ingest_name(source),
        image=platform.ingest_image,
        command="forebay-ingest",
        settings_key="ingest.json",
        settings_hash=fingerprint(dump(settings)),
        secrets=secrets(source),
        optional=frozenset(ref.name for ref in awaited(source)),
        spool_bytes=source.spec.storage.spool if source.spec.storage else None,
        named=ingest.outage_buffer is not None,
        ports=({"name": "http-ingest", "containerPort": PORT, "protocol": "TCP"},),
        replicas=None if ingest.autoscaling else replicas(source),
        grace_s=LINGER_S + round(settings.drain_s) + 5,
        linger_s=LINGER_S,
        resources=ingest.resources or RESOURCES,
        template=ingest.pod_template or PodTemplate(),
    )


def service(source: WebhookSource) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(source, ingest_name(source), "ingest"),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(source, "ingest"),
            "ports": [{"name": "http-ingest", "port": 80, "targetPort": "http-ingest", "protocol": "TCP"}],
        },
    }
