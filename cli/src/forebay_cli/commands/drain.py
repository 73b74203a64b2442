"""kubectl forebay drain: close the endpoint of a source and wait until its queues are empty."""

import asyncio
import time
from typing import TYPE_CHECKING

import click
from rich.console import Console

from forebay.errors import ForebayError
from forebay_cli import options
from forebay_cli.resting import MEANING
from forebay_cli.where import KUBECTL, Cluster

if TYPE_CHECKING:
    from forebay_cli.cluster.api import Api, Object


@click.command(
    "drain",
    epilog=options.examples("""
kubectl forebay drain github -n payments
kubectl forebay drain github --timeout 10m && kubectl delete whs github
"""),
)
@click.argument("name")
@click.option("--timeout", metavar="TIME", help="Wait no longer than 30s, 10m, 2h.  [default: until Ctrl-C]")
@options.cluster(only=True)
def command(*, name: str, timeout: str | None, cluster: Cluster) -> None:
    """Take nothing more in, and wait until all is delivered.

    Sets spec.suspend to Ingest: the provider gets 503 and tries again later. Dead letters stay where they are. Whoever stops
    it leaves the endpoint closed.
    """
    timeout_s = None if timeout is None else options.seconds("--timeout", timeout)
    asyncio.run(_drain(cluster, name, timeout_s))


async def _drain(cluster: Cluster, name: str, timeout_s: int | None) -> None:
    from forebay_cli.cluster import draining  # noqa: PLC0415  # brings the Kubernetes client, which --help can do without
    from forebay_cli.cluster.api import connected  # noqa: PLC0415  # as above
    from forebay_cli.cluster.suspending import change  # noqa: PLC0415  # as above

    async with connected(cluster) as api:
        _, source = await change(api, name, ("Ingest",), rest=True)
        metadata = source["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        click.echo(f"{key}: {MEANING['Ingest']}")
        tell = _teller()
        end = await draining.wait(api, key, tell, timeout_s)
        click.echo(f"{key}: its queues are empty")
        click.echo(await _retries(api, cluster, source))
    place = " ".join((metadata["name"], "-n", metadata["namespace"], *cluster.flags))
    if end.dead:
        click.echo(f"{end.dead:,} dead letters stay: {KUBECTL} dlq list {place}")
    click.echo(f"next: kubectl delete whs {place}, or {KUBECTL} resume {place}")


async def _retries(api: "Api", cluster: Cluster, source: "Object") -> str:
    """What lies in the delay tiers, as far as it can be seen: it belongs to whoever comes back for it."""
    from forebay_cli.cluster.draining import retries  # noqa: PLC0415  # as above

    try:
        count = await retries(api, cluster, source)
    except ForebayError as error:
        return f"whether some wait to be tried again can not be seen: {error}"
    if not count:
        return "none waits to be tried again"
    return (
        f"{count:,} wait to be tried again in delay tiers that all sources of the broker share; those of this source come back"
        " to its queues: drain it again later to be sure"
    )


def _teller() -> "_Teller":
    return _Teller(Console(stderr=True))


class _Teller:
    """At a screen one line that changes; elsewhere a line for each change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._before = ""
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        if self._console.is_terminal:
            self._console.print(f"{time.monotonic() - self._began:5.0f} s  {text}", end="\r", highlight=False)
        elif text != self._before:
            print(text, flush=True)
        self._before = text
