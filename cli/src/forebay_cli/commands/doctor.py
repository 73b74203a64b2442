"""kubectl forebay doctor: everything that has to be there for sources to work, checked one by one."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forebay_cli import options
from forebay_cli.where import Cluster

if TYPE_CHECKING:
    from forebay_cli.cluster.checks import Line

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(
    "doctor",
    epilog=options.examples("""
kubectl forebay doctor                              the cluster and your rights
kubectl forebay doctor github -n payments           and this source: broker, destination, TLS
kubectl forebay doctor -o json | jq '.[] | select(.level == "fail")'
"""),
)
@click.argument("name", required=False)
@options.cluster(only=True)
@options.output
def command(*, name: str | None, cluster: Cluster, output: str) -> None:
    """Check everything that a source on a cluster needs.

    The CRD, your rights, the operator, optional APIs; of source NAME what the operator says, the broker and its logins, the
    destination's name, and the certificate of the public host. Changes nothing. Exits with 1 if anything fails.
    """
    found = asyncio.run(_examine(cluster, name))
    if output == "json":
        click.echo(json.dumps([{"level": one.level, "about": one.about, "text": one.text} for one in found], indent=2))
    else:
        _print(found)
    if any(one.level == "fail" for one in found):
        sys.exit(1)


async def _examine(cluster: Cluster, name: str | None) -> "list[Line]":
    from forebay_cli.cluster.api import connected  # noqa: PLC0415  # brings the Kubernetes client, which --help can do without
    from forebay_cli.cluster.checks import lines  # noqa: PLC0415  # as above
    from forebay_cli.cluster.examination import examine  # noqa: PLC0415  # as above

    async with connected(cluster) as api:
        return lines(await examine(api, cluster, name))


def _print(found: "list[Line]") -> None:
    grid = Table.grid(padding=(0, 2))
    for column in range(3):
        grid.add_column(no_wrap=column < 2, overflow="fold")
    for one in found:
        grid.add_row(Text(one.level, _STYLES[one.level]), one.about, Text(one.text))
    Console().print(grid)
