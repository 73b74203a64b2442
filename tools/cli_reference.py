#!/usr/bin/env python3
"""Writes docs/reference/cli.md from the commands themselves; `make reference` runs it, a test compares.

python tools/cli_reference.py
"""

from collections.abc import Iterator
from pathlib import Path

import click

from forebay_cli.__main__ import cli

FILE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"
WIDTH = 100

HEAD = """\
# The command line

`forebay --help` and `forebay COMMAND --help` say the same as this page, which is generated: `make reference`.

Exit codes: 0 done; 1 something failed, or not every webhook was accepted; 2 a flag, manifest or setting can not be used as
it is; 130 stopped by Ctrl-C before the end. An error is one line, `error: what; remedy`. `FOREBAY_DEBUG=1` shows where it
came from.

| variable | meaning |
|---|---|
| `FOREBAY_BROKER` | what `--broker` says, out of the shell's history |
| `FOREBAY_MANAGEMENT` | what `--management` says |
| `FOREBAY_SECRET_NAME_KEY` | the value of a Secret's key: `github-webhook/secret` is `FOREBAY_SECRET_GITHUB_WEBHOOK_SECRET` |
| `FOREBAY_STATE_DIR` | what `--state-dir` says; without both, `$XDG_STATE_HOME/forebay` or `~/.local/state/forebay` |
| `FOREBAY_LOG_LEVEL` | how much the processes of `forebay dev` print: debug, info, warning, error |
"""


def page() -> str:
    """The page for the commands there are."""
    context = click.Context(cli, info_name="forebay", terminal_width=WIDTH, **cli.context_settings)
    return HEAD + "".join(_sections(cli, context))


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"\n## {context.command_path}\n```\n{command.get_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, "it is listed"
            inner = click.Context(below, info_name=name, parent=context, terminal_width=WIDTH)
            yield from _sections(below, inner)


if __name__ == "__main__":
    FILE.write_text(page(), "utf-8")
