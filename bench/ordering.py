"""Whether webhooks of one key arrive in the order in which they were accepted, while workers are killed, come and go.

    uv run python -m bench.ordering [--quick]

Everything is real: a private RabbitMQ, an endpoint, worker processes that are killed at random moments, and a destination
that refuses some attempts. Each key is sent one webhook after another, each with its number; the destination writes down
what it sees. A violation is a number that is first seen after a larger one of its key. Results: section `ordering` of
bench/results/worker.json.
"""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Any

from bench import verdict
from bench.destination import Take, destination
from bench.endpoint import Endpoint, request
from forebay import manifest
from forebay_cli.local.run import LocalRun
from forebay_cli.rabbitmq import PrivateBroker, private_broker

_SOURCE = """\
apiVersion: forebay.dev/v1alpha1
kind: WebhookSource
metadata: {{name: ordered, namespace: bench}}
spec:
  ingest: {{verification: {{provider: None}}}}
  retry: {{schedule: [1s], maxAttempts: 100}}
  worker:
    ordering: {{header: X-Shop, lanes: {lanes}}}
    concurrency: {concurrency}
    destination: {{url: "http://127.0.0.1:{port}/", timeout: 5s}}
"""

BARS = (
    verdict.Bar(figure="webhooks that overtook one of their key", key="ordering.violations", sign="≤", bar=0, aim=0),
    verdict.Bar(figure="webhooks lost meanwhile", key="ordering.lost", sign="≤", bar=0, aim=0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How much of everything there is. Times in seconds."""

    keys: int = 40
    lanes: int = 8
    concurrency: int = 16
    workers: int = 2
    kills: int = 50
    pause: float = 0.6  # between two kills, on average
    refused: float = 0.02  # share of attempts that the destination refuses
    slow: float = 0.01  # how long it takes for an attempt, on average
    restarts: int = 2  # of the broker
    ahead: int = 8  # webhooks of each key that are accepted and not delivered yet


@dataclass(slots=True)
class Seen:
    """What was accepted, and what the destination saw."""

    accepted: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # the last number of each key
    arrived: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    delivered: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))  # those that were answered 200

    def violations(self) -> int:
        """Numbers that came for the first time after a larger one of their key."""
        return sum(map(late, self.arrived.values()))

    def lost(self) -> int:
        """Webhooks that were accepted and not delivered."""
        return sum(last - len(self.delivered[key] & set(range(1, last + 1))) for key, last in self.accepted.items())

    def count(self) -> int:
        return sum(map(len, self.delivered.values()))

    def repeated(self) -> int:
        """Attempts beyond the first of each webhook."""
        return sum(len(numbers) - len(set(numbers)) for numbers in self.arrived.values())


def late(numbers: list[int]) -> int:
    """How many of them come for the first time after a larger one."""
    known, largest, found = set[int](), 0, 0
    for number in numbers:
        found += number not in known and number < largest
        known.add(number)
        largest = max(largest, number)
    return found


def taken(seen: Seen, shape: Shape, dice: Random, times: list[float] | None = None) -> Take:
    """What the destination does with a webhook: it writes down what it sees, and when it was done."""

    async def take(body: bytes) -> bytes:
        webhook = json.loads(body)
        seen.arrived[webhook["shop"]].append(webhook["n"])
        await asyncio.sleep(dice.expovariate(1 / shape.slow) if times is None else shape.slow)
        if dice.random() < shape.refused:
            return b"503 Busy"
        seen.delivered[webhook["shop"]].add(webhook["n"])
        if times is not None:
            times.append(time.monotonic())
        return b"200 OK"

    return take


async def send(address: str, path: str, shop: str, seen: Seen, ahead: int, stop: asyncio.Event) -> None:
    """Send a key's webhooks one after another, each until it is accepted."""
    with contextlib.closing(Endpoint(address)) as endpoint:
        while not stop.is_set():
            if await endpoint.accepted(webhook(path, shop, seen.accepted[shop] + 1)):
                seen.accepted[shop] += 1
            else:
                await asyncio.sleep(0.2)
            while seen.accepted[shop] - len(seen.delivered[shop]) >= ahead and not stop.is_set():
                await asyncio.sleep(0.02)


def webhook(path: str, shop: str, number: int) -> bytes:
    """A key's webhook of this number."""
    return request(path, shop, json.dumps({"shop": shop, "n": number}))


async def storm(run: LocalRun, broker: PrivateBroker, shape: Shape, dice: Random) -> int:
    """Kill workers, change their number, restart the broker. How many were killed."""
    kills, restarts = 0, [shape.kills * turn // (shape.restarts + 1) for turn in range(1, shape.restarts + 1)]
    while kills < shape.kills:
        await asyncio.sleep(dice.expovariate(1 / shape.pause))
        running = [worker for worker in run.workers if worker.pid]
        if not running:
            continue
        dice.choice(running).kill(signal.SIGKILL)
        kills += 1
        if kills in restarts:
            await broker.restart()
        elif kills % 7 == 3:
            with contextlib.suppress(Exception):  # one that was killed again is not ready in time
                await run.scale("worker", dice.randint(1, shape.workers + 1))
    return kills


async def play(broker: PrivateBroker, shape: Shape, seed: int, *, vhost: str = "/") -> dict[str, Any]:
    """One run; what came of it."""
    seen, stop, dice = Seen(), asyncio.Event(), Random(seed)
    async with destination(taken(seen, shape, dice)) as port:
        text = _SOURCE.format(lanes=shape.lanes, concurrency=shape.concurrency, port=port)
        source = manifest.parse(text).sources[0]
        async with LocalRun(source, {}, broker=broker, vhost=vhost, workers=shape.workers) as run:
            address = run.ingests[0].launch.env["FOREBAY_LISTEN"]
            senders = [
                asyncio.create_task(send(address, source.path, f"shop-{number}", seen, shape.ahead, stop))
                for number in range(shape.keys)
            ]
            kills = await storm(run, broker, shape, dice)
            stop.set()
            await asyncio.gather(*senders)
            await run.scale("worker", shape.workers)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(90):
                    while seen.lost():  # the destination tells no event
                        await asyncio.sleep(0.1)
    return {
        "violations": seen.violations(),
        "lost": seen.lost(),
        "kills": kills,
        "broker_restarts": shape.restarts,
        "keys": shape.keys,
        "lanes": shape.lanes,
        "delivered": seen.count(),
        "repeated": seen.repeated(),
    }


async def drained(broker: PrivateBroker, lanes: int | None, keys: int, webhooks: int) -> float:
    """Deliveries a second of one worker with 16 slots, to a destination that takes 10 ms for each; None lanes: without order."""
    shape, seen, times = Shape(refused=0.0), Seen(), list[float]()
    async with destination(taken(seen, shape, Random(1), times)) as port:
        text = _SOURCE.format(lanes=lanes or 1, concurrency=shape.concurrency, port=port)
        text = text if lanes else "".join(line for line in text.splitlines(keepends=True) if "ordering" not in line)
        source = manifest.parse(text.replace("name: ordered", f"name: lanes-{lanes or 0}-{keys}")).sources[0]
        async with LocalRun(source, {}, broker=broker, workers=0) as run:
            address = run.ingests[0].launch.env["FOREBAY_LISTEN"]
            await asyncio.gather(*(fill(address, source.path, one, keys, webhooks // 20) for one in range(20)))
            await run.scale("worker", 1)
            async with asyncio.timeout(180):
                while len(times) < webhooks:  # the destination tells no event
                    await asyncio.sleep(0.05)
    tenth = webhooks // 10  # at both ends it is not under full load
    return (webhooks - 2 * tenth) / (times[-tenth] - times[tenth])


async def fill(address: str, path: str, sender: int, keys: int, count: int) -> None:
    """Send webhooks of all keys in turn."""
    with contextlib.closing(Endpoint(address)) as endpoint:
        for number in range(sender * count, (sender + 1) * count):
            await endpoint.accepted(webhook(path, f"shop-{number % keys}", number))


async def rates(broker: PrivateBroker, webhooks: int) -> dict[str, float]:
    """What order costs: deliveries a second by lanes and keys."""
    cases = {"unordered": (None, 200), "1_lane": (1, 200), "8_lanes": (8, 200), "8_lanes_5_keys": (8, 5)}
    return {name: round(await drained(broker, lanes, keys, webhooks)) for name, (lanes, keys) in cases.items()}


async def main(options: verdict.Options) -> int:
    shape = Shape(kills=12, restarts=1) if options.quick else Shape()
    async with private_broker(None) as broker:
        told = {**await play(broker, shape, seed=7), "per_second": await rates(broker, 2000)}
    return verdict.enter("ordering", told, BARS, options.output / "worker.json")


if __name__ == "__main__":
    sys.exit(asyncio.run(main(verdict.options("Measure whether the order of keys is kept."))))
