"""How many pods run, by load: KEDA's ScaledObject for workers where KEDA is, else a HorizontalPodAutoscaler by CPU.

The number of pods is then the autoscaler's: a Deployment that has one does not say `replicas`.
"""

from forebay.source import WebhookSource
from forebay.source.cluster import Autoscaling, IngestAutoscaling
from forebay_operator.desired import keda
from forebay_operator.desired.lanes import queue_names
from forebay_operator.desired.metadata import Component, Object, ingest_name, metadata, worker_name
from forebay_operator.desired.platform import Platform

CPU_PERCENT = 70

# As prometheus-adapter names the rate of forebay_ingest_accepted_total by its default rules.
REQUESTS_METRIC = "forebay_ingest_accepted"


def objects(source: WebhookSource, platform: Platform) -> list[Object]:
    return [*_endpoint(source), *_workers(source, platform)]


def _endpoint(source: WebhookSource) -> list[Object]:
    scaling = source.spec.ingest.autoscaling
    if scaling is None:
        return []
    return [
        _autoscaler(source, ingest_name(source), "ingest", None, scaling=scaling, metrics=_endpoint_metrics(scaling))
    ]


def _workers(source: WebhookSource, platform: Platform) -> list[Object]:
    scaling = source.spec.worker.autoscaling
    if scaling is None:
        return []
    if keda.is_there(platform):
        return keda.objects(source, scaling)
    metrics = [_cpu(scaling.target_cpu_percent or CPU_PERCENT)]
    return [
        _autoscaler(source, worker_name(source, queue), "worker", queue, scaling=scaling, metrics=metrics)
        for queue in queue_names(source)
    ]


def _autoscaler(
    source: WebhookSource,
    name: str,
    component: Component,
    queue: str | None,
    *,
    scaling: Autoscaling,
    metrics: list[Object],
) -> Object:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(source, name, component, queue),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            # By CPU it could not come back from 0: a pod that is not there uses none.
            "minReplicas": max(1, scaling.min_replicas),
            "maxReplicas": scaling.max_replicas,
            "metrics": metrics,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": round(scaling.cooldown)}},
        },
    }


def _endpoint_metrics(scaling: IngestAutoscaling) -> list[Object]:
    """The one that asks for more pods wins."""
    percent = scaling.target_cpu_percent
    if percent is None and scaling.target_requests_per_second is None:
        percent = CPU_PERCENT
    found = [] if percent is None else [_cpu(percent)]
    if scaling.target_requests_per_second is not None:
        target = {"type": "AverageValue", "averageValue": str(scaling.target_requests_per_second)}
        found.append({"type": "Pods", "pods": {"metric": {"name": REQUESTS_METRIC}, "target": target}})
    return found


def _cpu(percent: int) -> Object:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}
