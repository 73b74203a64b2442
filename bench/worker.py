"""How fast and how cheaply Forebay's worker drains a backlog to a fast HTTP destination, against a Go consumer.

    uv run python -m bench.worker [--quick]

One process of each, the same concurrency, the same private RabbitMQ, taking turns. A worker starts on an empty queue and
is stopped (SIGSTOP) while the queue fills, so that neither starting nor filling is measured. Exit status 1: a bar was
missed, or the destination did not see every webhook. Results: bench/results/worker.json and worker.svg.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import breaker, chart, rate, rig, verdict
from bench.verdict import Bar, median, ratio
from forebay.settings import Destination, WorkerSettings
from forebay.topology import Names

SOURCE = "bench/worker"
CONCURRENCY = 32
BODY_BYTES = 1024

BARS = (
    Bar(figure="drain rate ÷ Go's", key="ratios.rate_vs_go", sign="≥", bar=0.7, aim=1.0),
    Bar(figure="drain rate per CPU ÷ Go's", key="ratios.cpu_vs_go", sign="≥", bar=0.7, aim=1.0),
    Bar(figure="attempts spent while the breaker is open", key="breaker.attempts_spent_while_open", sign="≤", bar=0),
    Bar(figure="rate limit, worst window", key="rate_limit.worst_window_ratio", sign="≤", bar=1.05),
    Bar(figure="rate limit, lowest window", key="rate_limit.lowest_window_ratio", sign="≥", bar=0.9, aim=0.95),
    Bar(figure="memory of an idle process", key="memory_mib.worker", sign="≤", bar=70, aim=50, unit=" MiB"),
)

# Sections of the results that programs of their own measure.
OTHER_PARTS = ("ordering", "fairness", "importance")

DEFINITIONS = {
    "ratios": "ratios of medians over the rounds; in both, more is better",
    "ratios.rate_vs_go": "deliveries per second, from the destination's first request to its last",
    "ratios.cpu_vs_go": "deliveries per second of the worker's CPU time",
    "memory_mib": "resident memory of a started, ready worker on an empty queue",
    "repeated": "requests at the destination beyond one for each webhook",
}

Start = Callable[[Path, rig.Broker, WorkerSettings], AbstractAsyncContextManager[rig.Service]]
STARTS: dict[str, Start] = {"forebay": rig.forebay_worker, "go": rig.go_worker}


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How much is measured."""

    rounds: int
    webhooks: int


FULL = Length(rounds=7, webhooks=50_000)
QUICK = Length(rounds=3, webhooks=15_000)


async def main(length: Length, options: verdict.Options) -> int:
    with rig.folder() as place:
        async with rig.broker() as broker, rig.go_ingest(broker, place, SOURCE) as filler, rig.sink(place) as sink:
            results = verdict.circumstances(quick=options.quick, rabbitmq=broker.private.version)
            bench = Bench(broker=broker, filler=filler, sink=sink, place=place, webhooks=length.webhooks)
            guarded = await breaker.measure(broker, place, SOURCE, CONCURRENCY, bench.fill)
            runs = [await bench.run(name) for turn in range(length.rounds) for name in rotated(list(STARTS), turn)]
            results["rate_limit"] = await rate.measured(broker, filler, place, SOURCE)  # last: it restarts the broker
    results |= {
        "concurrency": CONCURRENCY,
        "webhooks": length.webhooks,
        "definitions": DEFINITIONS | breaker.DEFINITIONS | rate.DEFINITIONS,
        "breaker": guarded,
        "runs": runs,
        **summary(runs),
    }
    chart.worker(results, options.output / "worker.svg")
    file = options.output / "worker.json"
    results |= {part: told for part, told in verdict.earlier(file).items() if part in OTHER_PARTS}
    return verdict.conclude(results, BARS, file)


def rotated(names: Sequence[str], turn: int) -> list[str]:
    start = turn % len(names)
    return [*names[start:], *names[:start]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the runs share."""

    broker: rig.Broker
    filler: rig.Service  # an ingest that makes the backlog
    sink: rig.Service
    place: Path
    webhooks: int

    async def run(self, name: str) -> dict[str, Any]:
        """One drain of a full queue by a fresh worker."""
        queue = Names.of(SOURCE).queue()
        await self.broker.purge(queue)
        async with STARTS[name](self.place, self.broker, self.settings()) as worker:
            await asyncio.sleep(1)
            memory = worker.memory_mib()
            worker.pause()
            await self.fill(self.webhooks)
            await rig.ask_sink(self.sink, "POST", "/reset")
            cpu = worker.cpu_s()
            worker.resume()
            stats = await self.drained(name)
            cost = worker.cpu_s() - cpu
            await self.broker.wait_depth(queue, 0)
        return self.told(name, stats, cost, memory)

    def settings(self) -> WorkerSettings:
        return WorkerSettings(
            source=SOURCE,
            queue="default",
            concurrency=CONCURRENCY,
            destination=Destination(url=self.sink.url, allow_loopback=True),
        )

    async def fill(self, webhooks: int) -> None:
        target = ("-url", self.filler.url, "-secret", rig.SECRET, "-size", str(BODY_BYTES))
        report = await rig.load("steady", *target, "-c", "64", "-n", str(webhooks))
        if report["accepted"] != webhooks:
            raise SystemExit(f"bench: only {report['accepted']} of {webhooks} webhooks got into the queue: {report}")

    async def drained(self, name: str, *, limit_s: float = 180.0) -> dict[str, Any]:
        """The destination's count once it has seen every webhook, and the last acknowledges had a moment."""
        end = time.monotonic() + limit_s
        while (stats := await rig.ask_sink(self.sink, "GET", "/stats"))["unique_ids"] < self.webhooks:
            if time.monotonic() > end:
                raise SystemExit(f"bench: {name} delivered {stats['unique_ids']} of {self.webhooks} in {limit_s:g} s")
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.3)
        return await rig.ask_sink(self.sink, "GET", "/stats")

    def told(self, name: str, stats: dict[str, Any], cost: float, memory: dict[str, float]) -> dict[str, Any]:
        run = {
            "system": name,
            "seconds": round(stats["seconds"], 3),
            "rate": round(self.webhooks / stats["seconds"], 1),
            "cpu_us": round(cost / self.webhooks * 1e6, 2),
            "per_cpu_second": round(self.webhooks / max(cost, 0.01), 1),
            "repeated": stats["requests"] - self.webhooks,
            "memory_mib": memory,
        }
        print(f"bench: {name} {run['rate']:.0f}/s, {run['cpu_us']:.1f} µs CPU a delivery", file=sys.stderr, flush=True)
        return run


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and ratios. Pure."""
    by_name = {name: [run for run in runs if run["system"] == name] for name in STARTS}
    keys = ("rate", "cpu_us", "per_cpu_second", "repeated")
    medians = {name: {key: median(run[key] for run in found) for key in keys} for name, found in by_name.items()}
    memory = {name: median(run["memory_mib"]["rss"] for run in found) for name, found in by_name.items()}
    return {
        "medians": medians,
        "ratios": {
            "rate_vs_go": ratio(medians["forebay"]["rate"], medians["go"]["rate"]),
            "cpu_vs_go": ratio(medians["forebay"]["per_cpu_second"], medians["go"]["per_cpu_second"]),
        },
        "memory_mib": {"worker": memory["forebay"], "go": memory["go"]},
    }


if __name__ == "__main__":
    given = verdict.options("Measure Forebay's worker against a Go consumer.")
    sys.exit(asyncio.run(main(QUICK if given.quick else FULL, given)))
