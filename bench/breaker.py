"""What an outage of the destination costs with a circuit breaker: attempts while it is open, which must be none.

A worker drains a backlog to a destination that answers 503. While the worker says that its breaker is open, requests at the
destination are counted; at the end the queue holds all that was not tried. Part of `python -m bench.worker`.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from bench import rig
from bench.destination import destination
from forebay.settings import CircuitBreaker, Destination, RetryPolicy, WorkerSettings
from forebay.topology import Names
from forebay_cli.local import admin

OPENINGS = 3
BACKLOG = 1000
OPEN_S = 2.0
_APART_S = 0.2

DEFINITIONS = {
    "breaker.attempts_spent_while_open": f"requests at a destination that answers 503, in {OPENINGS} openings of {OPEN_S:g} s each",
    "breaker.attempts": "requests in the whole run: until it opened, what was under way then, and one probe for each further opening",
}


async def measure(broker: rig.Broker, place: Path, source: str, concurrency: int, fill: Any) -> dict[str, int]:
    """Fill the queue, let the worker fail, and watch while its breaker is open. `fill` puts so many webhooks into the queue."""
    queue = Names.of(source).queue()
    await broker.purge(queue)
    await fill(BACKLOG)
    asked: list[float] = []  # when, in monotonic seconds

    async def fail(_: bytes) -> bytes:
        asked.append(time.monotonic())
        return b"503 Service Unavailable"

    async with destination(fail) as port:
        settings = WorkerSettings(
            source=source,
            queue="default",
            concurrency=concurrency,
            destination=Destination(url=f"http://127.0.0.1:{port}/", allow_loopback=True),
            retry=RetryPolicy(schedule_s=(60.0,)),  # what failed does not come back meanwhile
            circuit_breaker=CircuitBreaker(minimum=20, open_for_s=OPEN_S),
        )
        async with rig.forebay_worker(place, broker, settings) as worker:
            spent = sum([await _one_opening(worker, asked) for _ in range(OPENINGS)])
    await broker.wait_depth(queue, BACKLOG - len(asked))
    await broker.purge(queue)
    print(f"bench: breaker: {spent} attempts while open, {len(asked)} in all", file=sys.stderr, flush=True)
    return {"attempts_spent_while_open": spent, "attempts": len(asked)}


async def _one_opening(worker: rig.Service, asked: list[float]) -> int:
    """Attempts from shortly after the breaker is seen open until shortly before it lets one through."""
    while (left_s := await _open_for(worker)) < OPEN_S / 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(_APART_S)  # what was under way is not cut
    began = time.monotonic()
    await asyncio.sleep(left_s - 2 * _APART_S)
    return sum(began <= moment for moment in asked)


async def _open_for(worker: rig.Service) -> float:
    return (await admin.metrics([worker.admin])).largest("forebay_hold_seconds", "reason").get("breaker", 0.0)
