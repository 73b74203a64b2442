"""forebay status: one screen that shows how webhooks flow, and what to do next; here or on a cluster."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from forebay.errors import SpecError
from forebay_cli import options
from forebay_cli.drawing import branches, facts, listed, way
from forebay_cli.holding import said
from forebay_cli.local import admin
from forebay_cli.standing import Standing, standing
from forebay_cli.state import Home
from forebay_cli.target import Target, target
from forebay_cli.waits import in_sentences
from forebay_cli.where import Cluster

if TYPE_CHECKING:
    from forebay_cli.cluster.api import Api

EVERY_S = 1.0
CLUSTER_EVERY_S = 2.0


@click.command(
    "status",
    epilog=options.examples("""
forebay status                                      the source that runs here
forebay status --watch
forebay status -o json | jq .dead
kubectl forebay status                              all sources of the namespace
kubectl forebay status github -n payments
kubectl forebay status -A
FOREBAY_BROKER=amqp://me:secret@rabbitmq forebay status --source payments/github
"""),
)
@click.argument("name", required=False)
@options.cluster(everywhere=True)
@options.source
@options.broker
@options.management
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@options.output
@click.pass_obj
def command(
    home: Home,
    *,
    name: str | None,
    cluster: Cluster | None,
    source_key: str | None,
    broker: str | None,
    management: str | None,
    watch: bool,
    output: str,
) -> None:
    """Show on one screen how webhooks flow.

    On a cluster: of source NAME, or a line for each source. Here: of the source that forebay dev runs, or of --source on
    --broker, where only its queues can be seen.
    """
    wanted = options.one_of(name, source_key)
    follow = watch and output == "text"
    if cluster is not None:
        _cluster(cluster, wanted, follow=follow, output=output)
    elif follow:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_watch(home, wanted, broker, management))
    else:
        now = asyncio.run(_look(target(home, wanted, broker, management)))
        _print({**asdict(now), "next": now.next}, screen(now), output)


def _print(data: object, shown: RenderableType, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(data, indent=2))
    else:
        Console().print(shown)


# ------------------------------------------------------------------------------------------------------ on a cluster


def _cluster(cluster: Cluster, name: str | None, *, follow: bool, output: str) -> None:
    if name is not None and cluster.everywhere:
        raise SpecError("-A is for all sources and NAME for one; leave out one of them")
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_watch_cluster(cluster, name))
        return
    _print(*asyncio.run(_look_at_cluster(cluster, name)), output)


async def _look_at_cluster(cluster: Cluster, name: str | None) -> tuple[object, RenderableType]:
    from forebay_cli.cluster.api import connected  # noqa: PLC0415  # brings the Kubernetes client, which others can do without

    async with connected(cluster) as api:
        return await _seen(api, cluster, name)


async def _watch_cluster(cluster: Cluster, name: str | None) -> None:
    from forebay_cli.cluster.api import connected  # noqa: PLC0415  # as above

    async with connected(cluster) as api:
        with Live(Text("looking …"), auto_refresh=False, screen=Console().is_terminal) as live:
            while True:
                live.update((await _seen(api, cluster, name))[1], refresh=True)
                await asyncio.sleep(CLUSTER_EVERY_S)


async def _seen(api: "Api", cluster: Cluster, name: str | None) -> tuple[object, RenderableType]:
    from forebay_cli.cluster import look, screen, standing  # noqa: PLC0415  # as above
    from forebay_cli.cluster.api import SOURCES  # noqa: PLC0415  # as above

    if name is not None:
        now = standing.standing(await look.look(api, name))
        return screen.as_json(now, cluster), screen.screen(now, cluster)
    sources = await api.list(SOURCES, None if cluster.everywhere else api.namespace)
    moment = time.time()
    if not sources:
        where = "in this cluster" if cluster.everywhere else f"in namespace {api.namespace}; -A looks everywhere"
        return [], Text(f"There is no source {where}")
    return (
        [screen.summary(source, moment) for source in sources],
        screen.table(sources, moment, everywhere=cluster.everywhere),
    )


# ---------------------------------------------------------------------------------------------------- on this machine


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
    refused = None if now.received is None else sum(now.refused.values())
    return Group(
        *_heading(now),
        Text(),
        way(received=now.received, queued=sum(now.queued.values()), delivered=now.delivered),
        Text(),
        branches(refused, ("retrying", now.retrying, ""), now.dead),
        Text(),
        facts(_facts(now)),
        Text(),
        _next(now),
    )


def _heading(now: Standing) -> Iterator[RenderableType]:
    yield Text.assemble((now.source, "bold"), "  ", now.url or "")
    yield Text(f"broker {now.broker}", style="dim")
    if now.suspend != "None":
        yield Text(f"rests: spec.suspend is {now.suspend}", style="yellow")


def _taken(now: Standing) -> Iterator[tuple[str, str]]:
    if now.refused:
        yield "refused", listed(now.refused)
    if now.duplicates:
        yield "duplicates", f"{now.duplicates:,} were answered and not delivered again"
    if now.buffered:
        yield "outage", f"{now.buffered:,} accepted webhooks wait in the outage buffer for the broker"
    if now.confirm_p99_s is not None:
        yield "accepting", f"99 % are answered within {now.confirm_p99_s * 1000:g} ms"


def _facts(now: Standing) -> Iterator[tuple[str, str]]:
    yield from _taken(now)
    yield "queues", listed(now.queued) or "none"
    if now.in_flight is not None:
        yield "delivering", f"{now.in_flight:,} now; {now.failed_attempts:,} attempts failed so far"
    yield from in_sentences(now.waits)
    if now.held:
        yield "holds", said(now.held)
    if now.dead_reasons:
        yield "died of", listed(now.dead_reasons)
    if now.orphans:
        yield "orphans", f"{now.orphans:,} came back from a delay to sources that are gone (queue forebay.orphans)"
    for process in now.processes:
        again = f", started again {process.restarts} times" if process.restarts else ""
        yield "process", f"{process.name} {process.state} (pid {process.pid}{again})"


def _next(now: Standing) -> Text:
    return Text.assemble("next: ", (now.next, "green"))
