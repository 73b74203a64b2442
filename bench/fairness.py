"""Whether one key that floods makes the others wait.

    uv run python -m bench.fairness [--quick]

A private RabbitMQ, an endpoint, a worker with ten slots, a destination that takes 20 ms for each. Some shops send now and then;
then one more sends a hundred times as much as all of them together, more than the worker can deliver. Compared is the p99
of the others, from their 2xx until they are delivered: without the flood, with it, and with it where nothing is fair. Results: section
`fairness` of bench/results/worker.json.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from statistics import quantiles
from typing import Any

from bench import verdict
from bench.ordering import read_request
from forebay import manifest
from forebay.process import split_address
from forebay_cli.local.run import LocalRun
from forebay_cli.rabbitmq import PrivateBroker, private_broker

_SOURCE = """\
apiVersion: forebay.dev/v1alpha1
kind: WebhookSource
metadata: {{name: {name}, namespace: bench}}
spec:
  ingest: {{verification: {{provider: None}}}}
  worker:
    {fairness}
    concurrency: 10
    destination: {{url: "http://127.0.0.1:{port}/", timeout: 5s}}
"""
FAIR = "fairness: {header: X-Shop}"
TAKES_S = 0.02  # of the destination, for each webhook
SHOPS, EACH = 20, 0.5  # shops, and webhooks a second of each
FLOOD = 100  # times as much as all of them
BARS = (verdict.Bar(figure="others' p99 with a flood ÷ without", key="fairness.p99_ratio", sign="≤", bar=1.5, aim=1.2),)


@dataclass(slots=True)
class Seen:
    accepted: dict[int, float] = field(default_factory=dict)
    delivered: dict[int, float] = field(default_factory=dict)


@asynccontextmanager
async def destination(seen: Seen) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                number = int(await read_request(reader))
                await asyncio.sleep(TAKES_S)
                seen.delivered.setdefault(number, time.monotonic())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Sender:
    """One connection of a shop; its webhooks are numbered, those of the flood with negative numbers."""

    def __init__(self, run: LocalRun, seen: Seen) -> None:
        self._address = split_address(run.ingests[0].launch.env["FOREBAY_LISTEN"])
        self._path = run.source.path
        self._seen = seen

    async def send(self, shop: str, numbers: range, pauses: Any) -> None:
        reader, writer = await asyncio.open_connection(*self._address)
        with contextlib.closing(writer):
            for number in numbers:
                await asyncio.sleep(pauses())
                body = str(number).encode()
                head = f"POST {self._path} HTTP/1.1\r\nHost: a\r\nX-Shop: {shop}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                if (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202"):
                    self._seen.accepted[number] = time.monotonic()


async def others_p99(broker: PrivateBroker, *, name: str, fairness: str, flood: bool, seconds: float) -> float:
    """Seconds from the 2xx until it is delivered, of the shops that do not flood."""
    seen, dice, count = Seen(), Random(3), int(seconds * EACH)
    async with destination(seen) as port:
        source = manifest.parse(_SOURCE.format(name=name, fairness=fairness, port=port)).sources[0]
        async with LocalRun(source, {}, broker=broker) as run:
            sender = Sender(run, seen)
            rate = FLOOD * SHOPS * EACH
            floods = [
                asyncio.create_task(sender.send("flood", range(-int(rate * seconds / 8), 0), lambda: 8 / rate))
                for _ in range(8 if flood else 0)
            ]
            await asyncio.sleep(1)  # the flood is under way
            shops = [
                sender.send(
                    f"shop-{shop}", range(shop * count, (shop + 1) * count), lambda: min(5.0, dice.expovariate(EACH))
                )
                for shop in range(SHOPS)
            ]
            await asyncio.gather(*shops)
            await asyncio.gather(*(_ended(task) for task in floods))
            async with asyncio.timeout(120):
                while len([one for one in seen.delivered if one >= 0]) < SHOPS * count:
                    await asyncio.sleep(0.1)
    waits = [max(0.0, seen.delivered[number] - at) for number, at in seen.accepted.items() if number >= 0]
    return quantiles(waits, n=100)[98]


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def main(options: verdict.Options) -> int:
    seconds, told = 20.0 if options.quick else 60.0, {}
    runs = {"alone": (FAIR, False), "flooded": (FAIR, True), "unfair": ("", True)}
    for name, (fairness, flood) in runs.items():
        async with private_broker(None) as broker:
            told[name] = await others_p99(broker, name=name, fairness=fairness, flood=flood, seconds=seconds)
    results = {
        **{f"p99_ms_{name}": round(value * 1000, 1) for name, value in told.items()},
        "p99_ratio": round(told["flooded"] / told["alone"], 3),
        "p99_ratio_unfair": round(told["unfair"] / told["alone"], 3),
    }
    return verdict.enter("fairness", results, BARS, options.output / "worker.json")


if __name__ == "__main__":
    sys.exit(asyncio.run(main(verdict.options("Measure whether a key that floods makes the others wait."))))
