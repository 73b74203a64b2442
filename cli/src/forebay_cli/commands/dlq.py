"""forebay dlq: look at dead letters, replay or discard them."""

import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forebay.errors import Rejected, SpecError
from forebay_cli import options
from forebay_cli.dead.choice import Choice, moment
from forebay_cli.dead.letter import Letter
from forebay_cli.dead.reader import Reader, reader
from forebay_cli.dead.replay import nothing, replayer
from forebay_cli.dead.show import full, sections, summary
from forebay_cli.dead.work import Order, Tally, work
from forebay_cli.drawing import plain
from forebay_cli.placing import Place, at
from forebay_cli.state import Home
from forebay_cli.target import Target
from forebay_cli.where import Cluster

PIPE_WIDTH = 200  # columns where there is no screen to end
_STRANGE = "no envelope of Forebay's, sent as it is: a worker that can still not read it buries it again"

F = TypeVar("F", bound=Callable[..., Any])


def _place(function: F) -> F:
    """The options that say which dead letters of which source."""
    for option in (options.broker, options.source, options.output, options.cluster()):
        function = option(function)
    return function


def _choice(function: F) -> F:
    """The options that choose among them."""
    for option in (
        click.option("--queue", "queues", multiple=True, help="Those that died in this queue. Can be repeated."),
        click.option("--id", "ids", multiple=True, help="Those with this id. Can be repeated."),
        click.option(
            "--event-type", "types", multiple=True, help="Those of this event; invoice.* fits. Can be repeated."
        ),
        click.option(
            "--until", metavar="TIME", help="Those that died before: 30m, 2h, 3d ago, or 2026-11-24T08:00:00Z."
        ),
        click.option("--since", metavar="TIME", help="Those that died since then."),
        click.option("--reason", "reasons", multiple=True, help="Those with this reason. Can be repeated."),
    ):
        function = option(function)
    return function


def _work_options(function: F) -> F:
    """The options of commands that change something."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Only count them."),
        click.option("--rate", type=click.FloatRange(0, min_open=True), help="At most so many a second."),
        click.option("--limit", type=click.IntRange(1), help="At most so many."),
        click.option("--all", "everything", is_flag=True, help="All of them."),
    ):
        function = option(function)
    return function


@click.group(
    "dlq",
    epilog=options.examples("""
forebay dlq list --reason exhausted --since 2h
forebay dlq show 019ab3c4-…
forebay dlq replay --event-type 'invoice.*' --rate 20
kubectl forebay dlq list github -n payments
FOREBAY_BROKER=amqp://me:secret@rabbitmq forebay dlq list --source payments/github
"""),
)
def command() -> None:
    """Look at dead letters, replay or discard them.

    Of the source that runs here, or of --source on --broker. On a cluster the first argument is the source's name; the
    broker is reached with the login of its workers, through kubectl port-forward where there is no other way.
    """


@command.command(
    "list",
    epilog=options.examples("""
forebay dlq list
forebay dlq list --reason exhausted --reason expired --since 1d
forebay dlq list -o json | jq -r '.[].id'
kubectl forebay dlq list github -n payments
"""),
)
@click.argument("name", required=False)
@_choice
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@_place
@click.pass_obj
def list_(
    home: Home,
    /,
    *,
    name: str | None,
    cluster: Cluster | None,
    limit: int,
    source_key: str | None,
    broker: str | None,
    output: str,
    **chosen: Any,
) -> None:
    """List dead letters, the oldest first.

    Looking changes nothing.
    """
    choice = _choice_of(**chosen)
    place = Place(home=home, source=options.one_of(name, source_key), broker=broker, cluster=cluster)
    found, counts, total = at(place, lambda there: _list(there, choice, limit))
    if output == "json":
        click.echo(json.dumps(found, indent=2))
        return
    if found:
        Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(_table(found))
    _print_counts(len(found), counts, total)


@command.command(
    "show",
    epilog=options.examples("""
forebay dlq show 019ab3c4-7d1e-7000-8000-000000000000
forebay dlq show 019ab3c4-7d1e-7000-8000-000000000000 --body-to body.bin
kubectl forebay dlq show github 019ab3c4-7d1e-7000-8000-000000000000
"""),
)
@click.argument("words", metavar="[NAME] ID", nargs=-1, required=True)
@click.option("--body-to", type=click.Path(dir_okay=False, path_type=Path), help="Save the body's bytes in this file.")
@_place
@click.pass_obj
def show(
    home: Home,
    /,
    *,
    words: tuple[str, ...],
    cluster: Cluster | None,
    body_to: Path | None,
    source_key: str | None,
    broker: str | None,
    output: str,
) -> None:
    """Show one dead letter: why it died, every attempt, headers and body."""
    place, ids = _named(home, words, source_key, broker, cluster)
    if len(ids) != 1:
        raise SpecError("one dead letter is shown at a time; give one id")
    letter = at(place, lambda there: _find(there, ids[0]))
    if body_to is not None and letter.claim is not None:
        raise SpecError(
            f"its body is in object storage, at {letter.claim.key}: fetch it there with the storage's own tools"
        )
    if body_to is not None:
        _save(letter.body, body_to)
    if output == "json":
        click.echo(json.dumps(full(letter), indent=2))
        return
    console = Console()
    console.print(Text(letter.id, style="bold"))
    for heading, lines in sections(letter):
        console.print(Text(f"\n{heading}", style="cyan"))
        for line in lines:
            console.print(Text(f"  {line}"), soft_wrap=True)


@command.command(
    "replay",
    epilog=options.examples("""
forebay dlq replay 019ab3c4-7d1e-7000-8000-000000000000
forebay dlq replay --reason exhausted --since 2h --dry-run
forebay dlq replay --all --rate 50
kubectl forebay dlq replay github -n payments --reason exhausted
"""),
)
@click.argument("words", metavar="[NAME] [ID]...", nargs=-1)
@_choice
@_work_options
@_place
@click.pass_obj
def replay(
    home: Home,
    /,
    *,
    words: tuple[str, ...],
    cluster: Cluster | None,
    source_key: str | None,
    broker: str | None,
    output: str,
    **given: Any,
) -> None:
    """Send dead letters back to the queue they died in.

    As they came in, with a fresh budget of attempts. Ctrl-C finishes those under way and leaves the rest.
    """
    place, ids = _named(home, words, source_key, broker, cluster)
    order = _order("replayed", ids, given)
    _finish(order, at(place, lambda there: _replay(there, order)), output)


@command.command(
    "discard",
    epilog=options.examples("""
forebay dlq discard 019ab3c4-7d1e-7000-8000-000000000000
forebay dlq discard --reason gone --dry-run
forebay dlq discard --until 30d --yes
kubectl forebay dlq discard github -n payments --reason gone
"""),
)
@click.argument("words", metavar="[NAME] [ID]...", nargs=-1)
@_choice
@_work_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@_place
@click.pass_obj
def discard(
    home: Home,
    /,
    *,
    words: tuple[str, ...],
    cluster: Cluster | None,
    yes: bool,
    source_key: str | None,
    broker: str | None,
    output: str,
    **given: Any,
) -> None:
    """Throw dead letters away for good.

    Ctrl-C finishes those under way and leaves the rest.
    """
    place, ids = _named(home, words, source_key, broker, cluster)
    order = _order("discarded", ids, given)
    if not (yes or order.dry_run):
        _ask(place, order)
    _finish(order, at(place, lambda there: _discard(there, order)), output)


# ------------------------------------------------------------------------------------------------- what is asked for


def _choice_of(
    *,
    ids: tuple[str, ...],
    reasons: tuple[str, ...],
    types: tuple[str, ...],
    queues: tuple[str, ...],
    since: str | None,
    until: str | None,
) -> Choice:
    now = time.time()
    return Choice(
        ids=frozenset(ids),
        reasons=frozenset(reasons),
        event_types=frozenset(types),
        queues=frozenset(queues),
        since=None if since is None else moment(since, now),
        until=None if until is None else moment(until, now),
    )


def _named(
    home: Home, words: tuple[str, ...], source_key: str | None, broker: str | None, cluster: Cluster | None
) -> tuple[Place, tuple[str, ...]]:
    """The place, and the ids. Of a cluster's source the name comes first, unless --source says it."""
    if cluster is not None and source_key is None and words:
        source_key, *rest = words
        words = tuple(rest)
    return Place(home=home, source=source_key, broker=broker, cluster=cluster), words


def _order(verb: str, ids: tuple[str, ...], given: dict[str, Any]) -> Order:
    """Raises SpecError unless it is said which letters are meant: all of them must be said too."""
    everything, limit, rate, dry_run = (given.pop(name) for name in ("everything", "limit", "rate", "dry_run"))
    ids = (*given.pop("ids"), *ids)
    choice = _choice_of(ids=ids, **given)
    if choice.everything and not everything:
        raise SpecError(
            "it is not said which dead letters; name ids, filter with --reason, --since and the like, or say --all"
        )
    return Order(verb=verb, choice=choice, limit=limit, rate=rate, dry_run=dry_run)


def _ask(place: Place, order: Order) -> None:
    async def counted(there: Target) -> tuple[str, Tally]:
        return there.source, await _count(there, order)

    source, count = at(place, counted)
    if not count.meant:
        return
    click.confirm(f"{count.meant} of {count.total} dead letters of {source} will be gone for good. Sure?", abort=True)


# ------------------------------------------------------------------------------------------------- what is done


async def _list(place: Target, choice: Choice, limit: int) -> tuple[list[dict[str, Any]], Counter[str], int]:
    found: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    async with reader(place.url, place.names) as letters:
        async for letter, _ in letters.letters():
            if choice.means(letter):
                counts[letter.reason] += 1
                if len(found) < limit:
                    found.append(summary(letter))
        return found, counts, letters.total


async def _find(place: Target, id_: str) -> Letter:
    async with reader(place.url, place.names) as letters:
        async for letter, _ in letters.letters():
            if letter.id == id_:
                return letter
    raise Rejected(f"there is no dead letter {id_} of {place.source}; dlq list shows those there are")


async def _count(place: Target, order: Order) -> Tally:
    async with reader(place.url, place.names) as letters:
        return await _counted(letters, order)


async def _counted(letters: Reader, order: Order) -> Tally:
    tally = Tally(total=letters.total)
    async for letter, _ in letters.letters():
        if order.choice.means(letter):
            tally.reasons[letter.reason] += 1
            if tally.meant == order.limit:
                break
    tally.looked_at = letters.seen
    return tally


async def _replay(place: Target, order: Order) -> Tally:
    if order.dry_run:
        return await _count(place, order)
    async with replayer(place.url, place.names) as deed, reader(place.url, place.names) as letters:
        return await work(letters, order, deed)


async def _discard(place: Target, order: Order) -> Tally:
    if order.dry_run:
        return await _count(place, order)
    async with reader(place.url, place.names) as letters:
        return await work(letters, order, nothing)


# ------------------------------------------------------------------------------------------------- what is shown


def _table(found: list[dict[str, Any]]) -> Table:
    """One line each; where the screen ends, the detail does."""
    table = Table(box=None, pad_edge=False)
    for name in ("id", "age", "reason", "event", "queue", "attempts", "detail"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1 if name == "detail" else None)
    for row in found:
        cells = (row["id"], row["reason"], row.get("event_type") or "", row["queue"] or "?", row["detail"])
        id_, reason, event, queue, detail = (Text(plain(cell)) for cell in cells)
        attempts = str(row.get("attempts_made", ""))
        table.add_row(id_, _age(row["died_at"]), reason, event, queue, attempts, detail)
    return table


def _age(died_at: str) -> str:
    """How long ago, in the largest unit of which there are two."""
    if died_at == "?":
        return died_at
    seconds = max(0.0, time.time() - moment(died_at, 0) / 1000)
    unit, length = next(
        (u, n) for u, n in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)) if seconds >= 2 * n or n == 1
    )
    return f"{seconds // length:.0f}{unit}"


def _print_counts(shown: int, counts: Counter[str], total: int) -> None:
    by_reason = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    more = f"; {shown} shown, --limit shows more" if shown < counts.total() else ""
    click.echo(f"{counts.total():,} of {total:,} dead letters{f': {by_reason}' if by_reason else ''}{more}", err=True)


def _finish(order: Order, tally: Tally, output: str) -> None:
    """Print what became of it, and end with the exit code for it."""
    if output == "json":
        click.echo(json.dumps(_as_json(order, tally), indent=2))
    else:
        _print_tally(order, tally)
    if tally.stopped:
        sys.exit(130)
    if tally.failures:
        sys.exit(1)


def _print_tally(order: Order, tally: Tally) -> None:
    done = tally.meant if order.dry_run else tally.done
    verb = f"would be {order.verb}" if order.dry_run else order.verb
    by_reason = ", ".join(f"{count:,} {reason}" for reason, count in tally.reasons.most_common())
    click.echo(f"{done:,} of {tally.total:,} dead letters {verb}{f' ({by_reason})' if by_reason else ''}")
    if tally.strange and order.verb == "replayed":
        click.echo(f"{tally.strange:,} of them {_STRANGE}", err=True)
    if tally.stopped:
        click.echo("stopped; the rest is as it was", err=True)
    for id_, why in itertools.islice(tally.failures, 20):
        click.echo(f"kept {id_}: {why}", err=True)
    if len(tally.failures) > 20:
        click.echo(f"and {len(tally.failures) - 20} more were kept", err=True)


def _as_json(order: Order, tally: Tally) -> dict[str, object]:
    return {
        "dry_run": order.dry_run,
        "total": tally.total,
        "matched": tally.meant,
        order.verb: tally.done,
        "no_envelope": tally.strange,
        "by_reason": dict(tally.reasons),
        "failed": [{"id": id_, "error": why} for id_, why in tally.failures],
        "stopped": tally.stopped,
    }


def _save(body: bytes, file: Path) -> None:
    try:
        file.write_bytes(body)
    except OSError as error:
        raise SpecError(f"--body-to {file} can not be written: {error.strerror}; choose another file") from error
