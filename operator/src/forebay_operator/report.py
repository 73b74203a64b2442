"""What people are told: the source's status, written only when it says something new, and few Events."""

import time
from typing import Any

from forebay.errors import ForebayError
from forebay.source import API_VERSION, KIND
from forebay_operator.cluster import Conflict, Missing, Object
from forebay_operator.conditions import Verdict, dated
from forebay_operator.context import Context
from forebay_operator.world import Key, Source

# Seconds between reports of nothing but other counts.
COUNTS_S = 15.0
_AGAIN_S = 2.0  # after a conflict with somebody who wrote at the same moment
_COUNTS = ("queued", "dead")
_EVENTFUL = ("Ready", "Accepted", "TopologyReady", "RouteReady", "DestinationReachable")
_ROUTINE = frozenset(
    {"Settling", "NotCreated", "Unavailable", "Suspended", "Pending", "NotCounted"}
)  # on the way from new to ready


def _stamp(now: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))


async def report(
    context: Context, key: Key, seen: Source, verdicts: dict[str, Verdict], facts: dict[str, Any]
) -> float | None:
    """Bring the source's status up to date, and tell of a change that matters by an Event.

    Gives the seconds after which what was left unsaid can be said, or what was edited meanwhile be heeded; None: nothing.
    """
    before = seen.body.get("status") or {}
    generation = seen.body["metadata"].get("generation")
    now = context.now()
    status = {
        "observedGeneration": generation,
        **{name: value for name, value in facts.items() if value is not None},
        "conditions": dated(verdicts, before.get("conditions", ()), generation, _stamp(now)),
    }
    if status == before:
        return None
    wait_s = COUNTS_S - (now - context.reported.get(key, 0.0))
    if _counts_only(status, before) and wait_s > 0:
        return wait_s
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": key.name, "namespace": key.namespace}}
    try:
        after = await context.cluster.apply_status({**body, "status": status})
    except Missing:
        return None  # it went meanwhile
    except Conflict:
        return _AGAIN_S
    context.reported[key] = now
    edited = context.world.see_answer(after)
    for name in _EVENTFUL:
        if name in verdicts and _changed(before, name, verdicts[name]):
            await _event(context, seen, name, verdicts[name])
    return 0.0 if edited else None


def _counts_only(status: Object, before: Object) -> bool:
    def rest(one: Object) -> Object:
        return {name: value for name, value in one.items() if name not in _COUNTS and name != "conditions"}

    def said(one: Object) -> list[tuple[str, str, str]]:
        return [(c["type"], c["status"], c["reason"]) for c in one.get("conditions", ())]

    return rest(status) == rest(before) and said(status) == said(before)


def _changed(before: Object, name: str, verdict: Verdict) -> bool:
    """Whether people would want to hear of it: a hindrance, its end, Ready and the loss of it; no roll call of the usual."""
    old = next((c for c in before.get("conditions", ()) if c["type"] == name), None)
    if old and (old["status"], old["reason"]) == (verdict.status, verdict.reason):
        return False
    if verdict.status == "True":
        return name == "Ready" or (old is not None and old["reason"] not in _ROUTINE)
    return verdict.reason not in _ROUTINE or (name == "Ready" and old is not None and old["status"] == "True")


async def _event(context: Context, seen: Source, about: str, verdict: Verdict) -> None:
    good = verdict.status == "True"
    await post_event(context, seen, "Normal" if good else "Warning", verdict.reason, f"{about}: {verdict.message}")


async def post_event(context: Context, seen: Source, kind: str, reason: str, message: str) -> None:
    """Post an Event about the source. That it can not be posted is no fault of the source."""
    metadata = seen.body["metadata"]
    now = _stamp(context.now())
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": kind,
        "reason": reason,
        "message": message[:1000],
        "source": {"component": "forebay-operator"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        await context.cluster.create(event)
    except ForebayError as error:
        context.log.debug("event not posted", source=f"{metadata['namespace']}/{metadata['name']}", error=str(error))
