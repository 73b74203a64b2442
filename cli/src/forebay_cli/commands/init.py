"""forebay init: manifests to start from. They are the sources of examples/, word by word."""

from importlib import resources

import click

from forebay_cli import options

# What a person asks for -> the folder in examples/ it is the source of.
NAMES = {
    "github": "github",
    "stripe": "stripe",
    "standard-webhooks": "standard-webhooks",
    "generic": "generic-hmac",
    "python-handler": "python-handler",
}


@click.command(
    "init",
    epilog=options.examples("""
forebay init github > source.yaml
forebay init generic | less
"""),
)
@click.argument("kind", type=click.Choice(list(NAMES)))
def command(kind: str) -> None:
    """Print a commented manifest to start from."""
    click.echo(template(kind), nl=False)


def template(kind: str) -> str:
    """The manifest for one of NAMES."""
    return (resources.files("forebay_cli") / "templates" / f"{NAMES[kind]}.yaml").read_text("utf-8")
