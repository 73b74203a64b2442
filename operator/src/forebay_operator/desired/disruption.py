"""How many pods of a source a drain of nodes may take at once: a PodDisruptionBudget where there are several.

There is none for a single pod. A budget can only hold it fast, which stops the drain, and nothing is lost when it goes: the
provider sends again, or the webhooks wait in their queue until another worker is up.
"""

from forebay.source import WebhookSource
from forebay_operator.desired import ingest, worker
from forebay_operator.desired.lanes import queue_names
from forebay_operator.desired.metadata import Component, Object, ingest_name, metadata, selector, worker_name


def objects(source: WebhookSource) -> list[Object]:
    endpoint = [_budget(source, ingest_name(source), "ingest", None, 1)] if ingest.most(source) > 1 else []
    # Webhooks wait in the queue for a worker; half of them may go at once. Of 3 that is 2, of 1 that is 1.
    queues = [queue for queue in queue_names(source) if worker.most(source, queue) > 1]
    return [*endpoint, *(_budget(source, worker_name(source, queue), "worker", queue, "50%") for queue in queues)]


def _budget(
    source: WebhookSource, name: str, component: Component, queue: str | None, unavailable: int | str
) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(source, name, component, queue),
        "spec": {
            "maxUnavailable": unavailable,
            # A pod that is not ready serves nobody; it is no reason to keep its node.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(source, component, queue)},
        },
    }
