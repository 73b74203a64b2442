"""Options that several commands share: the same names, meanings and words everywhere."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from forebay.errors import SpecError
from forebay_cli.where import KUBECTL, Cluster, where

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


def one_of(name: str | None, source_key: str | None) -> str | None:
    """The source, which may be said as an argument or by --source. Raises SpecError if both are."""
    if name is not None and source_key is not None:
        raise SpecError("the source is named twice; leave out --source")
    return name or source_key


def examples(text: str) -> str:
    r"""Lines for a command's help that are shown as they stand."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in text.strip().splitlines())


# ------------------------------------------------------------------------------------------------------- on a cluster

_NAMESPACE = click.option("-n", "--namespace", metavar="NS", help="Namespace.  [default: the kubeconfig's]")
_CONTEXT = click.option("--context", metavar="NAME", help="Context of the kubeconfig.  [default: the current one]")
_KUBECONFIG = click.option(
    "--kubeconfig", metavar="FILE", help="The kubeconfig.  [default: $KUBECONFIG, or ~/.kube/config]"
)
_EVERYWHERE = click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="In all namespaces.")

# Options that name something which is no source of a cluster.
_OF_THIS_MACHINE = {"files": "-f", "broker": "--broker"}


def cluster(*, only: bool = False, everywhere: bool = False) -> Callable[[F], F]:
    """-n, --context, --kubeconfig, as one argument `cluster`: None if the command is about this machine (never if `only`)."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def with_cluster(
            *args: Any, namespace: str | None, context: str | None, kubeconfig: str | None, **kwargs: Any
        ) -> Any:
            said = Cluster(
                namespace=namespace, context=context, kubeconfig=kubeconfig, everywhere=kwargs.pop("everywhere", False)
            )
            return function(
                *args, cluster=said if only else where(said, kubectl=_kubectl(), machine=_local()), **kwargs
            )

        wrapped: Any = with_cluster
        for option in (_KUBECONFIG, _CONTEXT, *([_EVERYWHERE] if everywhere else []), _NAMESPACE):
            wrapped = option(wrapped)
        result: F = wrapped
        return result

    return decorate


def _kubectl() -> bool:
    return click.get_current_context().find_root().info_name == KUBECTL


def _local() -> list[str]:
    context, typed = click.get_current_context(), click.core.ParameterSource.COMMANDLINE
    return [flag for name, flag in _OF_THIS_MACHINE.items() if context.get_parameter_source(name) == typed]


def seconds(option: str, text: str) -> int:
    """A span such as 30s, 10m, 2h or 1d. Raises SpecError."""
    number, unit = text[:-1], text[-1:]
    if not number.isdigit() or unit not in _UNITS or not int(number):
        raise SpecError(f"{option} {text!r} is no span of time; write 30s, 10m, 2h or 1d")
    return int(number) * _UNITS[unit]


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
