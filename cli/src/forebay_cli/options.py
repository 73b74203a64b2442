"""Options that several commands share: the same names, meanings and words everywhere."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

OUTPUTS = click.Choice(["text", "json"])


def files(*, required: bool = True) -> Callable[[F], F]:
    return click.option(
        "-f",
        "--file",
        "files",
        multiple=True,
        required=required,
        metavar="FILE",
        help="Manifest of the source, and of its Secrets; a folder, or - for standard input. Can be repeated.",
    )


source = click.option("--source", "source_key", metavar="NAMESPACE/NAME", help="Which source, where there are several.")
secrets = click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="NAME/KEY=@FILE",
    help="A Secret's value, besides those in the manifests and in FOREBAY_SECRET_NAME_KEY. Can be repeated.",
)
output = click.option(
    "-o", "--output", type=OUTPUTS, default="text", show_default=True, help="What to print: for people or for scripts."
)
broker = click.option(
    "--broker",
    metavar="AMQP-URL",
    envvar="FOREBAY_BROKER",
    help="RabbitMQ to use, as amqp://USER:PASSWORD@HOST/VHOST. FOREBAY_BROKER keeps the password out of the history.",
)
management = click.option(
    "--management",
    metavar="URL",
    envvar="FOREBAY_MANAGEMENT",
    help="Its management API.  [default: port 15672 of the broker's host]",
)


def examples(text: str) -> str:
    r"""Lines for a command's help that are shown as they stand."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in text.strip().splitlines())
