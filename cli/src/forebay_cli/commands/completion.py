"""forebay completion: the script that makes a shell complete forebay's commands and options."""

import click
from click.shell_completion import get_completion_class

from forebay_cli import options


@click.command(
    "completion",
    epilog=options.examples("""
forebay completion bash > ~/.local/share/bash-completion/completions/forebay
forebay completion zsh > "${fpath[1]}/_forebay"
forebay completion fish > ~/.config/fish/completions/forebay.fish
"""),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these three"
    # Not its `source()`, which for bash asks an installed bash for its version first.
    script = kind(context.find_root().command, {}, "forebay", "_FOREBAY_COMPLETE")
    click.echo(script.source_template % script.source_vars())
