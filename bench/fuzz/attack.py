"""The process of a stranger: shots at a steady rate beside a crowd of idle and slow connections. Started by bench.fuzz.run.

Reads a job as JSON from stdin, writes what it has seen as JSON to stdout when its time is over. It knows what the endpoint
may say and how long it may take, and nothing of its inside. It takes the CPU that nobody else wants: in the field a
stranger's CPU is not the endpoint's. What it could not send for that reason is missed by a bar of its own.
"""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.fuzz.crowd import Crowd, bound
from bench.fuzz.seen import Seen
from bench.fuzz.shots import Shot, shot
from bench.rig import allow_files

_PATIENCE_S = (
    12.0  # for the rest, after our side was closed: the confirm's time, a last look at the answer, a busy machine
)
_LATE_S = 1.0  # when we ourselves come so late, nobody knows who let whom wait
_TICK_S = 0.1
_BEHIND_S = 0.05  # what could not be sent for longer than that is left out, so that there is never a burst of it
_UNDER_WAY = 400  # shots at once at most
_ADDRESSES = 50  # of 127.0.2.0/24, which shots come from in turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a stranger is to do. Times in seconds."""

    host: str
    port: int
    path: str
    run: str  # of the webhooks that were captured
    seed: int
    first: int  # number of the first shot
    rate: float  # shots a second; 0: the first one alone
    seconds: float
    crowd: dict[str, int]  # connections of each kind
    silence_s: float  # how long the endpoint may leave a connection open without a word


async def attack(job: Job) -> dict[str, Any]:
    """Do it; all that was seen."""
    seen = Seen()
    crowd = Crowd((job.host, job.port), job.path, job.crowd)
    async with crowd.kept(), _watched(seen):
        await (_shoot(job, seen) if job.rate else _fire(_drawn(job, job.first), job, seen))
    return {"shots": seen.told(), "crowd": {name: tally.told() for name, tally in crowd.tallies.items()}}


@asynccontextmanager
async def _watched(seen: Seen) -> AsyncIterator[None]:
    """Note how late this process is, on a machine that others use."""

    async def watch() -> None:
        while True:
            before = asyncio.get_running_loop().time()
            await asyncio.sleep(_TICK_S)
            seen.late_s = max(seen.late_s, asyncio.get_running_loop().time() - before - _TICK_S)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _shoot(job: Job, seen: Seen) -> None:
    """One after the other, each on a connection of its own, until the time is over."""
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    began, fired = loop.time(), 0
    ends = began + job.seconds
    while (now := loop.time()) < ends:
        began = max(began, now - fired / job.rate - _BEHIND_S)
        while fired < (now - began) * job.rate and len(tasks) < _UNDER_WAY:
            task = asyncio.create_task(_fire(_drawn(job, job.first + fired), job, seen))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            fired += 1
        await asyncio.sleep(0.005)
    seen.unfinished = len(tasks)
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _drawn(job: Job, number: int) -> Shot:
    return shot(job.seed, number, job.run, job.path)


async def _fire(one: Shot, job: Job, seen: Seen) -> None:
    loop = asyncio.get_running_loop()
    with closing(bound(f"127.0.2.{1 + one.number % _ADDRESSES}")) as sock:
        try:
            await loop.sock_connect(sock, (job.host, job.port))
        except OSError:
            seen.unreachable += 1
            return
        seen.shots += 1
        until = loop.time() + (job.silence_s if one.ending == "wait" else _PATIENCE_S)
        came = bytearray()
        try:
            async with asyncio.timeout_at(until):
                ended = await _converse(sock, one, came)
        except TimeoutError:
            if loop.time() - until > _LATE_S:
                seen.unjudged += 1
            else:
                seen.find("left open" if one.ending == "wait" else "not ended", one, bytes(came))
        else:
            seen.answered(one, bytes(came), ended=ended)


async def _converse(sock: socket.socket, one: Shot, came: bytearray) -> bool:
    """Send, and read as the shot's ending says. Whether the endpoint has closed in order."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):  # refused before all was sent: what there is to read says why
        for segment in one.segments:
            await loop.sock_sendall(sock, segment)
            await asyncio.sleep(0)
    if one.ending == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    if one.ending in ("close", "reset"):
        return False
    if one.ending == "half":
        with suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
    with suppress(ConnectionError):
        while data := await loop.sock_recv(sock, 65536):
            came += data
            if one.ending == "wait":
                return False
        return True
    return False


def _stand_back() -> None:
    """Run when nobody else wants to: within our session by the scheduler's class, before other sessions by the weight of ours,
    which Linux else gives each alike (sched(7), "The autogroup feature").
    """
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.setsid()
    with suppress(OSError):  # a kernel without that feature weighs no sessions
        Path("/proc/self/autogroup").write_text("19")


def main() -> int:
    _stand_back()
    allow_files()
    job = Job(**json.loads(sys.stdin.readline()))
    json.dump(uvloop.run(attack(job)), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
