"""forebay init: manifests to start from. Some are the sources of examples/, word by word; each provider has one."""

from importlib import resources
from pathlib import Path

import click

from forebay.errors import SpecError
from forebay.signatures.presets import preset
from forebay_cli import options
from forebay_cli.beginning import manifest_of

# What a person asks for -> the folder in examples/ it is the source of.
NAMES = {
    "github": "github",
    "stripe": "stripe",
    "standard-webhooks": "standard-webhooks",
    "generic": "generic-hmac",
    "python-handler": "python-handler",
}
HANDLER = "python-handler"


@click.command(
    "init",
    epilog=options.examples("""
forebay init github > source.yaml
forebay init paypal
forebay init generic | less
forebay init python-handler --into orders
"""),
)
@click.argument("kind", metavar=f"[{'|'.join(NAMES)}|PROVIDER]")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write it as source.yaml into this folder; a handler and its tests with it. Nothing is overwritten.",
)
def command(kind: str, into: Path | None) -> None:
    """Print a commented manifest to start from.

    There is one for each of forebay providers, whatever the case of its name.
    With --into it begins a folder instead; for a Python handler, a small project that runs as it is.
    """
    if into is None:
        click.echo(template(kind), nl=False)
        return
    for path in begin(kind, into):
        click.echo(f"wrote {path}")


def begin(kind: str, folder: Path) -> list[Path]:
    """Write what a source of this kind begins with. Raises SpecError, and writes nothing, if a file is there already."""
    texts = {"source.yaml": template(kind)}
    if kind == HANDLER:
        texts |= {name: _read(f"{name}.txt") for name in ("handler.py", "test_handler.py")}
    written = {folder / name: text for name, text in texts.items()}
    if there := [str(path) for path in written if path.exists()]:
        raise SpecError(f"{', '.join(there)} is there already; name another folder, or move it away")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in written.items():
        path.write_text(text, "utf-8")
    return list(written)


def template(kind: str) -> str:
    """The manifest for one of NAMES, or for a provider. Raises SpecError for what is neither."""
    if kind.lower() in NAMES:
        return _read(f"{NAMES[kind.lower()]}.yaml")
    try:
        return manifest_of(preset(kind))
    except SpecError as error:
        raise SpecError(f"{error}; or one of {', '.join(NAMES)}") from None


def _read(name: str) -> str:
    return (resources.files("forebay_cli") / "templates" / name).read_text("utf-8")
