"""What of a source decides its place on the broker."""

from forebay.source import WebhookSource
from forebay.topology import Names, Retention, SourceTopology
from forebay_operator.desired.lanes import lanes_of, queue_names
from forebay_operator.desired.worker_settings import paces


def source_topology(source: WebhookSource) -> SourceTopology:
    """The source's queues, their lanes, the retention of its dead letters, what paces its deliveries, and how long it remembers what came."""
    retention, deduplication = source.spec.dead_letter.retention, source.spec.ingest.deduplication
    queues = queue_names(source)
    return SourceTopology(
        names=Names(source.namespace, source.name),
        queues=queues,
        lanes=tuple(lane for queue in queues for lane in lanes_of(source, queue)),
        ordered=source.spec.worker.ordering is not None,
        retention=Retention(
            age_s=None if retention.age is None else round(retention.age), count=retention.count, bytes=retention.bytes
        ),
        paces=paces(source),
        breaker=source.spec.worker.circuit_breaker is not None,
        seen_s=round(deduplication.window) if deduplication else None,
    )
