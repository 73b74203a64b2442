"""kubectl forebay pause: let the endpoint of a source, or its workers, rest. And resume, which ends it."""

import asyncio
from typing import TYPE_CHECKING

import click

from forebay_cli import options
from forebay_cli.where import KUBECTL, Cluster

if TYPE_CHECKING:
    from forebay_cli.cluster.suspending import Part

_PARTS = {"ingest": ("Ingest",), "workers": ("Workers",), "all": ("Ingest", "Workers")}


@click.command(
    "pause",
    epilog=options.examples("""
kubectl forebay pause github                        deliver nothing, take webhooks in
kubectl forebay pause github -n payments --ingest   answer 503, deliver what is queued
kubectl forebay pause github --all
"""),
)
@click.argument("name")
@click.option("--workers", "part", flag_value="workers", default="workers", help="Nothing is delivered.  [default]")
@click.option("--ingest", "part", flag_value="ingest", help="The endpoint answers 503.")
@click.option("--all", "part", flag_value="all", help="Both.")
@options.cluster(only=True)
def command(*, name: str, part: str, cluster: Cluster) -> None:
    """Let a source on a cluster rest.

    Sets spec.suspend. With --workers no webhook is refused and none is lost: they wait in their queues. With --ingest the
    provider gets 503 and tries again later. Whatever rests already goes on resting.
    """
    asyncio.run(_change(cluster, name, part, rest=True))


@click.command(
    "resume",
    epilog=options.examples("""
kubectl forebay resume github
kubectl forebay resume github -n payments --workers
"""),
)
@click.argument("name")
@click.option("--all", "part", flag_value="all", default="all", help="The endpoint and the workers.  [default]")
@click.option("--workers", "part", flag_value="workers", help="Deliver again.")
@click.option("--ingest", "part", flag_value="ingest", help="Take webhooks in again.")
@options.cluster(only=True)
def resume(*, name: str, part: str, cluster: Cluster) -> None:
    """End the rest of a source on a cluster.

    Sets spec.suspend. Webhooks that waited are delivered, at the pace that the source allows.
    """
    asyncio.run(_change(cluster, name, part, rest=False))


async def _change(cluster: Cluster, name: str, part: str, *, rest: bool) -> None:
    from forebay_cli.cluster.api import connected  # noqa: PLC0415  # brings the Kubernetes client, which --help can do without
    from forebay_cli.cluster.suspending import MEANING, change, others_who_set_it  # noqa: PLC0415  # as above

    parts: tuple[Part, ...] = _PARTS[part]  # type: ignore[assignment]  # mypy sees words, not Part
    async with connected(cluster) as api:
        before, after = await change(api, name, parts, rest=rest)
    value, metadata = after["spec"].get("suspend", "None"), after["metadata"]
    already = " already" if value == before["spec"].get("suspend", "None") else ""
    click.echo(f"{metadata['namespace']}/{metadata['name']}: spec.suspend is {value}{already}: {MEANING[value]}")
    if others := others_who_set_it(before):
        click.echo(f"note: {', '.join(others)} set spec.suspend too and may set it back; change it there", err=True)
    place = " ".join((metadata["name"], "-n", metadata["namespace"], *cluster.flags))
    click.echo(f"next: {KUBECTL} {'status' if value == 'None' else 'resume'} {place}")
