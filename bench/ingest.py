"""How fast and how cheaply Forebay's ingest turns webhooks into confirmed messages, against peers doing the same work.

    uv run python -m bench.ingest [--quick]

In one run, on one private RabbitMQ, taking turns: Forebay's ingest, a Go service doing the same work (peers/go-ingest),
Knative eventing-rabbitmq's ingress where its module can be had, and RabbitMQ PerfTest as the broker's own limit. Queues
are emptied between runs, services stay up. Absolute figures are this machine's; the ratios are what counts. Exit status 1:
a bar was missed. Results: bench/results/ingest.json and ingest.svg.
"""

import asyncio
import re
import statistics
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import chart, rig, verdict
from bench.verdict import Bar, median, ratio
from forebay.topology import Names

CONNECTIONS = (64, 256)
BODY_BYTES = 1024
BURST_CONNECTIONS, BURST_EACH = 2000, 5
UNROUTABLE = 200  # posts after the queue was deleted
PRODUCERS = 4
UNCONFIRMED = CONNECTIONS[-1] // PRODUCERS  # of each: together as many in flight as the endpoint has
# What a webhook of the load has beside its body, as the endpoint publishes it: as many headers, of the same sizes.
PERF_TEST_PROPERTIES = {
    "contentType": "application/json",
    "messageId": "019ab9c0-0000-7000-8000-000000000000",
    "appId": "forebay",
    "forebay-envelope": "1",
    "forebay-source": "bench/perf-test",
    "forebay-queue": "default",
    "forebay-method": "POST",
    "forebay-target": "/hook",
    "forebay-received-at": "1764122400000",
    "forebay-client": "127.0.0.1",
    "forebay-headers": "x" * 493,
    "forebay-delivery-id": "00000000-0000-4000-8000-000000000000",
    "forebay-event-type": "push",
}
PERF_TEST_OPTIONS = (
    *("--producers", str(PRODUCERS), "--consumers", "0", "--size", str(BODY_BYTES), "--confirm", str(UNCONFIRMED)),
    *("--flag", "persistent", "--flag", "mandatory"),
    *("--message-properties", ",".join(f"{name}={value}" for name, value in PERF_TEST_PROPERTIES.items())),
)

BARS = (
    Bar(figure="CPU per accepted webhook ÷ Go's", key="ratios.cpu_vs_go", sign="≤", bar=0.90, aim=0.75),
    Bar(figure="CPU per accepted webhook ÷ Knative's", key="ratios.cpu_vs_knative", sign="≤", bar=None, aim=0.50),
    Bar(figure="requests/s ÷ Go's", key="ratios.rps_vs_go", sign="≥", bar=1.0, aim=1.1),
    Bar(figure="p99 ÷ Go's at 64 connections", key="ratios.p99_vs_go_c64", sign="≤", bar=1.1, aim=1.0),
    Bar(figure="p99 ÷ Go's at 256 connections", key="ratios.p99_vs_go_c256", sign="≤", bar=1.1, aim=1.0),
    Bar(figure="p99 ÷ Go's in the burst", key="ratios.burst_p99_vs_go", sign="≤", bar=1.1, aim=1.0),
    Bar(figure="failures under steady load", key="steady.forebay.failed", sign="≤", bar=0),
    Bar(figure="failures in the burst", key="burst.forebay.failed", sign="≤", bar=0),
    Bar(figure="false 2xx of 200 unroutable", key="false_2xx.forebay", sign="≤", bar=0),
    Bar(figure="accept rate ÷ PerfTest's", key="ratios.rate_vs_perftest", sign="≥", bar=0.50, aim=0.70),
    Bar(figure="memory of an idle process", key="memory_mib.ingest", sign="≤", bar=70, aim=50, unit=" MiB"),
)

DEFINITIONS = {
    "ratios": "ratios of medians over the rounds",
    "ratios.cpu_vs_go": "user and system time of the service per 2xx; the worse of 64 and 256 connections",
    "ratios.cpu_vs_knative": "as cpu_vs_go; Knative's ingress checks no signature",
    "ratios.rps_vs_go": "2xx per second; the worse of 64 and 256 connections",
    "ratios.rate_vs_perftest": f"2xx per second at 256 connections ÷ confirms per second of PerfTest with {PRODUCERS} producers "
    f"and {UNCONFIRMED} messages in flight each; it reads no HTTP and checks no signature",
    "burst": f"{BURST_CONNECTIONS} fresh connections, all opened at once, {BURST_EACH} requests each; latency of the first "
    "request of each from the start of connecting; failed: sum over the rounds",
    "false_2xx": f"2xx among {UNROUTABLE} posts after the source's queue was deleted",
    "memory_mib": "resident memory of a started, ready process before its first webhook",
    "generator": "the load generator against a responder in its own process that does nothing: its own limit and cost",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How much is measured."""

    rounds: int
    seconds: float  # of one steady run
    burst_rounds: int
    perf_test_seconds: int


FULL = Length(rounds=7, seconds=10, burst_rounds=7, perf_test_seconds=12)
QUICK = Length(rounds=3, seconds=4, burst_rounds=3, perf_test_seconds=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One ingest under measurement."""

    name: str
    service: rig.Service
    queue: str
    load: tuple[str, ...] = ("-secret", rig.SECRET)


async def main(length: Length, options: verdict.Options) -> int:
    with rig.folder() as place:
        async with rig.broker() as broker, systems(broker, place) as (measured, missing):
            results = verdict.circumstances(quick=options.quick, rabbitmq=broker.private.version)
            results |= {"definitions": DEFINITIONS, "not_measured": missing}
            results |= await measure(broker, place, measured, length)
    chart.ingest(results, options.output / "ingest.svg")
    return verdict.conclude(results, BARS, options.output / "ingest.json")


@asynccontextmanager
async def systems(broker: rig.Broker, place: Path) -> AsyncIterator[tuple[list[System], dict[str, str]]]:
    """All systems, started and idle; and why those that are missing are missing."""
    missing: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        forebay = await stack.enter_async_context(rig.forebay_ingest(broker, place, "bench/forebay"))
        go = await stack.enter_async_context(rig.go_ingest(broker, place, "bench/go"))
        found = [
            System(name="forebay", service=forebay, queue=Names.of("bench/forebay").queue()),
            System(name="go", service=go, queue=Names.of("bench/go").queue()),
        ]
        try:
            knative = await stack.enter_async_context(rig.knative_ingress(broker, place))
            headers = tuple(word for header in rig.KNATIVE_HEADERS for word in ("-header", header))
            found.append(System(name="knative", service=knative, queue=rig.KNATIVE_EXCHANGE, load=headers))
        except rig.BuildError as error:
            missing["knative"] = str(error)
            say(f"goes on without Knative's ingress: {error}")
        yield found, missing


async def measure(broker: rig.Broker, place: Path, measured: Sequence[System], length: Length) -> dict[str, Any]:
    await asyncio.sleep(2)  # whoever still starts up
    idle = {system.name: system.service.memory_mib() for system in measured}
    generator = {f"c{n}": await rig.load("self-test", "-c", str(n), "-d", "3s") for n in CONNECTIONS}
    for system in measured:
        await warm(broker, place, system)
    runs, bursts, perf_tests = [], [], []
    for turn in range(length.rounds):
        for connections in CONNECTIONS:
            runs += [await steady(broker, s, connections, length.seconds) for s in rotated(measured, turn)]
        perf_tests.append(await perf_test(broker, place, length.perf_test_seconds))
        say_round(turn, runs, perf_tests)
    for turn in range(length.burst_rounds):
        bursts += [await burst(broker, system) for system in rotated(measured, turn)]
    loaded = {system.name: system.service.memory_mib() for system in measured}
    false = {system.name: await false_2xx(broker, system) for system in measured}
    return {
        "generator": generator,
        "runs": runs,
        "perf_test_runs": perf_tests,
        "perf_test_options": " ".join(PERF_TEST_OPTIONS),
        "burst_runs": bursts,
        "memory_runs": {"idle": idle, "after": loaded},
        "false_2xx": {name: false.get(name) for name in ("forebay", "go", "knative")},
        "memory_mib": {"ingest": idle["forebay"]["rss"], "go": idle["go"]["rss"]},
        **summary(runs, perf_tests, bursts),
    }


def rotated(measured: Sequence[System], turn: int) -> list[System]:
    """Nobody is always first."""
    start = turn % len(measured)
    return [*measured[start:], *measured[:start]]


async def steady(broker: rig.Broker, system: System, connections: int, seconds: float) -> dict[str, Any]:
    """One run at so many keep-alive connections, with what it cost the service and the broker."""
    arguments = (*target(system), "-c", str(connections), "-d", f"{seconds}s")
    report = await costed(broker, system, "steady", arguments)
    return {"system": system.name, **report}


async def warm(broker: rig.Broker, place: Path, system: System) -> None:
    """A run that does not count. A service that refuses here is broken: no figure of it would mean anything."""
    report = await steady(broker, system, CONNECTIONS[0], 2)
    if report["failed"] or not report["accepted"]:
        print(rig.last_words(place), file=sys.stderr)
        raise SystemExit(f"bench: {system.name} does not take webhooks; its log is above: {report}")


async def burst(broker: rig.Broker, system: System) -> dict[str, Any]:
    arguments = (*target(system), "-c", str(BURST_CONNECTIONS), "-each", str(BURST_EACH))
    report = await costed(broker, system, "burst", arguments)
    return {"system": system.name, **report}


def target(system: System) -> tuple[str, ...]:
    return ("-url", system.service.url, "-size", str(BODY_BYTES), "-timeout", "15s", *system.load)


async def costed(broker: rig.Broker, system: System, mode: str, arguments: Sequence[str]) -> dict[str, Any]:
    service, broker_cpu = system.service.cpu_s(), rig.cpu_s(broker.pid)
    report = await rig.load(mode, *arguments)
    accepted = max(report["accepted"], 1)
    report["cpu_us"] = round((system.service.cpu_s() - service) / accepted * 1e6, 2)
    report["broker_cpu_us"] = round((rig.cpu_s(broker.pid) - broker_cpu) / accepted * 1e6, 2)
    await broker.purge(system.queue)
    await asyncio.sleep(0.5)  # the broker tidies up
    return report


async def false_2xx(broker: rig.Broker, system: System) -> int:
    await broker.delete(system.queue)
    report = await rig.load("steady", *target(system), "-c", "16", "-n", str(UNROUTABLE))
    return int(report["accepted"])


async def perf_test(broker: rig.Broker, place: Path, seconds: int) -> dict[str, Any]:
    """RabbitMQ's own tool as a publisher of the same messages to the same kind of queue: the median second, warm."""
    names = await broker.declare("bench/perf-test")
    command = [
        *("java", "-cp", f"{rig.built('perf-test')}/*", "com.rabbitmq.perf.PerfTest", "--uri", broker.uri),
        *("--predeclared", "--exchange", names.exchange, "--routing-key", names.queue(), "--queue", names.queue()),
        *(*PERF_TEST_OPTIONS, "--time", str(seconds)),
    ]
    log = place / "perf-test.log"
    with log.open("w+b") as output:
        child = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
        code = await child.wait()
    rates = confirmed_rates(log.read_text())
    if code or len(rates) < 4:
        print(log.read_text()[-2000:], file=sys.stderr)
        raise SystemExit(f"bench: PerfTest failed (exit status {code}); its output is above")
    await broker.purge(names.queue())
    return {"rates": rates, "rate": statistics.median(rates[2:-1])}


def confirmed_rates(output: str) -> list[float]:
    """Confirms per second, second by second, from PerfTest's report lines."""
    return [float(rate) for rate in re.findall(r"confirmed: ([0-9.]+) msg/s", output)]


# ---------------------------------------------------------------------------------------------------- figures


def summary(
    runs: list[dict[str, Any]], perf_tests: list[dict[str, Any]], bursts: list[dict[str, Any]]
) -> dict[str, Any]:
    """Medians of every run, and the ratios of medians. Pure."""
    names = dict.fromkeys(run["system"] for run in runs)
    medians = {name: {f"c{n}": medians_of(chosen(runs, name, n)) for n in CONNECTIONS} for name in names}
    burst_figures = {name: burst_of(chosen(bursts, name, BURST_CONNECTIONS)) for name in names}
    rate = median(run["rate"] for run in perf_tests)
    return {
        "medians": {**medians, "perf_test": {"rate": rate}},
        "steady": {name: {"failed": sum(run["failed"] for run in runs if run["system"] == name)} for name in names},
        "burst": burst_figures,
        "ratios": {
            "cpu_vs_go": worst(max, medians, "go", "cpu_us"),
            "rps_vs_go": worst(min, medians, "go", "rps"),
            **{
                f"p99_vs_go_c{n}": ratio(medians["forebay"][f"c{n}"]["p99"], medians["go"][f"c{n}"]["p99"])
                for n in CONNECTIONS
            },
            "burst_p99_vs_go": ratio(burst_figures["forebay"]["p99"], burst_figures["go"]["p99"]),
            "rate_vs_perftest": ratio(medians["forebay"]["c256"]["rps"], rate),
            "cpu_vs_knative": worst(max, medians, "knative", "cpu_us"),
        },
    }


def chosen(runs: list[dict[str, Any]], name: str, connections: int) -> list[dict[str, Any]]:
    return [run for run in runs if run["system"] == name and run["connections"] == connections]


def medians_of(runs: list[dict[str, Any]]) -> dict[str, float | None]:
    figures: dict[str, float | None] = {
        key: median(run[key] for run in runs) for key in ("rps", "cpu_us", "broker_cpu_us")
    }
    figures |= {key: median(run["latency_ms"][key] for run in runs) for key in ("p50", "p99")}
    figures["failed"] = sum(run["failed"] for run in runs)
    return figures


def burst_of(runs: list[dict[str, Any]]) -> dict[str, float | None]:
    return {
        "p50": median(run["latency_ms"]["p50"] for run in runs),
        "p99": median(run["latency_ms"]["p99"] for run in runs),
        "max": max(run["latency_ms"]["max"] for run in runs),
        "failed": sum(run["failed"] for run in runs),
    }


def worst(pick: Callable[..., float], medians: dict[str, Any], peer: str, key: str) -> float | None:
    """The less favorable of the ratios at each number of connections; None if the peer was not measured."""
    if peer not in medians:
        return None
    ratios = [ratio(medians["forebay"][f"c{n}"][key], medians[peer][f"c{n}"][key]) for n in CONNECTIONS]
    return None if None in ratios else pick(ratios)


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def say_round(turn: int, runs: list[dict[str, Any]], perf_tests: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(run["system"] for run in runs))
    latest = runs[-len(names) * len(CONNECTIONS) :]
    parts = [
        f"{run['system']}@{run['connections']} {run['rps'] / 1000:.1f}k/s p99 {run['latency_ms']['p99']:.1f} ms {run['cpu_us']:.1f} µs"
        + (f", {run['failed']} FAILED" if run["failed"] else "")
        for run in latest
    ]
    say(f"round {turn + 1}: {'; '.join(parts)}; PerfTest {perf_tests[-1]['rate'] / 1000:.1f}k/s")


if __name__ == "__main__":
    given = verdict.options("Measure Forebay's ingest against its peers.")
    sys.exit(asyncio.run(main(QUICK if given.quick else FULL, given)))
