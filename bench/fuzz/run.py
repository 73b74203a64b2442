"""One fuzz run: calm and attack in turn under legitimate webhooks, the drain, and the account."""

import asyncio
import contextlib
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tools.rabbitmq_root import root_of

from bench import rig, verdict
from bench.faults.account import account
from bench.faults.drain import drain
from bench.faults.kinds import Kind
from bench.faults.stand import Shape, Stand, loaded, stand, started
from bench.fuzz import report
from bench.fuzz.attack import Job
from bench.fuzz.options import Options
from forebay_cli.local import admin

_PASSED_S = 20.0  # in which all that strangers had open must be gone, once they are
_SHOTS_APART = 10**6  # between the numbers of the first shots of two attacks
_SIGNS = ("Traceback", "could not be handled", "unhandled")  # of what the endpoint must never log
# What the endpoint's limits add up to where somebody waits for it to end a connection: a head and a body, and a busy machine.
_SILENCE_S = 50.0


@dataclass(slots=True)
class Watched:
    """The endpoint from outside, the whole run long."""

    rss_mib: list[float] = field(default_factory=list)
    connections: list[float] = field(default_factory=list)
    reading_bytes: list[float] = field(default_factory=list)


async def perform(given: Options) -> dict[str, Any]:
    """Play it all. Returns the results; raises ForebayError or BuildError if something could not be had."""
    root = root_of(given.suite) if given.suite else None
    shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True)
    print(f"fuzz: seed {given.seed} (again with --seed {given.seed}); logs in {given.folder}", flush=True)
    rig.allow_files()
    limits = yaml.safe_load(given.pace.limits)
    kind = Kind(name="fuzzed", spec={"ingest": {"limits": limits}}, rate=given.pace.rate)
    shape = Shape(kind=kind, ingests=1, workers=1)
    async with (
        started(given.folder, root=root) as broker,
        stand(broker, given.folder, shape, given.seed) as made,
    ):
        if given.shot is not None:
            return await _attack(made, given, given.shot, {})
        results = await _account(given, made)
    if not report.missed(results, quick=given.quick):
        shutil.rmtree(given.folder, ignore_errors=True)
    return results


async def _account(given: Options, made: Stand) -> dict[str, Any]:
    circumstances = verdict.circumstances(quick=given.quick, rabbitmq=made.broker.version)
    began, (ingest,) = time.monotonic(), made.run.ingests
    pid = ingest.pid
    async with _watched(made) as watched:
        async with loaded(made):
            attacks = [seen async for seen in _rounds(given, made)]
        left = await _left(made)
        refused = (await made.run.metrics()).by("forebay_ingest_refused_total", "cause")
        displaced = (await made.run.metrics()).total("forebay_ingest_displaced_total")
        same = ingest.pid == pid and not ingest.restarts
    in_queues = await drain(made)
    return {
        **report.told(account(made.ledger, made.returns), attacks, made.destination.captured, _lives(made)),
        "refused_by_endpoint": {cause: int(count) for cause, count in refused.items() if count},
        "unhandled": int(refused.get("unhandled", 0)),
        "displaced": int(displaced),
        "left": left,
        "left_in_queues": sum(in_queues.values()),
        "restarts": 0 if same else 1,
        "complaints": complaints(given.folder),
        "rss_mib": {"before": watched.rss_mib[0], "most": max(watched.rss_mib)},
        "most_connections": int(max(watched.connections, default=0)),
        "most_reading_bytes": int(max(watched.reading_bytes, default=0)),
        "pace": asdict(given.pace),
        "seed": given.seed,
        "seconds": round(time.monotonic() - began, 1),
        **circumstances,
    }


async def _rounds(given: Options, made: Stand) -> AsyncIterator[dict[str, Any]]:
    for number in range(given.pace.rounds):
        with made.ledger.during("calm"):
            await asyncio.sleep(given.pace.calm_s)
        with made.ledger.during("attack"):
            yield await _attack(made, given, number * _SHOTS_APART, given.pace.crowd(number))
        print(f"fuzz: attack {number + 1} of {given.pace.rounds} is over", flush=True)
        with made.ledger.during("after"):
            await asyncio.sleep(1)


async def _attack(made: Stand, given: Options, first: int, crowd: dict[str, int]) -> dict[str, Any]:
    """One attack, by a process of its own; what it has seen. Without a crowd: the first shot alone."""
    (host, port), *_ = made.endpoints()
    job = Job(
        host=host, port=port, path=made.source.path, run=made.ledger.run, seed=given.seed, first=first,
        rate=given.pace.shots if crowd else 0, seconds=given.pace.attack_s, crowd=crowd, silence_s=_SILENCE_S,
    )  # fmt: skip
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.fuzz.attack", cwd=verdict.TREE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    try:
        output, _ = await child.communicate(json.dumps(asdict(job)).encode() + b"\n")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        raise SystemExit(f"fuzz: the attack ended with {child.returncode}; what it said is above")
    seen: dict[str, Any] = json.loads(output)
    return seen


@contextlib.asynccontextmanager
async def _watched(made: Stand) -> AsyncIterator[Watched]:
    watched = Watched()
    await _look(made, watched)
    task = asyncio.create_task(_watch(made, watched))
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(made: Stand, watched: Watched) -> None:
    while True:
        await asyncio.sleep(0.5)
        await _look(made, watched)


async def _look(made: Stand, watched: Watched) -> None:
    (ingest,) = made.run.ingests
    if ingest.pid is not None:
        watched.rss_mib.append(rig.Service(name="ingest", pid=ingest.pid).memory_mib()["rss"])
    if ingest.admin is not None:
        metrics = await admin.metrics([ingest.admin])
        watched.connections.append(metrics.total("forebay_ingest_connections"))
        watched.reading_bytes.append(metrics.total("forebay_ingest_reading_bytes"))


def _lives(made: Stand) -> dict[str, float]:
    """How long the endpoint's limits let a connection of each kind live, in seconds."""
    limits = made.source.spec.ingest.limits
    return {
        "silent": limits.first_byte_timeout,
        "idle": limits.keep_alive_timeout,
        "slow head": limits.headers_timeout,
        **dict.fromkeys(("slow body", "slow chunks", "hoard"), limits.body_timeout),
    }


async def _left(made: Stand) -> dict[str, int]:
    """What the endpoint still holds of strangers when they are gone: nothing, after a moment."""
    left = Counter[str]()
    for _ in range(int(_PASSED_S)):
        metrics = await made.run.metrics()
        names = ("connections", "reading_bytes", "in_flight")
        left = Counter({name: int(metrics.total(f"forebay_ingest_{name}")) for name in names})
        if not left.total():
            break
        await asyncio.sleep(1)
    return dict(left)


def complaints(folder: Path) -> list[str]:
    """Lines of the processes' logs that must not be."""
    lines = (line for log in folder.glob("run-*/**/*.log") for line in log.read_text(errors="replace").splitlines())
    return [line[:400] for line in lines if any(sign in line for sign in _SIGNS)][:20]
