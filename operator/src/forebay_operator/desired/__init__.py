"""What a source becomes in a cluster: a list of objects, the same for the same source. Reads nothing, changes nothing.

One concern a module; a child that is not wanted is not in the list. The order is that of applying: what pods need comes
before the pods.
"""

from forebay.source import WebhookSource
from forebay.source.references import SecretKeyRef
from forebay_operator.desired import (
    dashboard,
    disruption,
    exposure,
    ingest,
    monitoring,
    network,
    prometheus_rule,
    scaling,
    settings,
    worker,
)
from forebay_operator.desired.exposure import TOKEN, route, url, with_token
from forebay_operator.desired.metadata import Object, broker_secret
from forebay_operator.desired.platform import CHILD_KINDS, OPTIONAL_APIS, Platform
from forebay_operator.desired.pod import NO_VERSIONS, Versions
from forebay_operator.desired.topology import source_topology

__all__ = [
    "CHILD_KINDS",
    "OPTIONAL_APIS",
    "TOKEN",
    "Object",
    "Platform",
    "awaited_secrets",
    "broker_secret",
    "desired",
    "route",
    "secret_names",
    "source_topology",
    "url",
    "with_token",
]


def desired(source: WebhookSource, platform: Platform, versions: Versions = NO_VERSIONS) -> list[Object]:
    """Every object the source needs, as the API server takes them.

    `versions` are those of the Secrets that pods mount (name → resourceVersion): other versions need other pods.
    """
    return [
        *settings.objects(source, platform),
        *network.objects(source, platform),
        *ingest.objects(source, platform, versions),
        *exposure.objects(source, platform),
        *worker.objects(source, platform, versions),
        *scaling.objects(source, platform),
        *disruption.objects(source),
        *monitoring.objects(source, platform),
        *prometheus_rule.objects(source, platform),
        *dashboard.objects(source, platform),
    ]


def awaited_secrets(source: WebhookSource) -> tuple[SecretKeyRef, ...]:
    """The Secrets' keys that hold nothing until the provider has sent it in its handshake."""
    return ingest.awaited(source)


def secret_names(source: WebhookSource) -> tuple[str, ...]:
    """The Secrets of the source's namespace that its pods mount, besides the broker's."""
    refs = (*ingest.secrets(source), *worker.secrets(source))
    return tuple(sorted({ref.name for ref in refs}))
