"""forebay validate: everything that is wrong with manifests, each fault with its line, field and remedy."""

import json
from dataclasses import asdict

import click

from forebay import manifest
from forebay.manifest import ManifestError, Manifests
from forebay_cli import options


@click.command(
    "validate",
    epilog=options.examples("""
forebay validate -f source.yaml
forebay validate -f manifests/ -o json
forebay init stripe | forebay validate -f -
"""),
)
@options.files()
@options.output
def command(files: tuple[str, ...], output: str) -> None:
    """Say what is wrong with a manifest, and where.

    Exits with 2 if anything is.
    """
    if output == "json":
        _as_json(files)
        return
    found = manifest.load(*files)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if not found.sources:
        raise ManifestError([_nothing(files)])
    for source in found.sources:
        click.echo(f"{source.key} is valid")


def _as_json(files: tuple[str, ...]) -> None:
    try:
        found = manifest.load(*files)
        faults: tuple[manifest.Fault, ...] = () if found.sources else (_nothing(files),)
    except ManifestError as error:
        found, faults = Manifests(), error.faults
    answer = {
        "valid": not faults,
        "sources": [source.key for source in found.sources],
        "faults": [asdict(fault) for fault in faults],
        "notes": list(found.notes),
    }
    click.echo(json.dumps(answer, indent=2))
    if faults:
        click.get_current_context().exit(2)


def _nothing(files: tuple[str, ...]) -> manifest.Fault:
    return manifest.Fault(
        path="", where=files[0], message="no WebhookSource", remedy="begin one with forebay init github > source.yaml"
    )
