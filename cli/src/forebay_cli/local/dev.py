"""`forebay dev`: one source on this machine until Ctrl-C, noted down so that the other commands find it.

Ctrl-C drains: what was accepted stays in the queues, what is being delivered is finished. A second Ctrl-C ends at once.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from forebay.errors import ForebayError, SpecError
from forebay.source.references import RESERVED_SECRET
from forebay.suspend import Suspend
from forebay_cli.given import Given, Secrets, find, generate, keep, with_destination
from forebay_cli.local.broker import RunBroker, run_broker
from forebay_cli.local.capture import Capture
from forebay_cli.local.display import Display
from forebay_cli.local.pod import pods
from forebay_cli.local.run import PLATFORM, LocalRun, checked_port
from forebay_cli.local.watch import Flow, flow
from forebay_cli.state import Notes, Running, RunningProcess
from forebay_operator.desired import broker_secret, desired
from forebay_operator.desired.lanes import queue_names

USUAL_PORT = 8080
CONFIG = "config"  # every process's folder has one
LOOK_S, DEPTHS_S = 0.5, 2.0  # between two looks at the processes, and at the queues


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person asked of `forebay dev`, beside the source."""

    broker: str | None = field(default=None, repr=False)  # AMQP URL
    management: str | None = None
    data: Path | None = None  # of the private broker
    workers: int | None = None
    port: int | None = None
    destination: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


async def dev(given: Given, notes: Notes, wanted: Wanted, display: Display) -> None:
    """Run until SIGINT or SIGTERM. Raises ForebayError if it can not start."""
    if wanted.destination:
        given = Given(
            source=with_destination(given.source, wanted.destination),
            manifests=given.manifests,
            flags=given.flags,
            folder=given.folder,
        )
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        with notes.locked(), display:
            await _run(given, notes, wanted, display)
    except asyncio.CancelledError:
        return


async def _run(given: Given, notes: Notes, wanted: Wanted, display: Display) -> None:
    secrets = find(given, notes, needed(given))
    made = generate(given, notes, secrets)
    keep(given, notes, secrets)
    _sweep(notes)
    display.starting(given.source, private=wanted.broker is None)
    async with run_broker(wanted.broker, wanted.management, wanted.data) as there:
        run = _local_run(given, notes, wanted, secrets, there)
        try:
            await run.start()
            capture = Capture(run, notes, secrets)
            await capture.begin()
            display.started(run, there, made, secrets)
            display.awaits(capture.awaits)
            await _watch(run, notes, there, display, capture)
        finally:
            await _end(run, display, lost=there.private and wanted.data is None)


def _sweep(notes: Notes) -> None:
    """Take away what an earlier run left: its logs, and after a crash its processes' files."""
    shutil.rmtree(notes.logs, ignore_errors=True)
    for folder in notes.folder.glob(f"*/{CONFIG}"):
        shutil.rmtree(folder.parent, ignore_errors=True)


async def _end(run: LocalRun, display: Display, *, lost: bool) -> None:
    last = await _flow(run, await _depths(run))
    with contextlib.suppress(OSError):  # nobody may be looking any more
        display.draining()
    try:
        await run.stop()
    except asyncio.CancelledError:
        run.kill()
        raise
    with contextlib.suppress(OSError):
        display.ended(last, lost=lost)


def needed(given: Given) -> list[tuple[str, str]]:
    """The Secrets' keys that the source's processes read, but for the broker's, which the run makes."""
    source = given.source
    own = {broker_secret(source, "ingest"), broker_secret(source, "worker"), RESERVED_SECRET}
    files = (file for pod in pods(desired(source, PLATFORM)) for file in pod.files)
    return sorted({(file.name, file.key) for file in files if file.kind == "Secret" and file.name not in own})


def _local_run(given: Given, notes: Notes, wanted: Wanted, secrets: Secrets, there: RunBroker) -> LocalRun:
    return LocalRun(
        given.source,
        secrets,
        broker=there.broker,
        vhost=there.vhost,
        workers=wanted.workers,
        port=_port(wanted.port),
        folder=notes.folder,
        handlers=(given.folder or Path()).resolve() if given.source.spec.worker.handler else None,
        environ={"FOREBAY_LOG_FORMAT": "text", **wanted.environ},
    )


def _port(wanted: int | None) -> int:
    """The port that is wanted; the usual one if it is free and none is."""
    if wanted is not None:
        return wanted
    try:
        return checked_port(USUAL_PORT)
    except SpecError:
        return 0


async def _watch(run: LocalRun, notes: Notes, there: RunBroker, display: Display, capture: Capture) -> None:
    """Look again and again, until cancelled."""
    saved: Running | None = None
    depths: Mapping[str, int] | None = None
    asked = 0.0
    while True:
        if time.monotonic() - asked >= DEPTHS_S:
            asked, depths = time.monotonic(), await _depths(run)
            await _look(capture, display)
        if (wished := notes.wished()) not in (None, run.source.spec.suspend):
            await run.suspend(cast("Suspend", wished))
        display.show(await _flow(run, depths), run.replicas)
        running = _running(run, there)
        if running != saved:
            notes.save(running)
            saved = running
        await asyncio.sleep(LOOK_S)


async def _flow(run: LocalRun, depths: Mapping[str, int] | None) -> Flow:
    return flow(run.names, queue_names(run.source), await run.metrics(), depths, time.monotonic())


async def _depths(run: LocalRun) -> Mapping[str, int] | None:
    try:
        return await run.depths()
    except ForebayError:
        return None


async def _look(capture: Capture, display: Display) -> None:
    with contextlib.suppress(ForebayError):  # the broker is away, and said to be
        if kept := await capture.look():
            display.captured(kept)


def _running(run: LocalRun, there: RunBroker) -> Running:
    return Running(
        source=run.source.key,
        pid=os.getpid(),
        urls=tuple(run.shown_urls),
        broker=there.broker.uri(vhost=there.vhost),
        management=there.management_url,
        private=there.private,
        vhost=there.vhost,
        queues=queue_names(run.source),
        suspend=run.source.spec.suspend,
        logs=str(run.folder / "logs"),
        processes=tuple(
            RunningProcess(name=r.name, state=r.state, pid=r.pid, admin=r.admin, restarts=r.restarts)
            for r in run.replicas
        ),
    )
