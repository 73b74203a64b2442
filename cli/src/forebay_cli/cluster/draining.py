"""Waits until nothing of a source is in its queues any more, once its endpoint takes nothing in.

The operator counts queues every ten seconds and reports other counts at most every fifteen; so what it says is believed once
it has said nothing else for longer than that, after the last pod that could take webhooks in was told to end.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from forebay.errors import ForebayError, Rejected, Unavailable
from forebay.topology import TIERS, tier_queue
from forebay_cli.cluster import operators
from forebay_cli.cluster.api import DEPLOYMENTS, Api, Object
from forebay_cli.cluster.examination import broker_of
from forebay_cli.cluster.sources import find
from forebay_cli.where import Cluster
from forebay_operator.desired.metadata import SOURCE_LABEL

CALM_S = 30.0
_LOOK_S = 2.0

Step = Literal["closing", "emptying", "settling", "drained"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one look told."""

    closed: bool  # no pod of the endpoint takes webhooks in
    queued: int | None  # None: the operator has not counted
    dead: int | None


def step(seen: Seen, calm_s: float) -> Step:
    """How far it is, if it has looked like this for so many seconds."""
    if not seen.closed:
        return "closing"
    if seen.queued != 0:
        return "emptying"
    return "drained" if calm_s >= CALM_S else "settling"


def line(seen: Seen, now: Step) -> str:
    """The same for a person."""
    queued = "an unknown number" if seen.queued is None else f"{seen.queued:,}"
    match now:
        case "closing":
            return f"the endpoint's pods learn that they take nothing in; {queued} queued"
        case "emptying":
            return f"{queued} queued"
        case "settling":
            return "0 queued; waiting whether the broker says so again"
        case "drained":
            return "0 queued"


def seen(source: Object, deployments: list[Object] | None) -> Seen:
    """What a source and its Deployments tell. Raises Rejected if its queues can not become empty."""
    status = source.get("status") or {}
    suspend = source["spec"].get("suspend", "None")
    place = f"{source['metadata']['name']} -n {source['metadata']['namespace']}"
    if suspend == "All":
        raise Rejected(f"the workers rest, so nothing is delivered; kubectl forebay resume {place} --workers")
    if suspend != "Ingest":
        raise Rejected(
            f"somebody lets the endpoint take webhooks in again (spec.suspend is {suspend}); agree, then drain again"
        )
    told = {
        c["type"]: c["reason"]
        for c in status.get("conditions", ())
        if c.get("observedGeneration", 0) >= _generation(source)
    }
    ingest = [
        one for one in deployments or () if one["metadata"]["labels"].get("app.kubernetes.io/component") == "ingest"
    ]
    return Seen(
        closed=told.get("IngestAvailable") == "Suspended" and all(map(_rolled_out, ingest)),
        queued=status.get("queued"),
        dead=status.get("dead"),
    )


def _generation(source: Object) -> int:
    return int(source["metadata"].get("generation", 0))


def _rolled_out(deployment: Object) -> bool:
    """Whether all pods are of the last template, and those before are told to end."""
    status = deployment.get("status", {})
    seen_it = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return bool(seen_it and status.get("updatedReplicas", 0) == status.get("replicas", 0))


async def wait(api: Api, name: str, tell: Callable[[str], None], timeout_s: float | None) -> Seen:
    """Look until it is drained. Raises Unavailable if it is not in time, Rejected if it can not become so."""
    began = since = time.monotonic()
    before: Seen | None = None
    while True:
        source = await find(api, name)
        now = seen(source, await _deployments(api, source))
        if before is None or (now.closed, now.queued) != (before.closed, before.queued):
            since = time.monotonic()
        before = now
        reached = step(now, time.monotonic() - since)
        tell(line(now, reached))
        if reached == "drained":
            return now
        if timeout_s is not None and time.monotonic() - began > timeout_s:
            raise Unavailable(
                f"it is not drained yet: {line(now, reached)}; the endpoint stays closed, drain again to go on waiting"
            )
        await asyncio.sleep(_LOOK_S)


async def _deployments(api: Api, source: Object) -> list[Object] | None:
    metadata = source["metadata"]
    try:
        return await api.list(DEPLOYMENTS, metadata["namespace"], selector=f"{SOURCE_LABEL}={metadata['name']}")
    except ForebayError:
        return None  # then the operator's word has to do


async def retries(api: Api, cluster: Cluster, source: Object) -> int:
    """How many webhooks wait in the delay tiers, of all sources of the virtual host.

    The workers' login may not look at them (RabbitMQ 4.3 refuses it), so it takes the operator's. Raises Forbidden, Rejected or Unseen.
    """
    async with broker_of(api, cluster, source, await operators.seen(api)) as broker:
        queues = await broker.management.queues(broker.place.vhost)
    tiers = {tier_queue(tier) for tier in TIERS}
    return sum(queue.messages for queue in queues if queue.name in tiers)
