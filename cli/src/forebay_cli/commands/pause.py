"""forebay pause: let the endpoint of a source, or its workers, rest; here or on a cluster. And resume, which ends it."""

import asyncio

import click

from forebay.errors import SpecError
from forebay_cli import options
from forebay_cli.resting import MEANING, Part
from forebay_cli.state import Home
from forebay_cli.where import KUBECTL, Cluster

_PARTS: dict[str, tuple[Part, ...]] = {"ingest": ("Ingest",), "workers": ("Workers",), "all": ("Ingest", "Workers")}


@click.command(
    "pause",
    epilog=options.examples("""
forebay pause                                       the source that runs here: deliver nothing, take webhooks in
kubectl forebay pause github                        the same on a cluster
kubectl forebay pause github -n payments --ingest   answer 503, deliver what is queued
kubectl forebay pause github --all
"""),
)
@click.argument("name", required=False)
@click.option("--workers", "part", flag_value="workers", default="workers", help="Nothing is delivered.  [default]")
@click.option("--ingest", "part", flag_value="ingest", help="The endpoint answers 503.")
@click.option("--all", "part", flag_value="all", help="Both.")
@options.cluster()
@click.pass_obj
def command(home: Home, *, name: str | None, part: str, cluster: Cluster | None) -> None:
    """Let a source rest, on a cluster or here.

    With --workers no webhook is refused and none is lost: they wait in their queues, and what is being delivered is finished.
    With --ingest the provider gets 503 and tries again later. Whatever rests already goes on resting. On a cluster it sets
    spec.suspend; here it is followed until forebay dev ends.
    """
    _change(home, cluster, name, part, rest=True)


@click.command(
    "resume",
    epilog=options.examples("""
forebay resume
kubectl forebay resume github
kubectl forebay resume github -n payments --workers
"""),
)
@click.argument("name", required=False)
@click.option("--all", "part", flag_value="all", default="all", help="The endpoint and the workers.  [default]")
@click.option("--workers", "part", flag_value="workers", help="Deliver again.")
@click.option("--ingest", "part", flag_value="ingest", help="Take webhooks in again.")
@options.cluster()
@click.pass_obj
def resume(home: Home, *, name: str | None, part: str, cluster: Cluster | None) -> None:
    """End the rest of a source, on a cluster or here.

    Webhooks that waited are delivered, at the pace that the source allows.
    """
    _change(home, cluster, name, part, rest=False)


def _change(home: Home, cluster: Cluster | None, name: str | None, part: str, *, rest: bool) -> None:
    asyncio.run(_here(home, name, part, rest=rest) if cluster is None else _there(cluster, name, part, rest=rest))


async def _here(home: Home, name: str | None, part: str, *, rest: bool) -> None:
    from forebay_cli.local.pausing import change  # noqa: PLC0415  # --help can do without

    before, after = await change(home, name, _PARTS[part], rest=rest)
    already = " already" if before.suspend == after.suspend else ""
    click.echo(f"{after.source}: spec.suspend is {after.suspend}{already}: {MEANING[after.suspend]}")
    click.echo(f"next: forebay {'status' if after.suspend == 'None' else 'resume'}")


async def _there(cluster: Cluster, name: str | None, part: str, *, rest: bool) -> None:
    from forebay_cli.cluster.api import connected  # noqa: PLC0415  # brings the Kubernetes client, which --help can do without
    from forebay_cli.cluster.suspending import change, others_who_set_it  # noqa: PLC0415  # as above

    if name is None:
        raise SpecError("it is not said which source; name it first: kubectl forebay pause NAME")
    async with connected(cluster) as api:
        before, after = await change(api, name, _PARTS[part], rest=rest)
    value, metadata = after["spec"].get("suspend", "None"), after["metadata"]
    already = " already" if value == before["spec"].get("suspend", "None") else ""
    click.echo(f"{metadata['namespace']}/{metadata['name']}: spec.suspend is {value}{already}: {MEANING[value]}")
    if others := others_who_set_it(before):
        click.echo(f"note: {', '.join(others)} set spec.suspend too and may set it back; change it there", err=True)
    place = " ".join((metadata["name"], "-n", metadata["namespace"], *cluster.flags))
    click.echo(f"next: {KUBECTL} {'status' if value == 'None' else 'resume'} {place}")
