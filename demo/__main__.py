"""Forebay's main job, once, before your eyes: `make demo`. Exit 0 only if every claim held, checked against ledgers."""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.claims import Claim, Figures, claims, figures
from demo.destination import Destination
from demo.provider import Provider
from demo.story import DemoError, Say, Story, load
from forebay.errors import ForebayError
from forebay_cli.local.run import LocalRun
from forebay_cli.rabbitmq import private_broker

PROGRESS_S = 0.5 if sys.stdout.isatty() else 2.0


async def main(console: Console) -> int:
    began = time.monotonic()
    say = _sayer(console, began)
    say("starting a private RabbitMQ, one endpoint, two workers for each queue, a destination")
    with tempfile.TemporaryDirectory(prefix="forebay-demo-") as folder:
        async with Destination() as destination, private_broker(Path(folder) / "broker") as broker:
            source, secrets = load(destination.url)
            signing = source.spec.ingest.verification.secret_refs[0]
            async with (
                LocalRun(source, secrets, broker=broker, workers=2, folder=Path(folder) / "run") as run,
                Provider(run.url, secrets[signing.name][signing.key]) as provider,
            ):
                story = Story(broker, run, provider, destination)
                say(f"RabbitMQ {broker.version}; endpoint {run.url}; destination {destination.url}")
                async with _progress(console, story, began):
                    await story.tell(say)
    held = claims(story)
    console.print(_table(story, figures(story)), *_verdicts(held), sep="\n")
    ok = all(claim.holds for claim in held)
    console.print(f"\n{'Every claim held' if ok else 'NOT every claim held'} ({time.monotonic() - began:.0f} s).")
    return 0 if ok else 1


def _sayer(console: Console, began: float) -> Say:
    def say(text: str) -> None:
        console.print(Text(f"{time.monotonic() - began:5.1f} s  ", style="dim").append(Text(text, style="bold")))

    return say


@contextlib.asynccontextmanager
async def _progress(console: Console, story: Story, began: float) -> AsyncIterator[None]:
    async def show() -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            ledger, seen = story.provider.ledger, story.destination
            refused = " ".join(f"{count}×{status}" for status, count in sorted(ledger.refused.items())) or "0"
            console.print(
                f"[dim]{time.monotonic() - began:5.1f} s  accepted {len(ledger.accepted)}, refused {refused},"
                f" attempts {seen.attempts}, delivered {len(seen.delivered)}, dead {story.dead}[/dim]"
            )

    task = asyncio.ensure_future(show())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _table(story: Story, found: Figures) -> Table:
    ledger, seen = story.provider.ledger, story.destination
    table = Table(title="\nWhat became of them", show_header=False, min_width=60)
    table.add_column(style="cyan")
    table.add_column(justify="right")
    refused = "\n".join(f"{count:,} × {status}" for status, count in sorted(ledger.refused.items()))
    reasons: dict[str, int] = {}
    for letter in story.outcome.dead:
        reasons[letter["reason"]] = reasons.get(letter["reason"], 0) + 1
    rows = [
        ("requests sent", f"{story.provider.sent:,}"),
        ("accepted (2xx after the broker's confirm)", f"{found.accepted:,}"),
        ("refused, by status", refused),
        ("without an answer", f"{ledger.unanswered:,}"),
        ("broker killed → burst accepted", f"{story.outcome.outage_s:.1f} s"),
        ("delivered", f"{found.delivered:,}"),
        ("delivery attempts", f"{seen.attempts:,}"),
        ("duplicates (at least once)", f"{found.duplicates:,}"),
        ("dead-lettered, by reason", "\n".join(f"{count} × {reason}" for reason, count in reasons.items())),
        ("accepted within, p50 / p99", f"{found.p50_ms:.1f} / {found.p99_ms:.1f} ms"),
    ]
    for row in rows:
        table.add_row(*row)
    table.add_section()
    table.add_row("[bold]lost[/bold]", f"[bold {'green' if not found.lost else 'red'}]{len(found.lost)}[/]")
    return table


def _verdicts(held: list[Claim]) -> list[str]:
    return [f"[{'green' if claim.holds else 'red'}]{'✓' if claim.holds else '✗'}[/] {claim.text}" for claim in held]


if __name__ == "__main__":
    screen = Console(highlight=False, soft_wrap=True)
    try:
        sys.exit(asyncio.run(main(screen)))
    except (ForebayError, DemoError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
