"""kubectl forebay tail: what the pods of a source say, as they say it."""

import asyncio
import contextlib
import sys
from collections.abc import Callable

import click

from forebay_cli import options
from forebay_cli.where import Cluster


@click.command(
    "tail",
    epilog=options.examples("""
kubectl forebay tail github -n payments
kubectl forebay tail github --failed                what was refused, retried or given up
kubectl forebay tail github --component worker --queue invoices --since 1h --no-follow
"""),
)
@click.argument("name")
@click.option("--failed", is_flag=True, help="Only what did not succeed: refusals, retries, dead letters, errors.")
@click.option("--component", type=click.Choice(["ingest", "worker"]), help="Pods of this component.  [default: both]")
@click.option("--queue", help="Workers of this queue.")
@click.option("--last", type=click.IntRange(0), default=20, show_default=True, help="Lines of each pod to begin with.")
@click.option("--since", metavar="TIME", help="Lines of the last 30s, 10m, 2h or 1d.")
@click.option("--follow/--no-follow", default=True, help="Go on until Ctrl-C.  [default: follow]")
@options.cluster(only=True)
@options.output
def command(
    *,
    name: str,
    cluster: Cluster,
    failed: bool,
    component: str | None,
    queue: str | None,
    last: int,
    since: str | None,
    follow: bool,
    output: str,
) -> None:
    """Follow what the pods of a source say.

    Deliveries that succeed are counted and not logged, so silence is good; kubectl forebay status shows the counts.
    """
    since_s = None if since is None else options.seconds("--since", since)
    # Whoever says from when wants all since then.
    lines = last if since_s is None else 10_000_000
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            _tail(cluster, name, _printer(failed=failed, output=output),
                  {"component": component, "queue": queue, "last": lines, "since_s": since_s, "follow": follow})
        )  # fmt: skip


async def _tail(cluster: Cluster, name: str, show: Callable[[str, str], None], wanted: dict[str, object]) -> None:
    from forebay_cli.cluster.api import connected  # noqa: PLC0415  # brings the Kubernetes client, which --help can do without
    from forebay_cli.cluster.sources import find  # noqa: PLC0415  # as above
    from forebay_cli.cluster.tailing import Wish, tail  # noqa: PLC0415  # as above

    async with connected(cluster) as api:
        metadata = (await find(api, name))["metadata"]
        wish = Wish(namespace=metadata["namespace"], name=metadata["name"], **wanted)  # type: ignore[arg-type]  # by their names
        try:
            await tail(api, wish, show, _note)
        except BaseExceptionGroup as several:  # of several pods' logs; the first of them says it
            raise _first(several) from None


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    one = several.exceptions[0]
    return _first(one) if isinstance(one, BaseExceptionGroup) else one


def _printer(*, failed: bool, output: str) -> Callable[[str, str], None]:
    from forebay_cli.cluster import lines  # noqa: PLC0415  # as above

    def show(pod: str, line: str) -> None:
        if failed and not lines.failed(line):
            return
        if output == "json":
            click.echo(lines.as_json(pod, line))
            return
        colour = lines.style(line) or None
        click.secho(lines.shown(pod, line), fg=colour)

    return show


def _note(text: str) -> None:
    print(f"-- {text}", file=sys.stderr)
