"""forebay status: one screen that shows how webhooks flow, and what to do next."""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from forebay_cli import options
from forebay_cli.local import admin
from forebay_cli.standing import Standing, standing
from forebay_cli.state import Home
from forebay_cli.target import Target, target

EVERY_S = 1.0


@click.command(
    "status",
    epilog=options.examples("""
forebay status
forebay status --watch
forebay status -o json | jq .dead
FOREBAY_BROKER=amqp://me:secret@rabbitmq forebay status --source payments/github
"""),
)
@options.source
@options.broker
@options.management
@click.option("--watch", is_flag=True, help="Look every second, until Ctrl-C.")
@options.output
@click.pass_obj
def command(
    home: Home, *, source_key: str | None, broker: str | None, management: str | None, watch: bool, output: str
) -> None:
    """Show on one screen how webhooks flow.

    Of the source that runs here, or of --source on --broker, where only its queues can be seen.
    """
    if watch and output == "text":
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_watch(home, source_key, broker, management))
        return
    now = asyncio.run(_look(target(home, source_key, broker, management)))
    if output == "json":
        click.echo(json.dumps({**asdict(now), "next": now.next}, indent=2))
    else:
        Console().print(screen(now))


async def _look(place: Target) -> Standing:
    processes = place.running.processes if place.running else ()
    async with place.broker.management() as management:
        queues = await management.queues(place.broker.vhost)
    metrics = await admin.metrics(process.admin for process in processes if process.admin)
    return standing(place, metrics, {queue.name: queue.messages for queue in queues})


async def _watch(home: Home, source: str | None, broker: str | None, management: str | None) -> None:
    with Live(Text("looking …"), auto_refresh=False, screen=Console().is_terminal) as live:
        while True:
            # The target anew each time: processes start again at other addresses.
            live.update(screen(await _look(target(home, source, broker, management))), refresh=True)
            await asyncio.sleep(EVERY_S)


def screen(now: Standing) -> RenderableType:
    """The standing as a person reads it."""
    return Group(*_heading(now), Text(), *_flow(now), Text(), *_details(now), Text(), _next(now))


def _heading(now: Standing) -> Iterator[RenderableType]:
    yield Text.assemble((now.source, "bold"), "  ", now.url or "")
    yield Text(f"broker {now.broker}", style="dim")


def _flow(now: Standing) -> Iterator[RenderableType]:
    """The way of a webhook, drawn: the numbers stand under their stations."""
    stations = (
        ("received", now.received, ""),
        ("queued", sum(now.queued.values()), ""),
        ("delivered", now.delivered, "green"),
    )
    yield _stations(stations)
    refused = None if now.received is None else sum(now.refused.values())
    branches = (
        ("└─> refused", refused, "yellow" if refused else "dim"),
        ("└─> retrying", now.retrying, "yellow" if now.retrying else "dim"),
        ("└─> dead", now.dead, "red" if now.dead else "dim"),
    )
    yield Text()
    yield _stations(branches, arrow="")


def _stations(stations: tuple[tuple[str, int | None, str], ...], arrow: str = "──>") -> Table:
    grid = Table.grid(padding=(0, 2))
    for index in range(len(stations)):
        grid.add_column(min_width=13)
        if index < len(stations) - 1:
            grid.add_column(min_width=3)
    for pick in (0, 1):
        cells: list[Text] = []
        for station in stations:
            cells.append(Text(station[0] if pick == 0 else f"  {_number(station[1])}", style=station[2] or "bold"))
            cells.append(Text(arrow if pick == 0 else ""))
        grid.add_row(*cells[:-1])
    return grid


def _details(now: Standing) -> Iterator[RenderableType]:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="cyan")
    rows.add_column()
    for name, text in _facts(now):
        rows.add_row(name, text)
    yield rows


def _facts(now: Standing) -> Iterator[tuple[str, str]]:
    if now.refused:
        yield "refused", _listed(now.refused)
    if now.confirm_p99_s is not None:
        yield "accepting", f"99 % are answered within {now.confirm_p99_s * 1000:g} ms"
    yield "queues", _listed(now.queued) or "none"
    if now.in_flight is not None:
        yield "delivering", f"{now.in_flight:,} now; {now.failed_attempts:,} attempts failed so far"
    if now.dead_reasons:
        yield "died of", _listed(now.dead_reasons)
    if now.orphans:
        yield "orphans", f"{now.orphans:,} came back from a delay to sources that are gone (queue forebay.orphans)"
    for process in now.processes:
        again = f", started again {process.restarts} times" if process.restarts else ""
        yield "process", f"{process.name} {process.state} (pid {process.pid}{again})"


def _next(now: Standing) -> Text:
    return Text.assemble("next: ", (now.next, "green"))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
