"""forebay storage: look after what is in object storage: large bodies, and the outage buffer."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import click

from forebay.errors import Rejected, SpecError
from forebay.storage import Storage
from forebay_cli import leavings, options
from forebay_cli.given import Given, find, given, noted
from forebay_cli.leavings import Left
from forebay_cli.state import Home
from forebay_cli.sweeping import Found, least_age, let_go, look
from forebay_cli.target import Target, target
from forebay_operator.desired.ingest_settings import ingest_settings
from forebay_operator.desired.platform import Platform
from forebay_operator.desired.settings_of_both import secret_file

_MIB = 1024 * 1024
_LEAST_S = 600  # for which nobody has written, by the clocks of two machines


@click.group(
    "storage",
    epilog=options.examples("""
forebay storage sweep
forebay storage sweep --delete
forebay storage buffer
"""),
)
def command() -> None:
    """Look after what is in object storage.

    Bodies of large webhooks and the outage buffer, where spec.storage says.
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


@command.command(
    "buffer",
    epilog=options.examples("""
forebay storage buffer                          of the source that runs here; only tell
forebay storage buffer -f source.yaml --secret bodies/credentials=@aws.ini
forebay storage buffer -f source.yaml --secret bodies/credentials=@aws.ini --delete
"""),
)
@click.option("--delete", is_flag=True, help="Give it up. Without it, it is only told.")
@click.option(
    "--untouched-for",
    metavar="TIME",
    default="1h",
    show_default=True,
    help="With --delete: only if nobody has written there for so long; ten minutes at least.",
)
@options.files(required=False)
@options.secrets
@options.source
@options.output
@click.pass_obj
def buffer(
    home: Home,
    /,
    *,
    delete: bool,
    untouched_for: str,
    files: tuple[str, ...],
    secrets: tuple[str, ...],
    source_key: str | None,
    output: str,
) -> None:
    """Tell what waits in the outage buffer; with --delete give it up.

    It was answered 2xx, and is queued as soon as an endpoint of the source runs and its broker is there. What a deleted source has left
    goes only by --delete. As long as an endpoint works on it nothing is deleted.
    """
    said = given(files, secrets, source_key) if files else noted(home, secrets, source_key)
    span = options.seconds("--untouched-for", untouched_for)
    if span < _LEAST_S:
        raise SpecError(f"--untouched-for {untouched_for} is too short: clocks differ; ten minutes at least")
    found = asyncio.run(_buffer(_storage(home, said), said.source.key, span if delete else None))
    if output == "json":
        click.echo(json.dumps({"deleted": delete, "replicas": [_left(one) for one in found]}, indent=2))
    else:
        _tell(found, delete=delete)


async def _buffer(storage: Storage, source: str, untouched_s: int | None) -> list[Left]:
    """What was there. Given up if a span is said; raises Rejected if somebody has written there within it."""
    found = await leavings.look(storage, source)
    if untouched_s is not None:
        if busy := leavings.worked_on(found, datetime.now(UTC) - timedelta(seconds=untouched_s)):
            raise Rejected(
                f"an endpoint of {source} works on the buffer of {', '.join(busy)}, or did until a moment ago: bring the broker back,"
                " and it queues what is there; or delete the source first, and wait"
            )
        await leavings.give_up(found, storage)
    return found


def _tell(found: list[Left], *, delete: bool) -> None:
    for one in found:
        oldest = f", the oldest of {_stamp(one.oldest)}" if one.oldest is not None else ""
        click.echo(f"{one.replica}: {one.webhooks:,} webhooks, {one.bytes / _MIB:,.1f} MiB{oldest}")
    webhooks = sum(one.webhooks for one in found)
    click.echo(f"{webhooks:,} webhooks that were answered 2xx " + ("are given up" if delete else "wait for a broker"))


def _left(one: Left) -> dict[str, object]:
    oldest = None if one.oldest is None else _stamp(one.oldest)
    touched = None if one.touched is None else one.touched.isoformat()
    return {"name": one.replica, "webhooks": one.webhooks, "bytes": one.bytes, "oldest": oldest, "touched": touched}


def _stamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
