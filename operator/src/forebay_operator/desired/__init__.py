"""What a source becomes in a cluster: a list of objects, the same for the same source. Reads nothing, changes nothing.

One concern a module; a child that is not wanted is not in the list. The order is that of applying: what pods need comes
before the pods.
"""

from forebay.source import WebhookSource
from forebay_operator.desired import ingest, monitoring, settings, worker
from forebay_operator.desired.metadata import Object, broker_secret
from forebay_operator.desired.platform import Platform
from forebay_operator.desired.topology import source_topology

__all__ = ["Object", "Platform", "broker_secret", "desired", "source_topology"]


def desired(source: WebhookSource, platform: Platform) -> list[Object]:
    """Every object the source needs, as the API server takes them."""
    return [
        *settings.objects(source, platform),
        *ingest.objects(source, platform),
        *worker.objects(source, platform),
        *monitoring.objects(source, platform),
    ]
