"""forebay explain: why did this one not arrive? The life of one webhook on one screen."""

import asyncio
import json

import click
from rich.console import Console

from forebay.errors import SpecError
from forebay_cli import options
from forebay_cli.life.facts import Facts
from forebay_cli.life.life import life
from forebay_cli.life.show import as_json, screen
from forebay_cli.state import Home
from forebay_cli.target import target
from forebay_cli.where import Cluster


@click.command(
    "explain",
    epilog=options.examples("""
forebay explain 019ab3c4-7d1e-7000-8000-000000000000
forebay explain 72d3162e-cc78-11e3-81ab-4c9367dc0958      the provider's id does too
kubectl forebay explain github 019ab3c4-7d1e-7000-8000-000000000000 -n payments
forebay explain 019ab3c4-7d1e-7000-8000-000000000000 -o json | jq .now
"""),
)
@click.argument("words", metavar="[NAME] ID", nargs=-1, required=True)
@options.cluster()
@options.source
@options.broker
@options.management
@options.output
@click.pass_obj
def command(
    home: Home,
    *,
    words: tuple[str, ...],
    cluster: Cluster | None,
    source_key: str | None,
    broker: str | None,
    management: str | None,
    output: str,
) -> None:
    """Tell the life of one webhook, and why it did not arrive.

    Every attempt, what it waited for, where it is now, what to do next; by its id (X-Forebay-Id) or the provider's. Told by
    the dead letters, the workers' logs and the depths of the queues; nothing is taken out of a queue to look at it, and what
    is not known is said. On a cluster the first argument is the source's name.
    """
    name, wanted = _named(words, source_key, on_a_cluster=cluster is not None)
    if cluster is not None:
        facts = asyncio.run(_afar(cluster, str(name), wanted))
    else:
        facts = asyncio.run(_here(home, name, wanted, broker, management))
    told = life(facts)
    if output == "json":
        click.echo(json.dumps(as_json(told, facts.unseen), indent=2))
    else:
        Console().print(screen(told, facts.unseen))


async def _afar(cluster: Cluster, name: str, wanted: str) -> Facts:
    from forebay_cli.life import afar  # noqa: PLC0415  # brings the Kubernetes client, which others can do without

    return await afar.gather(cluster, name, wanted)


async def _here(home: Home, name: str | None, wanted: str, broker: str | None, management: str | None) -> Facts:
    from forebay_cli.life import here  # noqa: PLC0415  # brings the broker's client, which --help can do without

    return await here.gather(target(home, name, broker, management), wanted)


def _named(words: tuple[str, ...], source_key: str | None, *, on_a_cluster: bool) -> tuple[str | None, str]:
    """The source and the id. Of a cluster's source the name comes first, unless --source says it."""
    *names, wanted = words
    if len(names) > 1:
        raise SpecError("one webhook is explained at a time; give one id")
    name = options.one_of(names[0] if names else None, source_key)
    if on_a_cluster and name is None:
        raise SpecError(f"it is not said which source; name it first: kubectl forebay explain NAME {wanted}")
    return name, wanted
