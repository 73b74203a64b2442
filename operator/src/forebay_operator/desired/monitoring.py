"""How Prometheus finds the pods of a source, where prometheus-operator is there to tell it."""

from forebay.source import WebhookSource
from forebay_operator.desired.metadata import SOURCE_LABEL, Object, metadata
from forebay_operator.desired.platform import POD_MONITOR, Platform


def objects(source: WebhookSource, platform: Platform) -> list[Object]:
    if POD_MONITOR not in platform.apis:
        return []
    own = metadata(source, source.name)
    own["labels"] = {**(source.spec.monitoring.labels or {}), **own["labels"]}
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PodMonitor",
            "metadata": own,
            "spec": {
                "selector": {"matchLabels": {SOURCE_LABEL: source.name}},
                "podMetricsEndpoints": [{"port": "http-admin", "path": "/metrics"}],
            },
        }
    ]
