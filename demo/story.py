"""The demo's story, step by step, on real parts: what happens, and what must be true of it at the end."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.destination import Destination, Mood
from demo.provider import Provider, oversized, poison, push
from forebay import manifest
from forebay.source import WebhookSource
from forebay_cli.local.run import LocalRun
from forebay_cli.rabbitmq import PrivateBroker

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "github"
WEBHOOKS = 2_000
REJECTED, BROKEN = 422, 500  # what the two kinds of poison are answered
POISON = (REJECTED, REJECTED, REJECTED, BROKEN, BROKEN)
KILL_AT = 600  # webhooks accepted when the broker is killed
FAILING_S = 4.0
SETTLE_S = 60.0  # for retries to end, at most
# A person watches, so retries come sooner than by default; everything else is the example's.
RETRY = {"maxAttempts": 8, "initialDelay": "1s", "factor": "2", "maxDelay": "3s"}

Say = Callable[[str], None]


class DemoError(Exception):
    """The demo could not go on; the text says where."""


@dataclass(slots=True)
class Outcome:
    """Everything that was written down."""

    dead: list[dict[str, Any]] = field(default_factory=list)  # as `forebay dlq list --output json` tells it
    shown: str = ""  # what `forebay dlq show` printed
    replayed_id: str = ""
    statuses: dict[str, int | None] = field(default_factory=dict)  # of the two requests that must be refused
    outage_s: float = 0.0
    broker_version: str = ""


def load(destination: str) -> tuple[WebhookSource, dict[str, dict[str, bytes]]]:
    """The example's source, delivering to the demo's destination, and its secrets."""
    manifests = manifest.load(EXAMPLE / "source.yaml", EXAMPLE / "secret.yaml")
    data = manifests.sources[0].model_dump(by_alias=True, exclude_unset=True, mode="json")
    data["spec"]["worker"]["destination"]["url"] = destination
    data["spec"]["retry"] = RETRY
    return manifest.read_source(data), {secret.name: dict(secret.data) for secret in manifests.secrets}


class Story:
    """One run of the demo."""

    def __init__(self, broker: PrivateBroker, run: LocalRun, provider: Provider, destination: Destination) -> None:
        self.broker, self.run = broker, run
        self.provider, self.destination = provider, destination
        self.outcome = Outcome(broker_version=broker.version)
        self.poison = [poison(status) for status in POISON]
        self.dead = 0

    async def tell(self, say: Say) -> None:
        """Play all of it. Raises DemoError where it can not go on."""
        say(f"a burst of {WEBHOOKS:,} signed webhooks and {len(POISON)} poison ones, to a slow destination")
        await self._burst(say)
        say(f"the destination fails for {FAILING_S:g} s: workers retry through the broker's delay tiers")
        await asyncio.sleep(FAILING_S)
        self.destination.mood = Mood.WELL
        say("the destination is well again; what was retried comes back")
        await self._settle()
        say("one with a wrong signature, one that is too large")
        await self._refusals()
        await self._dead_letters(say)

    @property
    def settled(self) -> int:
        """Webhooks that were delivered or dead-lettered."""
        return len(self.destination.delivered) + self.dead

    async def _burst(self, say: Say) -> None:
        webhooks = [push(number) for number in range(WEBHOOKS)]
        step = WEBHOOKS // len(self.poison)
        for index, bad in enumerate(self.poison):
            webhooks.insert(index * step + index, bad)
        async with asyncio.TaskGroup() as group:
            burst = group.create_task(self.provider.burst(webhooks))
            await self._until(lambda: len(self.provider.ledger.accepted) >= KILL_AT, "webhooks to be accepted", 20)
            began = asyncio.get_running_loop().time()
            await self.broker.kill()
            say("the broker is killed (SIGKILL) and started again: 503s, then recovery")
            await asyncio.sleep(1.0)
            await self.broker.start()
            await self._until(burst.done, "the provider to get rid of the burst", 30)
            self.outcome.outage_s = asyncio.get_running_loop().time() - began
        self.destination.mood = Mood.FAILING

    async def _settle(self) -> None:
        async def counted() -> None:
            while self.settled < len(self.provider.ledger.accepted):
                await asyncio.sleep(0.3)
                self.dead = (await self.run.depths()).get(self.run.names.dead, 0)

        try:
            await asyncio.wait_for(counted(), SETTLE_S)
        except TimeoutError:
            return  # the claims will say what is missing

    async def _refusals(self) -> None:
        limit = self.run.source.spec.ingest.max_body_bytes
        self.outcome.statuses["a wrong signature"] = await self.provider.send(push(-1), secret=b"somebody else's")
        self.outcome.statuses["a body too large"] = await self.provider.send(oversized(int(limit)))

    async def _dead_letters(self, say: Say) -> None:
        self.outcome.dead = json.loads(await self._forebay("dlq", "list", "--output", "json"))
        if not self.outcome.dead:
            return
        # One that was given up after many attempts tells more than one that was rejected at once.
        chosen = max(self.outcome.dead, key=lambda letter: letter["attempts_made"])
        self.outcome.replayed_id = chosen["id"]
        say(f"$ forebay dlq show {chosen['id']}")
        self.outcome.shown = await self._forebay("dlq", "show", chosen["id"])
        say(self.outcome.shown)
        self.destination.repaired = True
        say(f"the destination is repaired\n$ forebay dlq replay {chosen['id']}")
        say(await self._forebay("dlq", "replay", chosen["id"]))
        await self._until(lambda: bool(self.destination.replayed), "the replayed webhook", 20)

    async def _forebay(self, *arguments: str) -> str:
        """What a person would type, against the demo's broker. The URL with its password goes by the environment."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "forebay_cli",
            *arguments,
            "--source",
            self.run.source.key,
            env={**os.environ, "FOREBAY_BROKER": self.broker.uri()},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode:
            raise DemoError(f"forebay {' '.join(arguments)} failed: {err.decode().strip()}")
        return out.decode().rstrip()

    async def _until(self, condition: Callable[[], bool], what: str, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise DemoError(f"waited {within_s:g} s in vain for {what}") from None
