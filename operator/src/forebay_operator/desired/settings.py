"""The ConfigMap with what the source's processes are told: what forebay.settings reads, with every default resolved."""

import hashlib

from forebay import settings
from forebay.source import WebhookSource
from forebay_operator.desired.ingest_settings import ingest_settings
from forebay_operator.desired.lanes import queue_names
from forebay_operator.desired.metadata import Object, metadata, settings_name
from forebay_operator.desired.platform import Platform
from forebay_operator.desired.worker_settings import worker_settings


def objects(source: WebhookSource, platform: Platform) -> list[Object]:
    """The ConfigMap with the settings of all processes of the source. There is no secret in it."""
    data = {"ingest.json": settings.dump(ingest_settings(source, platform))}
    for queue in queue_names(source):
        data[worker_file(queue)] = settings.dump(worker_settings(source, queue, platform))
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(source, settings_name(source)), "data": data}
    ]


def worker_file(queue: str) -> str:
    """The key of a queue's settings in the ConfigMap."""
    return f"worker-{queue}.json"


def fingerprint(text: str) -> str:
    """Of settings, for the pod template: what pods read once needs other pods when it changes."""
    return hashlib.sha256(text.encode()).hexdigest()
