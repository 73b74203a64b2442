"""forebay provider: work on a provider's file."""

from pathlib import Path

import click

from forebay.signatures import described
from forebay.signatures.presets import Preset, parse_preset
from forebay.signatures.trial import Trial, trials
from forebay_cli import options


@click.group(
    "provider",
    epilog=options.examples("""
forebay provider test acme.toml
"""),
)
def command() -> None:
    """Work on a provider's file, which says how it signs."""


@command.command(
    "test",
    epilog=options.examples("""
forebay provider test acme.toml
forebay provider test core/src/forebay/signatures/providers/github.toml
"""),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--all", "everything", is_flag=True, help="Show each trial, not only those that went wrong.")
def test(file: Path, everything: bool) -> None:
    """Try out a provider's file.

    It has to be complete, and its scheme to protect what it promises. Then a request that is signed so has to pass, and each one that
    was tampered with must not; and requests that the provider publishes, the file's vectors, have to pass. Exits with 1 if one does not.
    """
    known = parse_preset(file.read_text("utf-8"))
    click.echo(f"{known.name}: {described.signature(known.scheme)}")
    done = trials(known)
    for trial in done:
        if everything or not trial.passed:
            click.echo(_line(trial))
    click.echo(_summary(known, done))
    if not all(trial.passed for trial in done):
        click.get_current_context().exit(1)


def _line(trial: Trial) -> str:
    verdict = f"refused, {trial.said}" if trial.said else "let in"
    return f"{'ok    ' if trial.passed else 'WRONG '} {trial.what}: {verdict}"


def _summary(known: Preset, done: list[Trial]) -> str:
    wrong = sum(not trial.passed for trial in done)
    vectors = (
        f"{len(known.vectors)} published"
        if known.vectors
        else "none of them published: add a [[vector]] if there is one"
    )
    return f"{len(done)} requests tried, {vectors}; {f'{wrong} went wrong' if wrong else 'all as they should'}"
