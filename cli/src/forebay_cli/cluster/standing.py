"""How a source on a cluster stands: what one look at it means, and what to do next. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from forebay_cli.cluster.api import Object
from forebay_cli.cluster.look import Look
from forebay_cli.holding import Held, held
from forebay_cli.waits import Waits, waits
from forebay_cli.where import KUBECTL, Cluster
from forebay_operator.desired.metadata import QUEUE_LABEL

# In the order of a webhook's way; what is not among them comes last.
_ORDER = (
    "Ready", "Accepted", "TopologyReady", "IngestAvailable", "RouteReady", "WorkersAvailable",
    "SecretCaptured", "DestinationReachable", "MonitoringReady", "DeadLettered", "Reconciling", "Stalled",
)  # fmt: skip
# Of these, being false is how it should be.
_BAD = frozenset({"DeadLettered", "Reconciling", "Stalled"})
_PATIENCE_S = 60  # for an operator to see a change
_COMMAND = re.compile(r"\b(kubectl [^;]+?)[.]?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One statement of the operator."""

    type: str
    status: str
    reason: str
    message: str
    age_s: float | None

    @property
    def well(self) -> bool:
        return self.status == ("False" if self.type in _BAD else "True")


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A Deployment and what scales it."""

    name: str
    ready: int
    wanted: int
    scaler: str = ""  # such as "HPA 2-10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One look, understood. What could not be seen is None; counters are since the pods' last starts."""

    name: str
    namespace: str
    url: str | None
    provider: str
    destination: str
    broker: str | None
    suspend: str
    age_s: float | None
    generation: int
    observed_generation: int | None
    deleting_s: float | None  # for how long
    conditions: tuple[Condition, ...]
    received: int | None  # requests, refused ones too
    accepted: int | None
    delivered: int | None
    retried: int | None
    queued: int | None
    dead: int | None
    retained: tuple[str, ...] = ()  # queues that are gone from the spec and not from the broker
    refused: Mapping[str, int] = field(default_factory=dict)  # by cause
    duplicates: int = 0  # answered 2xx and not delivered again
    buffered: int = 0  # in the outage buffer, until the broker is back
    dead_reasons: Mapping[str, int] = field(default_factory=dict)
    waits: Waits = field(default_factory=Waits)
    held: Held = field(default_factory=dict)
    children: tuple[Child, ...]
    unseen: tuple[str, ...]

    def condition(self, type_: str) -> Condition | None:
        return next((condition for condition in self.conditions if condition.type == type_), None)


def standing(seen: Look) -> Standing:
    """What a look means."""
    source, status = seen.source, seen.source.get("status") or {}
    metadata, spec = source["metadata"], source["spec"]
    return Standing(
        name=metadata["name"],
        namespace=metadata["namespace"],
        url=status.get("url"),
        provider=spec["ingest"]["verification"].get("provider", "?"),
        destination=_destination(spec.get("worker", {})),
        broker=status.get("broker"),
        suspend=spec.get("suspend", "None"),
        age_s=age_s(metadata.get("creationTimestamp"), seen.now),
        generation=metadata.get("generation", 1),
        observed_generation=status.get("observedGeneration"),
        deleting_s=age_s(metadata.get("deletionTimestamp"), seen.now),
        conditions=tuple(sorted((_condition(c, seen.now) for c in status.get("conditions", ())), key=_rank)),
        queued=status.get("queued"),
        dead=status.get("dead"),
        retained=tuple(status.get("retained", ())),
        children=tuple(_children(seen)),
        unseen=seen.unseen,
        **_counted(seen),
    )


def next_step(now: Standing, cluster: Cluster) -> str:
    """What a person would do next: a command where there is one."""
    place = " ".join((now.name, "-n", now.namespace, *cluster.flags))
    ready = now.condition("Ready")
    if now.deleting_s is not None:
        stuck = ready is None or now.deleting_s > 10 * _PATIENCE_S
        return f"{KUBECTL} {'doctor' if stuck else 'status --watch'} {place}"
    if ready is None or (now.observed_generation or 0) < now.generation:
        return f"{KUBECTL} doctor {place}"
    if not ready.well:
        resume = f"{KUBECTL} resume {place}"
        return resume if ready.reason == "Suspended" else _way_out(ready.message) or f"{KUBECTL} doctor {place}"
    return _while_ready(now, place)


def _while_ready(now: Standing, place: str) -> str:
    if (destination := now.condition("DestinationReachable")) and destination.status == "False":
        return f"{KUBECTL} tail {place}"
    if now.dead:
        return f"{KUBECTL} dlq list {place}"
    if now.refused.get("signature"):
        return "compare the signing secret with the provider's: some signatures did not verify"
    return f"{KUBECTL} {'send' if now.received == 0 else 'status --watch'} {place}"


def age_s(stamp: str | None, now: float) -> float | None:
    """Seconds since a time of the API server."""
    return None if stamp is None else max(0.0, now - datetime.fromisoformat(stamp).timestamp())


def age(seconds: float | None) -> str:
    """A span in the largest unit of which there are two."""
    if seconds is None:
        return "?"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:.0f}s"


def _way_out(message: str) -> str | None:
    """The command that a message ends with."""
    match = _COMMAND.search(message)
    return match[1].strip() if match else None


def _destination(worker: Mapping[str, Any]) -> str:
    if destination := worker.get("destination"):
        return str(destination.get("url", "?"))
    handler = worker.get("handler") or {}
    return f"handler {handler.get('target', '?')} of {handler.get('image', '?')}"


def _condition(said: Mapping[str, Any], now: float) -> Condition:
    return Condition(
        type=said["type"],
        status=said["status"],
        reason=said.get("reason", ""),
        message=said.get("message", ""),
        age_s=age_s(said.get("lastTransitionTime"), now),
    )


def _rank(condition: Condition) -> tuple[int, str]:
    known = condition.type in _ORDER
    return (_ORDER.index(condition.type) if known else len(_ORDER), condition.type)


def _counted(seen: Look) -> dict[str, Any]:
    metrics = seen.metrics
    if metrics is None:
        return {"received": None, "accepted": None, "delivered": None, "retried": None}
    accepted, refused = (metrics.total(f"forebay_ingest_{what}_total") for what in ("accepted", "refused"))
    duplicates = metrics.total("forebay_duplicates_total")
    return {
        "received": int(accepted + duplicates + refused),
        "duplicates": int(duplicates),
        "buffered": int(metrics.total("forebay_outage_buffer_webhooks")),
        "accepted": int(accepted),
        "delivered": int(metrics.total("forebay_delivery_attempts_total", outcome="delivered")),
        "retried": int(metrics.total("forebay_retries_total")),
        "refused": _positive(metrics.by("forebay_ingest_refused_total", "cause")),
        "dead_reasons": _positive(metrics.by("forebay_dead_letters_total", "reason")),
        "waits": waits(metrics),
        "held": held(metrics),
    }


def _positive(counts: Mapping[str, float]) -> dict[str, int]:
    return {name: int(count) for name, count in sorted(counts.items(), key=lambda one: -one[1]) if count}


def _children(seen: Look) -> Iterator[Child]:
    scalers = {_scaled(one): _scaler(one) for one in seen.autoscalers}
    for deployment in sorted(seen.deployments, key=_from_endpoint_to_workers):
        name = deployment["metadata"]["name"]
        yield Child(
            name=name,
            ready=deployment.get("status", {}).get("availableReplicas", 0),
            wanted=deployment["spec"].get("replicas", 1),
            scaler=scalers.get(name, ""),
        )


def _from_endpoint_to_workers(deployment: Object) -> tuple[bool, str]:
    labels = deployment["metadata"].get("labels", {})
    return QUEUE_LABEL in labels, deployment["metadata"]["name"]


def _scaled(scaler: Object) -> str:
    return str(scaler["spec"]["scaleTargetRef"]["name"])


def _scaler(scaler: Object) -> str:
    spec = scaler["spec"]
    if "maxReplicaCount" in spec or "triggers" in spec:
        low, high, kind = spec.get("minReplicaCount", 0), spec.get("maxReplicaCount", 100), "KEDA"
    else:
        low, high, kind = spec.get("minReplicas", 1), spec["maxReplicas"], "HPA"
    ill = next((said for said in map(_complaint, scaler.get("status", {}).get("conditions", ())) if said), "")
    return f"{kind} {low}-{high}{f': {ill}' if ill else ''}"


def _complaint(condition: Mapping[str, Any]) -> str:
    """What a scaler that can not do its work says."""
    needed = condition["type"] in ("AbleToScale", "ScalingActive", "Ready")
    # An HPA of a Deployment with no replicas is off, which is how it should be.
    at_rest = condition.get("reason") == "ScalingDisabled"
    return str(condition.get("message", "")) if needed and condition["status"] == "False" and not at_rest else ""
