"""What a person sees: a line while it goes on, tables at the end, each figure beside its bar."""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from bench import verdict
from bench.faults import pace
from bench.faults.ledger import Answer
from bench.faults.options import Options
from bench.faults.stand import Stand
from bench.verdict import Bar

BARS = (
    Bar(figure="acknowledged webhooks that are lost", key="lost", sign="≤", bar=0),
    Bar(figure="2xx at times when nothing could be stored", key="false_2xx", sign="≤", bar=0),
    Bar(figure="refused so that a provider gives up", key="refused_for_good", sign="≤", bar=0),
    Bar(figure="429 or 503 without Retry-After", key="refused_without_retry_after", sign="≤", bar=0),
    Bar(figure="delivered with other bytes than sent", key="damaged", sign="≤", bar=0),
    Bar(figure="X-Forebay-Id not the one of the 2xx", key="misnamed", sign="≤", bar=0),
    Bar(figure="left in a queue after the drain", key="left_in_queues", sign="≤", bar=0),
)
# Of whole runs only: a run of chosen acts or kinds need not kill much.
BARS_OF_A_RUN = (
    Bar(figure="requests without an answer during SIGTERM", key="unanswered_on_sigterm", sign="≤", bar=0),
    Bar(figure="first 2xx after the broker is back", key="first_2xx_after_broker_s.max", sign="≤", bar=1.0, unit=" s"),
    Bar(figure="returns of the broker measured", key="returns_measured", sign="≥", bar=3),
    Bar(figure="SIGKILLs of the broker", key="kills.broker", sign="≥", bar=5),
    Bar(figure="SIGKILLs of an ingest", key="kills.ingest", sign="≥", bar=20),
    Bar(figure="SIGKILLs of a worker", key="kills.worker", sign="≥", bar=20),
    Bar(figure="dead letters (webhooks refused for good)", key="dead_lettered", sign="≥", bar=1),
)
SIGTERM_ACTS = (
    "SIGTERM of each ingest", "SIGTERM of each worker", "SIGTERM while the broker hangs", "deploy",
)  # fmt: skip
_EVERY_S = 10.0  # between two lines where nobody watches


def bars(given: Options) -> tuple[Bar, ...]:
    of_kinds = [bar for one in given.rounds for bar in pace.bars(one)]
    return (*BARS, *of_kinds, *(BARS_OF_A_RUN if given.whole else ()))


def missed(results: Mapping[str, Any], given: Options) -> list[str]:
    """The bars that were not reached."""
    return verdict.missed(_completed(results), bars(given))


def conclude(results: Mapping[str, Any], given: Options) -> int:
    """Print the tables and write the results. Exit status 1 if a bar was missed."""
    told = _completed(results)
    for name, kind in told["kinds"].items():
        print(f"\n{name}\n{phases(kind['phases'])}")
    print("\n" + kinds(told["kinds"]))
    print("\n" + sums(told))
    for finding in told["findings"]:
        print(f"FINDING: {finding}")
    status = verdict.conclude(told, bars(given), given.output)
    if status:
        print(f"logs: {given.folder}; the same draws again: --seed {given.seed}")
    return status


def _completed(results: Mapping[str, Any]) -> dict[str, Any]:
    """The results with the figures that only the report needs."""
    phases = [phase for kind in results["kinds"].values() for phase in kind["phases"].items()]
    ends = [sum(phase["unknown"].values()) for name, phase in phases if name in SIGTERM_ACTS]
    return {
        **results,
        "unanswered_on_sigterm": sum(ends) if ends else None,
        "returns_measured": len(results["first_2xx_after_broker_s"]["samples"]),
    }


def phases(told: Mapping[str, Mapping[str, Any]]) -> str:
    """What the provider saw, act by act."""
    heads = ("act", "sent", "2xx", "refused", "no answer", "attempts", "duplicates", "p50 ms", "p99 ms")
    return verdict.table(heads, [_row(name, phase) for name, phase in told.items() if phase["sent"]])


def _row(name: str, phase: Mapping[str, Any]) -> list[str]:
    return _cells(
        name, phase["sent"], phase["acked"], sum(phase["refused"].values()), sum(phase["unknown"].values()),
        phase["attempts"], phase["duplicates"], phase["accept_ms_p50"], phase["accept_ms_p99"],
    )  # fmt: skip


def kinds(told: Mapping[str, Mapping[str, Any]]) -> str:
    """What became of the webhooks of each kind of source."""
    heads = ("source", "sent", "2xx", "delivered", "dead", "lost", "false 2xx", "duplicates", "dropped", "overtaken")
    return verdict.table(heads, [_kind_row(name, one) for name, one in told.items()])


def _kind_row(name: str, one: Mapping[str, Any]) -> list[str]:
    return _cells(
        name, one["sent"], one["acked"], one["delivered"], one["dead_lettered"], one["lost"], one["false_2xx"],
        one["duplicates"], one["copies_dropped"], one.get("overtaken"),
    )  # fmt: skip


def _cells(name: str, *counts: float | None) -> list[str]:
    return [name, *("-" if count is None else f"{count:,}" for count in counts)]


def sums(told: Mapping[str, Any]) -> str:
    """What became of all webhooks, in sentences."""
    refused = ", ".join(f"{status}: {count:,}" for status, count in told["refused_by_status"].items()) or "none"
    dead = ", ".join(f"{reason}: {count:,}" for reason, count in told["dead_by_reason"].items()) or "none"
    kills = ", ".join(f"{part} {count}" for part, count in told["kills"].items()) or "none"
    first = told["first_2xx_after_broker_s"]
    answered = f"acknowledged {told['acked']:,}, refused {told['refused']:,} ({refused})"
    unknown = sum(told["unknown"].values())
    came = f"delivered {told['delivered']:,}, dead letters {told['dead_lettered']:,} ({dead})"
    return (
        f"sent {told['sent']:,}: {answered}, no answer {unknown:,}\n"
        f"{came}, duplicates {told['duplicates']:,}, lost {told['lost']:,}\n"
        f"SIGKILLs: {kills}; first 2xx after the broker is back: p50 {first['p50']} s, max {first['max']} s"
    )


async def watch(stand: Stand) -> None:
    """Say where it is: one line that changes at a terminal, one every few seconds elsewhere. Until cancelled."""
    began, terminal = stand.now, sys.stdout.isatty()
    while True:
        text = f"{stand.now - began:5.0f} s  {_line(stand)}"
        print(f"\r{text:150.150}" if terminal else text, end="" if terminal else "\n", flush=True)
        await asyncio.sleep(0.5 if terminal else _EVERY_S)


def _line(stand: Stand) -> str:
    ledger = stand.ledger
    answers = ledger.answers
    kills = "/".join(str(stand.kills[part]) for part in ("broker", "ingest", "worker"))
    return (
        f"{stand.shape.kind.name:13}  {ledger.phase:28} 2xx {answers[Answer.ACKED]:,}  refused {answers[Answer.REFUSED]:,}"
        f"  no answer {answers[Answer.UNKNOWN]:,}  delivered {ledger.taken:,}"
        f"  duplicates {sum(ledger.repeats.values()):,}  kills {kills}"
    )
