"""forebay: run a WebhookSource on this machine, send signed samples, look at dead letters and bring them back.

`kubectl forebay` is the same program for sources on a cluster.

A thin rim: a command's module is imported when the command runs, and every error becomes one line and an exit code
(2 for what a person wrote, 1 for what failed). FOREBAY_DEBUG=1 shows the traceback instead.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click
from typing_extensions import override

from forebay.ending import end
from forebay.errors import ForebayError, SpecError
from forebay_cli.state import Home, default_home
from forebay_cli.where import KUBECTL

FAILURE, USAGE, INTERRUPTED = 1, 2, 130

# What each command is for: here, so that --help imports none of them.
COMMANDS = {
    "dev": "Run a source on this machine until Ctrl-C.",
    "send": "Send correctly signed sample webhooks.",
    "status": "Show on one screen how webhooks flow.",
    "dlq": "Look at dead letters, replay or discard them.",
    "storage": "Look after what is in object storage.",
    "explain": "Tell the life of one webhook, and why it did not arrive.",
    "init": "Print a commented manifest to start from.",
    "validate": "Say what is wrong with a manifest, and where.",
    "provider": "Work on a provider's file, which says how it signs.",
    "providers": "List the providers whose signatures are known, or explain one.",
    "verify": "Say whether a recorded request is let in, and why not.",
    "render": "Print the Kubernetes objects of a source.",
    "pause": "Let a source rest, on a cluster or here.",
    "resume": "End the rest of a source, on a cluster or here.",
    "drain": "Take nothing more in, and wait until all is delivered.",
    "tail": "Follow what the pods of a source say.",
    "doctor": "Check everything that a source on a cluster needs.",
    "force-finalize": "Let a deleted source go that no operator cleans up.",
    "completion": "Print the completion script of a shell.",
}

_EXAMPLES = """\b
Examples:
  forebay init github > source.yaml
  forebay dev -f source.yaml
  forebay send --event push
  forebay dlq list
  kubectl forebay status github -n payments
"""


class Commands(click.Group):
    """Finds commands in `forebay_cli.commands`, one module each, when they are needed."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"forebay_cli.commands.{cmd_name.replace('-', '_')}").command
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXAMPLES)
@click.version_option(package_name="forebay-cli", message="%(prog)s %(version)s")
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="FOREBAY_STATE_DIR",
    help="Where running sources are noted down.  [default: ~/.local/state/forebay]",
)
@click.pass_context
def cli(context: click.Context, state_dir: Path | None) -> None:
    """Webhooks that are taken in safely and delivered at a pace the destination can bear.

    forebay is about a source on this machine (forebay dev, -f, --broker), kubectl forebay about one on the cluster of your
    kubeconfig. With -n, --context or --kubeconfig, forebay is about the cluster too.
    """
    context.obj = Home(state_dir or default_home(os.environ))


def run(program: str = "forebay") -> None:
    """The command of a process of its own."""
    try:
        main(program=program)
    except SystemExit as ended:
        end(ended.code if isinstance(ended.code, int) else FAILURE)


def kubectl_run() -> None:
    """The same as a plugin of kubectl, which finds `kubectl-forebay` on the PATH."""
    run(KUBECTL)


def main(arguments: Sequence[str] | None = None, *, program: str = "forebay") -> None:
    """Run the command line, within whatever process: it ends in SystemExit."""
    try:
        # kubectl's completion and click's would not find each other by a name with a space in it.
        sys.exit(cli.main(arguments, prog_name=program, standalone_mode=False, complete_var="_FOREBAY_COMPLETE") or 0)
    except (Exception, KeyboardInterrupt) as error:  # nobody is left to handle it
        if os.environ.get("FOREBAY_DEBUG") == "1":
            raise
        sys.exit(report(error))


def report(error: BaseException) -> int:
    """Say what went wrong, a line for each fault; the exit code for it."""
    if isinstance(error, BrokenPipeError):
        # Who read our output has seen enough. Python would complain at the end about what it could not write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.format_message(), file=sys.stderr)
        return USAGE
    for line in _sentence(error).splitlines():
        print(f"error: {line}", file=sys.stderr)
    return USAGE if isinstance(error, (SpecError, click.UsageError)) else FAILURE


def _sentence(error: BaseException) -> str:
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "forebay"
        return f"{error.format_message().rstrip('.')}; see {command} --help"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, ForebayError):
        return str(error)
    said = " ".join(str(error).split())
    return f"this should not happen: {type(error).__name__}: {said}; FOREBAY_DEBUG=1 shows where, please report it"


if __name__ == "__main__":
    run()
