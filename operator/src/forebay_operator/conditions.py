"""What is said about a source: a chain of small checks over what was observed. Pure; the clock is a parameter.

Each check says one thing of one part. Ready is true if all parts say so on which a webhook depends that is sent now; else it
has the first one's reason. Reasons are stable words, messages end with the next step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from forebay.source import WebhookSource
from forebay.source.perishable import goes_with_pod
from forebay_operator.world import Progress

Truth = Literal["True", "False", "Unknown"]


class Verdict(NamedTuple):
    """One statement, without its time."""

    status: Truth
    reason: str
    message: str


class Trouble(NamedTuple):
    """Why something is not as it should be."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """How far the secrets have come that a provider sends in its handshake."""

    empty: tuple[str, ...]  # places that wait for one: NAME/KEY of Secrets
    filled: int
    last: str = ""  # when the last one came, and from whom
    closed: str | None = None  # since when none is taken any more, and what to do
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that conditions depend on besides the source itself."""

    unaccepted: Trouble | None = None  # what a person has to change before anything goes on
    topology: Trouble | None = None  # what the broker does not hold yet
    outdated_broker: str | None = None  # its version, if it has known faults
    capture: Capture | None = None  # None: the source captures no secret
    children: Trouble | None = None  # a child that the API server does not take
    ingest: Progress | None = None  # None: there is no such Deployment yet
    workers: Mapping[str, Progress] = field(default_factory=dict)  # by queue
    route: Progress | None = None
    missing_api: str | None = None  # of what spec asks for explicitly
    monitored: bool = False
    dead: int | None = None  # None: not counted yet
    breaker_notes: int | None = None  # of workers whose circuit breakers are not closed; None: not counted yet
    retiring: str | None = None  # what is waited for before a deleted source goes


def conditions(source: WebhookSource, observed: Observed) -> dict[str, Verdict]:
    """Every condition of the source, by type."""
    checked = {name: check(source, observed) for name, check in _CHECKS.items()}
    found = {name: verdict for name, verdict in checked.items() if verdict is not None}
    ready = _ready(found)
    return {"Ready": ready, **found, **_progressing(observed, ready)}


def refused(message: str) -> dict[str, Verdict]:
    """The conditions of a source whose spec can not be used."""
    no = Verdict("False", "InvalidSpec", message)
    return {
        "Ready": no,
        "Accepted": no,
        "Reconciling": Verdict("False", "InvalidSpec", "Waits for another spec."),
        "Stalled": Verdict("True", "InvalidSpec", message),
    }


def dated(
    verdicts: Mapping[str, Verdict], before: Sequence[Mapping[str, Any]], generation: int | None, now: str
) -> list[dict[str, Any]]:
    """Conditions as the status has them; the time is that of the last change between true, false and unknown."""
    old = {condition["type"]: condition for condition in before}
    return [
        {
            "type": name,
            "status": verdict.status,
            "reason": verdict.reason,
            "message": verdict.message[:4000],
            "lastTransitionTime": (
                old[name]["lastTransitionTime"] if name in old and old[name]["status"] == verdict.status else now
            ),
            **({} if generation is None else {"observedGeneration": generation}),
        }
        for name, verdict in verdicts.items()
    ]


def _accepted(source: WebhookSource, observed: Observed) -> Verdict:
    if observed.unaccepted:
        return Verdict("False", *observed.unaccepted)
    if observed.children:
        return Verdict("False", *observed.children)
    valid = "The spec is valid and what it refers to is there."
    if passing := goes_with_pod(source):
        return Verdict("True", "OutageBufferGoesWithPod", f"{valid} But {passing}.")
    return Verdict("True", "Accepted", valid)


def _topology(_source: WebhookSource, observed: Observed) -> Verdict:
    if observed.topology:
        return Verdict("False", *observed.topology)
    if observed.unaccepted:
        return Verdict("Unknown", observed.unaccepted.reason, "The broker was not looked at: see Accepted.")
    if observed.outdated_broker:
        return Verdict(
            "True",
            "OutdatedBroker",
            f"RabbitMQ {observed.outdated_broker} has known faults in confirms and quorum queues: upgrade it to 4.0.8, 4.1.5, "
            "4.2.7, 4.3.3 or newer.",
        )
    return Verdict("True", "Declared", "Exchange, queues, bindings and users are on the broker.")


def _ingest(source: WebhookSource, observed: Observed) -> Verdict:
    if source.spec.suspend in ("Ingest", "All"):
        return Verdict("False", "Suspended", "The endpoint answers 503, as spec.suspend says.")
    progress = observed.ingest
    if progress is None:
        return Verdict("False", "NotCreated", "There is no Deployment of the endpoint yet.")
    if progress.ready:
        return Verdict("True", "Available", f"{progress.ready} of {progress.wanted} ingest pods take webhooks.")
    return Verdict("False", "Unavailable", f"No ingest pod is ready. {_why(progress, source, 'ingest')}")


def _route(source: WebhookSource, observed: Observed) -> Verdict:
    expose = source.spec.ingest.expose
    if expose is None or not (expose.http_route or expose.ingress):
        return Verdict("True", "NotExposed", "Only the Service inside the cluster leads to the endpoint.")
    if observed.missing_api:
        return Verdict(
            "False",
            "ApiMissing",
            f"The cluster has no {observed.missing_api}: install Gateway API, or expose by ingress.",
        )
    route = observed.route
    if route is None:
        return Verdict("False", "NotCreated", "The route is not there yet.")
    if expose.http_route and route.accepted is None:
        return Verdict(
            "Unknown", "Pending", "No gateway has said whether it accepts the HTTPRoute: is its controller running?"
        )
    if route.accepted is False:
        return Verdict("False", "RouteNotAccepted", route.message)
    return Verdict("True", "Accepted", "The route leads to the endpoint.")


def _workers(source: WebhookSource, observed: Observed) -> Verdict:
    if source.spec.suspend in ("Workers", "All"):
        return Verdict(
            "False", "Suspended", "Nothing is delivered, as spec.suspend says; webhooks wait in their queues."
        )
    if not observed.workers:
        return Verdict("False", "NotCreated", "There is no Deployment of workers yet.")
    idle = {queue: p for queue, p in observed.workers.items() if p.wanted and not p.ready}
    if idle:
        queue, progress = next(iter(sorted(idle.items())))
        return Verdict(
            "False", "Unavailable", f"No worker of queue {queue} is ready. {_why(progress, source, 'worker')}"
        )
    scaling = source.spec.worker.autoscaling
    if scaling is not None and scaling.unrest:
        return Verdict("True", "ShortCooldown", f"Workers come as there is work. But {scaling.unrest}.")
    if not any(progress.wanted for progress in observed.workers.values()):
        return Verdict("True", "ScaledToZero", "No worker runs; one starts when a webhook waits.")
    return Verdict("True", "Available", "Every queue has a worker that delivers.")


def _monitoring(_source: WebhookSource, observed: Observed) -> Verdict:
    if observed.monitored:
        return Verdict("True", "Applied", "Prometheus is told where to scrape and when to call somebody.")
    return Verdict(
        "False",
        "ApiMissing",
        "The cluster has no prometheus-operator: nobody is called when webhooks are refused or die.",
    )


def _dead(source: WebhookSource, observed: Observed) -> Verdict:
    if observed.dead is None:
        return Verdict("Unknown", "NotCounted", "The broker has not been asked yet.")
    if observed.dead:
        return Verdict(
            "True",
            "DeadLetters",
            f"{observed.dead} dead letters wait: kubectl forebay dlq list {source.name} -n {source.namespace}",
        )
    return Verdict("False", "Empty", "There are no dead letters.")


def _reachable(source: WebhookSource, observed: Observed) -> Verdict | None:
    """Nothing where nobody watches the destination."""
    if source.spec.worker.circuit_breaker is None:
        return None
    if observed.breaker_notes is None:
        return Verdict("Unknown", "NotCounted", "The broker has not been asked yet.")
    if observed.breaker_notes:
        return Verdict(
            "False",
            "BreakerOpen",
            "Most attempts fail, so next to none are made: webhooks are taken in and wait in their queues. "
            f"What the destination answers: kubectl forebay tail {source.name} -n {source.namespace}",
        )
    return Verdict("True", "BreakersClosed", "No worker holds back because most of its attempts fail.")


def _captured(source: WebhookSource, observed: Observed) -> Verdict | None:
    """Nothing where the provider sends no secret."""
    capture = observed.capture
    if capture is None:
        return None
    provider, last = source.spec.ingest.verification.provider, capture.last and f" The last one came {capture.last}."
    if capture.trouble:
        return Verdict("False", *capture.trouble)
    if not capture.empty:
        return Verdict("True", "Captured", f"What {provider} signs with is in its Secret.{last}")
    if capture.closed:
        return _closed(provider, last, capture)
    where = f"Make the webhook at {provider}: the secret that it sends goes into Secret {capture.empty[0]}."
    if not capture.filled:
        return Verdict("False", "WaitingForHandshake", f"Waits for the provider's handshake. {where}")
    return Verdict(
        "True", "WaitingForAnother", f"Waits for another handshake, until then for strangers' too. {where}{last}"
    )


def _closed(provider: str, last: str, capture: Capture) -> Verdict:
    without = f"Secret {capture.empty[0]} has no value. {capture.closed}."
    if capture.filled:
        return Verdict("True", "Captured", f"What {provider} signs with is in its Secret.{last} {without}")
    return Verdict("False", "CaptureClosed", f"{without} Then make the webhook at {provider}.")


_CHECKS: dict[str, Callable[[WebhookSource, Observed], Verdict | None]] = {
    "Accepted": _accepted,
    "TopologyReady": _topology,
    "IngestAvailable": _ingest,
    "RouteReady": _route,
    "WorkersAvailable": _workers,
    "SecretCaptured": _captured,
    "DestinationReachable": _reachable,
    "MonitoringReady": _monitoring,
    "DeadLettered": _dead,
}

# In the order in which they can be mended. How the destination is doing is not among them: it is not Forebay's to mend, and what
# is accepted meanwhile is delivered when it is well.
_NEEDED = ("Accepted", "TopologyReady", "IngestAvailable", "RouteReady", "WorkersAvailable", "SecretCaptured")

# What no waiting mends.
_FOR_A_PERSON = frozenset(
    {
        "InvalidSpec", "SecretMissing", "CaptureClosed", "BrokerMissing", "BrokerSecretMissing", "BrokerSecretInvalid", "BrokerRefused",
        "NotAllowed", "SecretNotAllowed", "SecretRefused", "AddressTaken", "NameTaken", "ChildRefused", "QueueInequivalent", "ApiMissing", "RouteNotAccepted",
    }
)  # fmt: skip


def _ready(found: Mapping[str, Verdict]) -> Verdict:
    for name in _NEEDED:
        if name in found and found[name].status != "True":
            return Verdict("False", found[name].reason, found[name].message)
    return Verdict("True", "Ready", "A webhook sent now is accepted, queued and delivered.")


def _progressing(observed: Observed, ready: Verdict) -> dict[str, Verdict]:
    """What kstatus looks at: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md."""
    if observed.retiring:
        return {
            "Reconciling": Verdict("True", "Deleting", observed.retiring),
            "Stalled": Verdict("False", "Deleting", "The source is being deleted."),
        }
    stalled = ready.reason in _FOR_A_PERSON
    rolling = any(p is not None and not p.rolled_out for p in (observed.ingest, *observed.workers.values()))
    working = not stalled and ready.reason != "Suspended" and (ready.status != "True" or rolling)
    return {
        "Reconciling": Verdict(
            "True" if working else "False", ready.reason, ready.message if working else "Nothing is under way."
        ),
        "Stalled": Verdict(
            "True" if stalled else "False", ready.reason, ready.message if stalled else "Nothing is stuck."
        ),
    }


def _why(progress: Progress, source: WebhookSource, component: str) -> str:
    if progress.message:
        return progress.message
    if not progress.wanted:
        return "None is wanted: replicas is 0."
    labels = f"forebay.dev/source={source.name},app.kubernetes.io/component={component}"
    return f"See: kubectl describe pods -n {source.namespace} -l {labels}"
