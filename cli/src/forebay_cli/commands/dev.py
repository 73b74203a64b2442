"""forebay dev: a source on this machine, as the same processes it has in a cluster."""

import asyncio
import os
from pathlib import Path

import click
from rich.console import Console

from forebay_cli import options
from forebay_cli.commands.send import moment
from forebay_cli.given import given
from forebay_cli.local.dev import Wanted, dev
from forebay_cli.local.display import Display
from forebay_cli.state import Home


@click.command(
    "dev",
    epilog=options.examples("""
forebay dev -f source.yaml
forebay dev -f source.yaml -f secret.yaml --workers 4 --logs
forebay dev -f source.yaml --destination http://127.0.0.1:3000/webhooks
FOREBAY_BROKER=amqp://me:secret@rabbitmq.example.com forebay dev -f source.yaml
forebay dev -f source.yaml --secret github-webhook/secret=@secret.txt
"""),
)
@options.files()
@options.source
@options.secrets
@options.broker
@options.management
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the private broker's data here for the next run.  [default: throw it away]",
)
@click.option(
    "--workers", type=click.IntRange(0, 64), help="Worker processes of each queue.  [default: the manifest's]"
)
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the endpoint; 0: a free one.  [default: 8080]")
@click.option("--destination", metavar="URL", help="Deliver to this URL instead of where the manifest says.")
@click.option("--logs", is_flag=True, help="Show what the processes print.")
@click.pass_obj
def command(
    home: Home,
    *,
    files: tuple[str, ...],
    source_key: str | None,
    secrets: tuple[str, ...],
    broker: str | None,
    management: str | None,
    data: Path | None,
    workers: int | None,
    port: int | None,
    destination: str | None,
    logs: bool,
) -> None:
    """Run a source on this machine until Ctrl-C.

    The same objects, queues and container commands as in a cluster, as local processes. Without --broker the machine's
    rabbitmq-server is started privately. Signing secrets that are nowhere to be found are made up.
    """
    about = given(files, secrets, source_key)
    wanted = Wanted(
        broker=broker,
        management=management,
        data=data.resolve() if data else None,
        workers=workers,
        port=port,
        destination=destination,
        environ={name: os.environ[name] for name in ("FOREBAY_LOG_LEVEL",) if name in os.environ},
    )
    display = Display(Console(), moment(1), logs=logs)
    asyncio.run(dev(about, home.notes(about.source.key), wanted, display))
