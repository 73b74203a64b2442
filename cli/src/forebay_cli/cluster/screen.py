"""How a source on a cluster stands, for people and for scripts. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from forebay_cli.cluster.api import Object
from forebay_cli.cluster.standing import Condition, Standing, age, age_s, next_step
from forebay_cli.drawing import branches, facts, listed, number, way
from forebay_cli.holding import said
from forebay_cli.waits import in_sentences
from forebay_cli.where import Cluster


def screen(now: Standing, cluster: Cluster) -> RenderableType:
    """A source, as a person reads it."""
    refused = None if now.received is None else sum(now.refused.values())
    return Group(
        *_heading(now),
        Text(),
        way(received=now.received, queued=now.queued, delivered=now.delivered),
        Text(),
        branches(refused, ("retried", now.retried, ""), now.dead),
        Text(),
        *_conditions(now),
        facts(_facts(now)),
        Text(),
        Text.assemble("next: ", (next_step(now, cluster), "green"), overflow="fold"),
    )


def as_json(now: Standing, cluster: Cluster) -> dict[str, Any]:
    """The same for scripts."""
    return {**asdict(now), "next": next_step(now, cluster)}


def table(sources: Sequence[Object], now: float, *, everywhere: bool) -> RenderableType:
    """All sources, a line each."""
    columns = (
        *(("NAMESPACE",) if everywhere else ()),
        "NAME",
        "READY",
        "REASON",
        "WORKERS",
        "QUEUED",
        "DEAD",
        "AGE",
        "URL",
    )
    grid = Table(*columns, box=None, pad_edge=False)
    for source in sources:
        row = summary(source, now)
        place = (row["namespace"],) if everywhere else ()
        shown = (
            row["name"], Text(row["ready"], "green" if row["ready"] == "True" else "yellow"), row["reason"], row["workers"],
            number(row["queued"]), Text(number(row["dead"]), "red" if row["dead"] else ""), age(row["age_s"]), row["url"],
        )  # fmt: skip
        grid.add_row(*place, *shown)
    return grid


def summary(source: Object, now: float) -> dict[str, Any]:
    """What a list says of a source."""
    metadata, status = source["metadata"], source.get("status") or {}
    ready: Mapping[str, Any] = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})
    deleting = "deletionTimestamp" in metadata
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "ready": ready.get("status", "Unknown"),
        "reason": "Deleting" if deleting else ready.get("reason", "NotSeen"),
        "workers": status.get("workers", "?"),
        "queued": status.get("queued"),
        "dead": status.get("dead"),
        "age_s": age_s(metadata.get("creationTimestamp"), now),
        "url": status.get("url", ""),
    }


def _heading(now: Standing) -> Iterator[RenderableType]:
    yield Text.assemble(
        (now.name, "bold"), " in ", (now.namespace, "bold"), "  ", now.url or "no URL yet", overflow="fold"
    )
    broker = f", broker {now.broker}" if now.broker else ""
    yield Text(f"{now.provider} to {now.destination}{broker}, {age(now.age_s)} old", style="dim", overflow="fold")
    if now.deleting_s is not None:
        yield Text(f"is being deleted, for {age(now.deleting_s)} now", style="yellow")
    if now.suspend != "None":
        yield Text(f"rests: spec.suspend is {now.suspend}", style="yellow")
    if now.observed_generation is not None and now.observed_generation < now.generation:
        yield Text("the operator has not seen the last change of the spec yet", style="yellow")


def _conditions(now: Standing) -> Iterator[RenderableType]:
    if not now.conditions:
        yield Text("The operator has said nothing about it yet.", style="yellow")
        yield Text()
        return
    grid = Table.grid(padding=(0, 2))
    for width in (None, None, None, None):
        grid.add_column(no_wrap=True, min_width=width)
    grid.add_column(overflow="fold")
    for condition in now.conditions:
        style = "" if condition.well else "dim" if condition.type == "MonitoringReady" else "yellow"
        # What is well needs no sentence.
        said = "" if condition.well and condition.type != "Ready" else condition.message
        cells = (_mark(condition), condition.type, condition.reason, age(condition.age_s), said)
        grid.add_row(*(Text(cell, style) for cell in cells))
    yield grid
    yield Text()


def _mark(condition: Condition) -> str:
    return "ok" if condition.well else "??" if condition.status == "Unknown" else "--"


def _facts(now: Standing) -> Iterator[tuple[str, str]]:
    if now.refused:
        yield "refused", listed(now.refused)
    if now.duplicates:
        yield "duplicates", f"{now.duplicates:,} were answered and not delivered again"
    if now.buffered:
        yield "outage", f"{now.buffered:,} accepted webhooks wait in the outage buffer for the broker"
    yield from in_sentences(now.waits)
    if now.held:
        yield "holds", said(now.held)
    if now.dead_reasons:
        yield "died of", f"{listed(now.dead_reasons)}, since the pods started"
    if now.retained:
        yield "leaving", f"{', '.join(now.retained)}: gone from the spec, and emptied before it goes from the broker"
    for child in now.children:
        yield "pods", f"{child.name} {child.ready} of {child.wanted} ready{f', {child.scaler}' if child.scaler else ''}"
    for missing in now.unseen:
        yield "not seen", missing
