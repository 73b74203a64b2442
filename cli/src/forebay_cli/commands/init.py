"""forebay init: manifests to start from. They are the sources of examples/, word by word."""

from importlib import resources

import click

from forebay_cli import options

NAMES = ("github", "stripe", "standard-webhooks", "generic", "python-handler")


@click.command(
    "init",
    epilog=options.examples("""
forebay init github > source.yaml
forebay init generic | less
"""),
)
@click.argument("kind", type=click.Choice(NAMES))
def command(kind: str) -> None:
    """Print a commented manifest to start from."""
    click.echo(template(kind), nl=False)


def template(kind: str) -> str:
    """The manifest of one of NAMES."""
    return (resources.files("forebay_cli") / "templates" / f"{kind}.yaml").read_text("utf-8")
