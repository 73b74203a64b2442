"""forebay dlq: look at dead letters, replay or discard them."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from forebay.errors import SpecError
from forebay_cli import options
from forebay_cli.dead import deeds
from forebay_cli.dead.choice import Choice, moment
from forebay_cli.dead.printing import finish, print_list
from forebay_cli.dead.show import full, sections
from forebay_cli.dead.work import Order, Tally
from forebay_cli.placing import Place, at
from forebay_cli.state import Home
from forebay_cli.target import Target
from forebay_cli.where import Cluster

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
    found, counts, total = at(place, lambda there: deeds.list_(there, choice, limit))
    if output == "json":
        click.echo(json.dumps(found, indent=2))
    else:
        print_list(found, counts, total)


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
    letter = at(place, lambda there: deeds.find(there, ids[0]))
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
    finish(order, at(place, lambda there: deeds.replay(there, order)), output)


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
    finish(order, at(place, lambda there: deeds.discard(there, order)), output)


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
        return there.source, await deeds.count(there, order)

    source, count = at(place, counted)
    if not count.meant:
        return
    click.confirm(f"{count.meant} of {count.total} dead letters of {source} will be gone for good. Sure?", abort=True)


def _save(body: bytes, file: Path) -> None:
    try:
        file.write_bytes(body)
    except OSError as error:
        raise SpecError(f"--body-to {file} can not be written: {error.strerror}; choose another file") from error
