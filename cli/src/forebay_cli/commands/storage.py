"""forebay storage: look after the bodies that are in object storage."""

import asyncio
import json

import click

from forebay.errors import SpecError
from forebay.storage import Storage
from forebay_cli import options
from forebay_cli.given import Given, find, given, noted
from forebay_cli.state import Home
from forebay_cli.sweeping import Found, least_age, let_go, look
from forebay_cli.target import Target, target
from forebay_operator.desired.ingest_settings import ingest_settings
from forebay_operator.desired.platform import Platform
from forebay_operator.desired.settings_of_both import secret_file

_MIB = 1024 * 1024


@click.group(
    "storage",
    epilog=options.examples("""
forebay storage sweep
forebay storage sweep --delete
"""),
)
def command() -> None:
    """Look after the bodies that are in object storage.

    Those of large webhooks, where spec.storage says.
    """


@command.command(
    "sweep",
    epilog=options.examples("""
forebay storage sweep                           of the source that runs here; only count
forebay storage sweep --delete
FOREBAY_BROKER=amqp://me:secret@rabbitmq forebay storage sweep -f source.yaml --secret bodies/credentials=@aws.ini
"""),
)
@click.option("--delete", is_flag=True, help="Delete them. Without it they are only counted.")
@click.option("--older-than", metavar="TIME", help="Only bodies of so long ago: 30d.  [default: as soon as it is safe]")
@click.option("--patience", metavar="TIME", default="1m", show_default=True, help="How long to wait for empty queues.")
@options.files(required=False)
@options.secrets
@options.source
@options.broker
@options.management
@options.output
@click.pass_obj
def sweep(
    home: Home,
    /,
    *,
    delete: bool,
    older_than: str | None,
    patience: str,
    files: tuple[str, ...],
    secrets: tuple[str, ...],
    source_key: str | None,
    broker: str | None,
    management: str | None,
    output: str,
) -> None:
    """Find bodies that nothing refers to, and delete them with --delete.

    Those of webhooks that were delivered or discarded, or never published because an endpoint was killed. Only such as are older than
    retry.maxAge and two days, and only while the queues of the source are empty; what a dead letter refers to is kept. Do not replay dead letters
    meanwhile.
    """
    said = given(files, secrets, source_key) if files else noted(home, secrets, source_key)
    age_s = _age(said, older_than)
    there = target(home, said.source.key, broker, management)
    found = asyncio.run(
        _sweep(there, _storage(home, said), age_s, options.seconds("--patience", patience), delete=delete)
    )
    if output == "json":
        click.echo(json.dumps(_as_json(found), indent=2))
    else:
        _print(found, delete=delete)


def _age(said: Given, older_than: str | None) -> float:
    """Raises SpecError for an age at which a queue may still refer to a body."""
    least = least_age(said.source)
    age_s = least if older_than is None else options.seconds("--older-than", older_than)
    if age_s < least:
        raise SpecError(
            f"--older-than {older_than} is too short: retry.maxAge and two days are {least / 86400:.1f} days"
        )
    return age_s


def _storage(home: Home, said: Given) -> Storage:
    """The source's storage, with its credentials. Raises SpecError if it has none."""
    settings = ingest_settings(said.source, Platform()).storage
    if said.source.spec.storage is None or settings is None:
        raise SpecError(f"{said.source.key} has no spec.storage: nothing of it is in object storage")
    ref = said.source.spec.storage.credentials_secret_ref
    held = find(said, home.notes(said.source.key), [(ref.name, ref.key)] if ref else ())
    if ref is not None and ref.name not in held:
        raise SpecError(
            f"{ref.name}/{ref.key} is not given; add the Secret with -f, or --secret {ref.name}/{ref.key}=@FILE"
        )
    known = {secret_file(ref): held[ref.name][ref.key]} if ref else {}
    return Storage(settings, known.__getitem__)


async def _sweep(there: Target, storage: Storage, age_s: float, patience_s: float, *, delete: bool) -> Found:
    found = await look(there, storage, age_s, patience_s)
    if delete:
        await let_go(found, storage)
    return found


def _print(found: Found, *, delete: bool) -> None:
    size = f"{found.bytes / _MIB:,.1f} MiB"
    if delete:
        click.echo(f"{found.deleted:,} bodies deleted that nothing referred to, {size}")
    else:
        click.echo(
            f"nothing refers to {len(found.orphans):,} bodies, {size}"
            + ("; --delete lets them go" if found.orphans else "")
        )
    click.echo(f"kept: {found.young:,} that a queue may refer to, {found.referred:,} of dead letters")


def _as_json(found: Found) -> dict[str, object]:
    return {
        "orphans": [{"key": one.key, "bytes": one.size, "at": one.at.isoformat()} for one in found.orphans],
        "bytes": found.bytes,
        "deleted": found.deleted,
        "kept": {"young": found.young, "dead_letters": found.referred},
    }
