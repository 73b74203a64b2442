"""Does a backlog of unimportant webhooks delay the important ones?

    uv run python -m bench.importance [--quick]

Two queues of one source, each with a worker process of its own, and destinations that take 20 ms for each webhook. Important ones
come at random moments, 50 a second, whether the last one has arrived or not; timed is the way of each from its publish until the
destination has read it, through the broker and the worker. Alone and beside a backlog take turns: the other queue is purged, then
filled, and its worker delivers from it as fast as its four slots allow, 200 a second. The figure is the ratio of the p99 of all
rounds' webhooks together: a disk that stalls once for a fifth of a second makes a hundredth of half a round late, and would decide
any ratio of single rounds. How long the broker's confirms take is told beside it: most of the way is waiting for the broker's disk.

What is compared is what the queues share: the broker with its log on disk, and the processors, of which the other queue's worker
takes some. What only the bench shares does not count: the other queue delivers to a process of its own, so that its requests do not
wait in front of the important ones in the process that keeps the time. Results: section `importance` of bench/results/worker.json.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any

from bench import rig, verdict
from bench.destination import Take, destination
from bench.slow import elsewhere
from bench.verdict import Bar, ratio
from forebay.amqp.publisher import Publisher
from forebay.envelope import Envelope, encode
from forebay.identity import IdSource
from forebay.settings import Destination, WorkerSettings
from forebay.topology import Names, SourceTopology, source_objects

SOURCE = "bench/importance"
NAMES = Names.of(SOURCE)
HIGH, LOW = "orders", "default"
TAKES_S = 0.02  # a destination, for each webhook
EVERY_S = 0.02  # between two important ones, on average
REST_S = 2.0  # for what has just been started, filled or purged
CONCURRENCY = {HIGH: 8, LOW: 4}
_AT_ONCE = 500  # publishes of the backlog

BARS = (
    Bar(figure="important ones' p99 beside a backlog ÷ alone", key="importance.p99_ratio", sign="≤", bar=1.2, aim=1.05),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How much is measured."""

    rounds: int
    seconds: float  # of each half of a round
    backlog: int


FULL = Length(rounds=5, seconds=20.0, backlog=100_000)
QUICK = Length(rounds=3, seconds=8.0, backlog=20_000)


@dataclass(slots=True)
class Times:
    """Of important webhooks, in seconds."""

    ways: list[float] = field(default_factory=list)  # from the publish to the destination
    confirms: list[float] = field(default_factory=list)  # from the publish to the broker's confirm


class Bench:
    """What the rounds share: the broker, a sender, and the worker and destination of the important ones."""

    def __init__(self, broker: rig.Broker, sender: Publisher, length: Length) -> None:
        self._broker, self._sender, self._length = broker, sender, length
        self._ids = IdSource()
        self._times = Times()

    def take(self) -> Take:
        """What the destination of the important ones does."""

        async def take(body: bytes) -> bytes:
            self._times.ways.append(time.monotonic() - float(body))
            await asyncio.sleep(TAKES_S)
            return b"200 OK"

        return take

    async def round(self, place: Path, number: int) -> tuple[Times, Times]:
        """The important ones alone, then beside a backlog."""
        length = self._length
        await self._broker.purge(NAMES.queue(LOW))
        alone = await self._timed(number)
        await self._fill()
        async with elsewhere(TAKES_S) as other, worker(place, self._broker, other.url, LOW):
            beside = await self._timed(number)
        if not CONCURRENCY[LOW] / TAKES_S * length.seconds / 2 < other.taken < length.backlog:
            raise SystemExit(
                f"bench: the other queue was not busy all the time: {other.taken} of {length.backlog} delivered"
            )
        print(
            f"bench: round {number + 1}, p99 alone {_p99_ms(alone.ways)} ms, beside a backlog {_p99_ms(beside.ways)} ms;"
            f" {other.taken} of the backlog delivered",
            file=sys.stderr,
        )
        return alone, beside

    async def _timed(self, seed: int) -> Times:
        """Send important ones for a while, once what was written and started before has come to rest."""
        await asyncio.to_thread(os.sync)
        await asyncio.sleep(REST_S)
        gc.collect()  # what filling has left is not to be swept up while the time is kept
        self._times = times = Times()
        dice, count = Random(seed), round(self._length.seconds / EVERY_S)
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                await asyncio.sleep(dice.expovariate(1 / EVERY_S))
                group.create_task(self._important(times))
        await rig.until(lambda: len(times.ways) >= count, "not all important webhooks arrived", folder=Path())
        return times

    async def _important(self, times: Times) -> None:
        began = time.monotonic()
        await self._publish(HIGH, str(began).encode())
        times.confirms.append(time.monotonic() - began)

    async def _fill(self) -> None:
        for begin in range(0, self._length.backlog, _AT_ONCE):
            count = min(_AT_ONCE, self._length.backlog - begin)
            await asyncio.gather(*(self._publish(LOW, b"") for _ in range(count)))

    async def _publish(self, queue: str, body: bytes) -> None:
        now = int(time.time() * 1000)
        envelope = Envelope(
            id=self._ids.next(now),
            source=SOURCE,
            queue=queue,
            method="POST",
            target="/hook",
            received_at=now,
            client="127.0.0.1",
            header_block=b"Content-Type: text/plain\r\n",
            body=body,
        )
        await self._sender.publish(NAMES.exchange, NAMES.queue(queue), encode(envelope))


def worker(place: Path, broker: rig.Broker, url: str, queue: str) -> Any:
    settings = WorkerSettings(
        source=SOURCE,
        queue=queue,
        concurrency=CONCURRENCY[queue],
        destination=Destination(url=url, allow_loopback=True),
    )
    return rig.forebay_worker(place, broker, settings, f"importance-{queue}")


@asynccontextmanager
async def _sender(broker: rig.Broker) -> AsyncIterator[Publisher]:
    publisher = Publisher(lambda: broker.uri, name="bench importance")
    work = asyncio.create_task(publisher.run())
    try:
        await rig.until(lambda: publisher.link.up, "no connection to the broker", folder=Path())
        yield publisher
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def _p99_ms(times: list[float]) -> float:
    return round(quantiles(times, n=100)[98] * 1000, 2)


async def measured(broker: rig.Broker, place: Path, length: Length) -> list[tuple[Times, Times]]:
    """All rounds."""
    await broker.management.declare(source_objects(rig.VHOST, SourceTopology(names=NAMES, queues=(LOW, HIGH))))
    async with AsyncExitStack() as stack:
        bench = Bench(broker, await stack.enter_async_context(_sender(broker)), length)
        port = await stack.enter_async_context(destination(bench.take()))
        await stack.enter_async_context(worker(place, broker, f"http://127.0.0.1:{port}/", HIGH))
        return [await bench.round(place, number) for number in range(length.rounds)]


def together(halves: Sequence[Times]) -> Times:
    """What was timed in all of them."""
    return Times(
        [way for half in halves for way in half.ways], [confirm for half in halves for confirm in half.confirms]
    )


def summary(rounds: list[tuple[Times, Times]], length: Length) -> dict[str, Any]:
    """Of all rounds together. Pure."""
    alone, beside = (together(halves) for halves in zip(*rounds, strict=True))
    return {
        "p99_ratio": ratio(_p99_ms(beside.ways), _p99_ms(alone.ways)),
        "p50_ratio": ratio(median(beside.ways), median(alone.ways)),
        "p99_ms_alone": _p99_ms(alone.ways),
        "p99_ms_beside_a_backlog": _p99_ms(beside.ways),
        "p99_ms_by_round": [[_p99_ms(half.ways) for half in one] for one in rounds],
        "confirm_p99_ms_alone": _p99_ms(alone.confirms),
        "confirm_p99_ms_beside_a_backlog": _p99_ms(beside.confirms),
        "webhooks": len(alone.ways),
        "backlog": length.backlog,
    }


async def main(options: verdict.Options) -> int:
    length = QUICK if options.quick else FULL
    with rig.folder() as place:
        async with rig.broker() as broker:
            rounds = await measured(broker, place, length)
    return verdict.enter("importance", summary(rounds, length), BARS, options.output / "worker.json")


if __name__ == "__main__":
    sys.exit(asyncio.run(main(verdict.options("Measure whether a backlog delays webhooks of another queue."))))
