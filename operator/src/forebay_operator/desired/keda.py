"""How many workers run, by what is in their queue: a ScaledObject of KEDA for each queue, and its login at the broker.

KEDA asks the broker's management API (https://keda.sh/docs/latest/scalers/rabbitmq-queue/), because only there it hears of
webhooks in delivery: a worker takes what it can hold out of the queue, so that by what waits alone a busy worker is idle.
The rate at which webhooks come is no measure: how many a second one worker can deliver is up to the destination.
"""

import re

from forebay.source import WebhookSource
from forebay.source.cluster import KEDA_LOOKS_S, WorkerAutoscaling
from forebay.topology import Names
from forebay_operator.desired.lanes import lanes_of, leaving_of, queue_names
from forebay_operator.desired.metadata import Object, account_name, broker_secret, metadata, worker_name
from forebay_operator.desired.platform import SCALED_OBJECT, TRIGGER_AUTHENTICATION, Platform
from forebay_operator.desired.worker_settings import concurrency

# Rounds of deliveries that one worker may have before it.
ROUNDS = 10
# Looks in a row that fail before KEDA goes by what is wanted without measure.
FAILURES = 3


def is_there(platform: Platform) -> bool:
    return {SCALED_OBJECT, TRIGGER_AUTHENTICATION} <= platform.apis


def objects(source: WebhookSource, scaling: WorkerAutoscaling) -> list[Object]:
    scaled = (_scaled_object(source, queue, scaling) for queue in queue_names(source))
    return [_authentication(source), *scaled]


def _authentication(source: WebhookSource) -> Object:
    """The workers' own user, which may see the queues."""
    target = {"parameter": "host", "name": broker_secret(source, "worker"), "key": "management"}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": metadata(source, account_name(source, "worker"), "worker"),
        "spec": {"secretTargetRef": [target]},
    }


def _scaled_object(source: WebhookSource, queue: str, scaling: WorkerAutoscaling) -> Object:
    name, cooldown_s = worker_name(source, queue), round(scaling.cooldown)
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {**metadata(source, name, "worker", queue), **_pause(source)},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicaCount": scaling.min_replicas,
            "maxReplicaCount": scaling.max_replicas,
            "pollingInterval": KEDA_LOOKS_S,
            "cooldownPeriod": cooldown_s,  # from the last process to none
            "advanced": {
                "horizontalPodAutoscalerConfig": {
                    "behavior": {"scaleDown": {"stabilizationWindowSeconds": cooldown_s}}  # between any others
                }
            },
            # While the broker does not answer: no fewer than there are, so that a backlog goes on being delivered.
            "fallback": {
                "failureThreshold": FAILURES,
                "replicas": max(1, scaling.min_replicas),
                "behavior": "currentReplicasIfHigher",
            },
            "triggers": [_by_queue(source, queue, scaling), *_by_cpu(scaling)],
        },
    }


def _pause(source: WebhookSource) -> Object:
    """Workers that are told to rest do not get more by what piles up meanwhile."""
    resting = source.spec.suspend in ("Workers", "All")
    return {"annotations": {"autoscaling.keda.sh/paused": "true"}} if resting else {}


def _by_queue(source: WebhookSource, queue: str, scaling: WorkerAutoscaling) -> Object:
    target = scaling.target_queue_length or ROUNDS * concurrency(source, queue)
    return {
        "type": "rabbitmq",
        "metadata": {
            "protocol": "http",
            **_queues(source, queue),
            "mode": "QueueLength",
            "value": str(target),
            "excludeUnacknowledged": "false",
        },
        "authenticationRef": {"name": account_name(source, "worker")},
    }


def _queues(source: WebhookSource, queue: str) -> dict[str, str]:
    """The queue, or the queue and its lanes together."""
    name = Names(source.namespace, source.name).queue(queue)
    lanes = (*lanes_of(source, queue), *leaving_of(source, queue))
    if not lanes:
        return {"queueName": name}
    pattern = f"^{re.escape(name)}(:[a-z0-9]+)?$"
    return {"queueName": pattern, "useRegex": "true", "operation": "sum", "pageSize": str(len(lanes) + 1)}


def _by_cpu(scaling: WorkerAutoscaling) -> list[Object]:
    if scaling.target_cpu_percent is None:
        return []
    value = {"value": str(scaling.target_cpu_percent)}
    return [{"type": "cpu", "metricType": "Utilization", "metadata": value}]
