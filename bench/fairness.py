"""Whether one key that floods makes the others wait.

    uv run python -m bench.fairness [--quick]

A private RabbitMQ, an endpoint, a worker with ten slots, a destination that takes 20 ms for each. Some shops send now and then;
then one more sends a hundred times as much as all of them together, twice as much as the worker can deliver. Compared is the p99
of the others, from their 2xx until they are delivered: without the flood, with it, and with it where nothing is fair. Runs
without and with it take turns, and their webhooks count together. Results: section `fairness` of bench/results/worker.json.
"""

import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass, field
from random import Random
from statistics import quantiles

from bench import flood, verdict
from bench.destination import Take, destination
from bench.endpoint import Endpoint, request
from forebay import manifest
from forebay_cli.local.run import LocalRun
from forebay_cli.rabbitmq import private_broker

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
WARM_S = 4.0  # what is accepted so long after the start is not counted: processes and connections are new, without a flood too
BARS = (verdict.Bar(figure="others' p99 with a flood ÷ without", key="fairness.p99_ratio", sign="≤", bar=1.5, aim=1.2),)


@dataclass(slots=True)
class Seen:
    """When the others' webhooks were accepted and delivered, by number; and how much of the flood was."""

    accepted: dict[int, float] = field(default_factory=dict)
    delivered: dict[int, float] = field(default_factory=dict)
    refused: int = 0  # of the others' webhooks; nobody can tell how long they would have waited
    repeated: int = 0  # of them, sent again because the endpoint had closed the connection
    flood_accepted: int = 0
    flood_delivered: int = 0
    counts_from: float = 0.0  # what was accepted before is not counted

    def missing(self) -> bool:
        """Whether something was accepted and is not delivered yet."""
        return bool(self.accepted.keys() - self.delivered.keys())

    def waits(self) -> list[float]:
        """Seconds from the 2xx to the delivery, of each webhook that is counted."""
        counted = ((number, at) for number, at in self.accepted.items() if at >= self.counts_from)
        return [max(0.0, self.delivered[number] - at) for number, at in counted]


def taken(seen: Seen) -> Take:
    """What the destination does with a webhook."""

    async def take(body: bytes) -> bytes:
        await asyncio.sleep(TAKES_S)
        if body == flood.BODY.encode():
            seen.flood_delivered += 1
        else:
            seen.delivered.setdefault(int(body), time.monotonic())
        return b"200 OK"

    return take


async def shop(run: LocalRun, seen: Seen, number: int, seconds: float, dice: Random) -> None:
    """Send one shop's webhooks now and then, over a connection of its own."""
    count, until = 0, time.monotonic() + seconds
    with contextlib.closing(Endpoint(run.ingests[0].launch.env["FOREBAY_LISTEN"])) as endpoint:
        while (pause := dice.expovariate(EACH)) < until - time.monotonic():
            await asyncio.sleep(pause)
            webhook = number + SHOPS * count
            count += 1
            if await endpoint.accepted(request(run.source.path, f"shop-{number}", str(webhook))):
                seen.accepted[webhook] = time.monotonic()
            else:
                seen.refused += 1
        seen.repeated += endpoint.repeated


async def flooding(run: LocalRun, seen: Seen, seconds: float) -> None:
    """One more shop, from another process."""
    address, rate = run.ingests[0].launch.env["FOREBAY_LISTEN"], FLOOD * SHOPS * EACH
    command = [sys.executable, "-m", "bench.flood", address, run.source.path, "flood", str(rate), str(seconds)]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    seen.flood_accepted = int(output)


async def played(*, name: str, fairness: str, flooded: bool, seconds: float, seed: int) -> Seen:
    """One run, with the flood or without. Ends the bench if the flood was none, or if a webhook of others was refused."""
    seen, dice = Seen(), Random(seed)
    async with private_broker(None) as broker, destination(taken(seen)) as port:
        source = manifest.parse(_SOURCE.format(name=name, fairness=fairness, port=port)).sources[0]
        async with LocalRun(source, {}, broker=broker) as run:
            seen.counts_from = time.monotonic() + WARM_S
            await asyncio.gather(
                *(shop(run, seen, number, seconds, dice) for number in range(SHOPS)),
                *([flooding(run, seen, seconds)] if flooded else ()),
            )
            backlog = seen.flood_accepted - seen.flood_delivered
            async with asyncio.timeout(120):
                while seen.missing():  # the destination tells no event
                    await asyncio.sleep(0.1)
    times = seen.flood_accepted / (SHOPS * EACH * seconds)
    print(
        f"bench: {name}: {len(seen.waits())} webhooks of others counted, p99 {_p99_ms(seen)} ms; of the flood {times:.0f} times as much,"
        f" {backlog} not delivered at its end; {seen.refused} refused, {seen.repeated} sent again over a new connection",
        file=sys.stderr,
    )
    if seen.refused:
        raise SystemExit("bench: webhooks of others were refused: how long they would have waited nobody can tell")
    if flooded and (times < 0.9 * FLOOD or backlog < 0.2 * seen.flood_accepted):
        raise SystemExit("bench: that is no flood: the machine is too slow for it")
    return seen


def _p99_ms(*runs: Seen) -> float:
    """Of their webhooks together."""
    return round(quantiles([wait for run in runs for wait in run.waits()], n=100)[98] * 1000, 1)


async def main(options: verdict.Options) -> int:
    rounds, seconds = (2, 20.0) if options.quick else (3, 45.0)
    alone, flooded = list[Seen](), list[Seen]()
    for number in range(rounds):
        alone.append(await played(name="alone", fairness=FAIR, flooded=False, seconds=seconds, seed=number))
        flooded.append(await played(name="flooded", fairness=FAIR, flooded=True, seconds=seconds, seed=number))
    unfair = await played(name="unfair", fairness="", flooded=True, seconds=15.0, seed=0)
    results = {
        "p99_ratio": round(_p99_ms(*flooded) / _p99_ms(*alone), 3),
        "p99_ratio_unfair": round(_p99_ms(unfair) / _p99_ms(*alone), 3),
        "p99_ms_alone": _p99_ms(*alone),
        "p99_ms_flooded": _p99_ms(*flooded),
        "p99_ms_unfair": _p99_ms(unfair),
        "webhooks": sum(len(run.waits()) for run in flooded),
        "sent_again": sum(run.repeated for run in (*alone, *flooded, unfair)),
    }
    return verdict.enter("fairness", results, BARS, options.output / "worker.json")


if __name__ == "__main__":
    sys.exit(asyncio.run(main(verdict.options("Measure whether a key that floods makes the others wait."))))
