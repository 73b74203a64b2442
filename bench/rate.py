"""Does a rate limit hold for all workers together, while they come, go and are killed, and the broker restarts?

Part of `python -m bench.worker`. The destination's clock decides: its requests are counted over every window of ten
periods. The rate is what the limit says while there is a backlog and a broker; the burst is small enough that the bar of 5 %
leaves no room for a second one.
"""

import asyncio
import sys
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bench import rig, windows
from bench.destination import destination
from forebay.settings import Destination, WorkerSettings
from forebay.topology import Names, Pace, RateLimit, SourceTopology, source_objects

LIMIT = RateLimit(requests=200, per_s=1.0, burst=10)
WINDOW = 10 * LIMIT.per_s
BACKLOG = 7_000

DEFINITIONS = {
    "rate_limit.target": "requests a second that the limit allows",
    "rate_limit.measured": "requests a second at the destination, from one worker's first to the last before the broker restarts",
    "rate_limit.worst_window_ratio": "the most requests in any window of ten periods ÷ what the limit allows in it, burst not counted",
    "rate_limit.lowest_window_ratio": "the fewest, while there is a broker",
    "rate_limit.recovery_s": "the longest time without a request after a kill, and after the broker was back",
}


async def measured(broker: rig.Broker, filler: rig.Service, place: Path, source: str) -> dict[str, Any]:
    """Play it once (about 30 s). `filler` is an ingest of the source."""
    topology = SourceTopology(names=Names.of(source), paces=(Pace(rate_limit=LIMIT),))
    await broker.management.declare(source_objects(rig.VHOST, topology))
    report = await rig.load("steady", "-url", filler.url, "-secret", rig.SECRET, "-c", "32", "-n", str(BACKLOG))
    if report["accepted"] != BACKLOG:
        raise SystemExit(f"bench: the backlog of the rate limit is {report}")
    asked: list[float] = []  # when, in monotonic seconds

    async def take(_: bytes) -> bytes:
        asked.append(time.monotonic())
        return b"200 OK"

    async with destination(take) as port, AsyncExitStack() as workers:
        url = f"http://127.0.0.1:{port}/"
        settings = WorkerSettings(
            source=source, queue="default", rate_limit=LIMIT, destination=Destination(url=url, allow_loopback=True)
        )  # fmt: skip

        async def another(number: int) -> rig.Service:
            return await workers.enter_async_context(rig.forebay_worker(place, broker, settings, f"limited-{number}"))

        first = await another(0)
        await rig.until(lambda: asked, "no request", folder=place)
        began = asked[0]
        await asyncio.sleep(4)
        others = [await another(number) for number in (1, 2, 3)]
        await asyncio.sleep(4)
        killed = first.kill()
        await asyncio.sleep(4)
        for one in others[:2]:  # scaled down again
            one.terminate()
            await rig.until(lambda one=one: one.ended, "a worker does not end", folder=place)  # type: ignore[misc]
        await asyncio.sleep(3)
        ended = time.monotonic()
        await broker.private.stop()
        await broker.private.start()
        back = time.monotonic()
        await asyncio.sleep(4)
        others[2].terminate()
        await rig.until(lambda: others[2].ended, "the last worker does not end", folder=place)
    return told(asked, began, killed, ended, back)


def told(at: Sequence[float], began: float, killed: float, ended: float, back: float) -> dict[str, Any]:
    """What the destination's clock says. Pure."""
    allowed = LIMIT.rate * WINDOW
    steady = [moment for moment in at if moment + WINDOW <= ended]
    result = {
        "target": LIMIT.rate,
        "measured": round(windows.within(at, began, ended) / (ended - began), 1),
        "worst_window_ratio": round(windows.most(at, WINDOW) / allowed, 4),
        "lowest_window_ratio": round(
            min(windows.within(at, moment, moment + WINDOW) for moment in steady) / allowed, 4
        ),
        "most_in_a_period": windows.most(at, LIMIT.per_s),
        "recovery_s": {"kill": _gap(at, killed, killed + 2), "broker": round(at[bisect_left(at, back)] - back, 3)},
    }
    print(f"bench: rate limit {result}", file=sys.stderr, flush=True)
    return result


def _gap(at: Sequence[float], begin: float, end: float) -> float:
    moments = [begin, *at[bisect_left(at, begin) : bisect_left(at, end)]]
    return round(max(after - before for before, after in zip(moments, [*moments[1:], end], strict=True)), 3)
