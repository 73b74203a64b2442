"""A life as a screen and as JSON. Pure."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from forebay_cli.dead.show import answer_lines, stamp
from forebay_cli.drawing import facts, plain
from forebay_cli.life.life import Life, Moment

_STYLES = {"accepted": "green", "dead": "red", "missing": "yellow", "waited": "dim"}


def screen(life: Life, unseen: tuple[str, ...]) -> RenderableType:
    """A life for a person."""
    return Group(
        Text.assemble((life.id, "bold"), "  ", _heading(life), overflow="fold"),
        Text(),
        _timeline(life),
        Text(),
        facts(_now(life, unseen)),
        Text(),
        Text.assemble("next: ", (life.now.next, "green"), overflow="fold"),
    )


def as_json(life: Life, unseen: tuple[str, ...]) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "id": life.id,
        **life.facts,
        "moments": [_moment(moment) for moment in life.moments],
        "now": {"place": life.now.place, "sure": life.now.sure, "text": life.now.text},
        "next": life.now.next,
        "not_seen": list(unseen),
    }


def _moment(moment: Moment) -> dict[str, Any]:
    attempt = moment.attempt
    known = {} if attempt is None else {
        "attempt": attempt.number, "ms": attempt.ms, "status": attempt.status, "error": attempt.error,
        "answer": attempt.answer or None,
    }  # fmt: skip
    return {"what": moment.what, "at": None if moment.at is None else stamp(moment.at), "text": moment.text, **known}


def _heading(life: Life) -> str:
    known = life.facts
    words = (known["source"], known.get("queue") and f"queue {known['queue']}", known.get("event_type"))
    delivery = known.get("delivery_id") and f"the provider's delivery {known['delivery_id']}"
    request = known.get("method") and f"{known['method']} {known['target']} from {known['client']}"
    return plain(", ".join(word for word in (*words, request, delivery) if word))


def _timeline(life: Life) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="cyan")
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for moment in life.moments:
        at = "" if moment.at is None else stamp(moment.at)
        grid.add_row(at, Text(moment.what, _STYLES.get(moment.what, "")), Text(plain(moment.text)))
        for line in answer_lines(moment.attempt.error or "", moment.attempt.answer) if moment.attempt else ():
            grid.add_row("", "", Text(plain(f"| {line}"), "dim"))
    return grid


def _now(life: Life, unseen: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    yield "now", plain(life.now.text)
    for missing in unseen:
        yield "not seen", plain(missing)
