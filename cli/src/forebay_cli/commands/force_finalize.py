"""kubectl forebay force-finalize: what the operator would have done last, by hand, when there is no operator any more."""

import asyncio
from typing import TYPE_CHECKING

import click

from forebay.errors import Rejected
from forebay_cli import options
from forebay_cli.where import Cluster

if TYPE_CHECKING:
    from forebay_cli.cluster.api import Object
    from forebay_cli.cluster.leftovers import Left


@click.command(
    "force-finalize",
    epilog=options.examples("""
kubectl delete whs github -n payments --wait=false
kubectl forebay force-finalize github -n payments
"""),
)
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.cluster(only=True)
def command(*, name: str, yes: bool, cluster: Cluster) -> None:
    """Let a deleted source go that no operator cleans up.

    Removes the finalizer forebay.dev/broker, by which a deleted source waits until the operator has cleaned up on the broker.
    The queues and users stay there, with the webhooks in them; the commands that remove them are printed.
    """
    source, left, alive = asyncio.run(_look(cluster, name))
    for line in left.story():
        click.echo(line)
    if alive:
        click.echo(f"note: {alive}", err=True)
    if not yes:
        click.confirm("Let it go?", abort=True)
    asyncio.run(_release(cluster, source))
    click.echo(f"{left.names.namespace}/{left.names.name} is let go. To remove what stays, with the webhooks in it:")
    for line in left.commands():
        click.echo(f"  {line}")


async def _look(cluster: Cluster, name: str) -> "tuple[Object, Left, str | None]":
    from forebay_cli.cluster import leftovers, operators  # noqa: PLC0415  # brings the Kubernetes client, which --help can do without
    from forebay_cli.cluster.api import connected  # noqa: PLC0415  # as above
    from forebay_cli.cluster.sources import find  # noqa: PLC0415  # as above

    async with connected(cluster) as api:
        source = await find(api, name)
        metadata = source["metadata"]
        if "deletionTimestamp" not in metadata:
            place = f"{metadata['name']} -n {metadata['namespace']}"
            raise Rejected(f"{metadata['name']} is not being deleted; first kubectl delete whs {place} --wait=false")
        if leftovers.FINALIZER not in metadata.get("finalizers", ()):
            others = ", ".join(metadata.get("finalizers", ()))
            raise Rejected(f"{metadata['name']} does not wait for Forebay; look for who has finalizer {others}")
        return source, await leftovers.left_of(api, source), operators.alive(await operators.seen(api))


async def _release(cluster: Cluster, source: "Object") -> None:
    from forebay_cli.cluster import leftovers  # noqa: PLC0415  # as above
    from forebay_cli.cluster.api import connected  # noqa: PLC0415  # as above

    async with connected(cluster) as api:
        await leftovers.release(api, source)
