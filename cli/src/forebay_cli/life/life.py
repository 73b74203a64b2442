"""The life of one webhook: what happened to it and when, what it waited for, where it is now, what to do next. Pure.

It is told by the dead letter, if it is one, and by what the workers logged.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from forebay.identity import born
from forebay_cli.dead.show import stamp
from forebay_cli.life.facts import Facts
from forebay_cli.life.now import Now, now
from forebay_cli.life.said import NEXT, WAITS, Hold, Said
from forebay_cli.life.tries import Try, tries

_UNSAID_MS = 1000  # a wait that is shorter is not worth a line


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened, or a wait between two such things."""

    what: str  # accepted | attempt | waited | order | replayed | missing | dropped | dead
    at: int | None  # ms since 1970
    text: str
    attempt: Try | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A webhook's life."""

    id: str
    facts: dict[str, Any]  # what is known of the webhook itself
    moments: tuple[Moment, ...]
    now: Now


def life(facts: Facts) -> Life:
    """What the facts tell."""
    id_ = facts.letter.id if facts.letter else next((one.text("id") for one in facts.said), None) or facts.wanted
    accepted = _accepted_at(facts, id_)
    return Life(
        id=id_,
        facts=_about(facts, accepted),
        moments=(*_beginning(accepted), *_attempts(tries(facts), facts, accepted), *_ending(facts)),
        now=now(facts, accepted),
    )


def _accepted_at(facts: Facts, id_: str) -> int | None:
    """By the envelope, or by the id, which begins with the time."""
    if facts.letter and facts.letter.envelope:
        return facts.letter.envelope.received_at
    return born(id_)


def _about(facts: Facts, accepted: int | None) -> dict[str, Any]:
    envelope = facts.letter.envelope if facts.letter else None
    if envelope is not None:
        return {
            "source": envelope.source, "queue": envelope.queue, "event_type": envelope.event_type,
            "delivery_id": envelope.delivery_id, "method": envelope.method, "target": envelope.target,
            "client": envelope.client, "bytes": len(envelope.body), "received_at": stamp(envelope.received_at),
        }  # fmt: skip
    last = facts.said[-1].fields if facts.said else {}
    told = {name: last.get(name) for name in ("queue", "event_type", "delivery_id", "bytes")}
    return {"source": facts.source, **told, "received_at": stamp(accepted) if accepted else None}


def _beginning(accepted: int | None) -> Iterator[Moment]:
    if accepted is not None:
        yield Moment(what="accepted", at=accepted, text="stored by the broker and answered 2xx")


def _attempts(made: Iterable[Try], facts: Facts, accepted: int | None) -> Iterator[Moment]:
    before: Try | None = None
    since = 0
    for one in made:
        if before is None or one.number <= before.number:
            yield from _first(one, before, accepted, facts.holds)
        else:
            yield from _between(before, one, facts.holds)
        yield from _turns(facts.said, since, one.ended)
        since = one.ended
        yield Moment(what="attempt", at=one.at, text=_sentence(one), attempt=one)
        if one.died_of:
            yield Moment(what="dead", at=one.ended, text=one.died_of)
        before = one
    yield from _turns(facts.said, since, facts.now)


def _turns(said: Sequence[Said], since: int, until: int) -> Iterator[Moment]:
    """What it waited for by its key in a time."""
    for one in said:
        if since <= one.at < until and one.event in (WAITS, NEXT):
            behind = f"waits behind {one.text('behind')}, an earlier one of its key that is tried again"
            yield Moment(what="order", at=one.at, text=behind if one.event == WAITS else "its turn has come")


def _first(one: Try, before: Try | None, accepted: int | None, holds: Sequence[Hold]) -> Iterator[Moment]:
    """What came before the first attempt that is known of a life; there is a new one after each replay."""
    if one.replayed_from:
        yield Moment(what="replayed", at=None, text=f"from {one.replayed_from}")
    if one.number > 1:
        yield _missing(1, one.number - 1)
    elif before is None and not one.replayed_from and accepted is not None and one.at - accepted >= _UNSAID_MS:
        text = f"{_span(one.at - accepted)} in the queue{_held(holds, accepted, one.at)}"
        yield Moment(what="waited", at=None, text=text)


def _between(before: Try, one: Try, holds: Sequence[Hold]) -> Iterator[Moment]:
    if one.number > before.number + 1:
        yield _missing(before.number + 1, one.number - 1)
        return
    waited = one.at - before.ended
    if before.retry_in_s is None:
        held = _held(holds, before.ended, one.at)
        text = f"{_span(waited)}: retry delay, then its turn in the queue{held}"
        yield Moment(what="waited", at=None, text=text)
        return
    rest = waited - before.retry_in_s * 1000
    held = _held(holds, one.at - round(rest), one.at)
    queued = f", then {_span(rest)} for its turn in the queue{held}" if rest >= _UNSAID_MS else ""
    yield Moment(what="waited", at=None, text=f"{before.retry_in_s:g} s retry delay{queued}")


def _held(holds: Sequence[Hold], since: int, until: int) -> str:
    """Why the workers took fewer in a time, by what they said in it and last before it."""
    before = [hold for hold in holds if hold.at <= since][-1:]
    during = [*before, *(hold for hold in holds if since < hold.at < until)]
    reasons = dict.fromkeys(reason for hold in during for reason in hold.reasons)
    return f" (the workers were held: {', '.join(reasons)})" if reasons else ""


def _missing(first: int, last: int) -> Moment:
    which = f"attempt {first}" if first == last else f"attempts {first} to {last}"
    return Moment(
        what="missing",
        at=None,
        text=f"{which}: in no log that is left (held back in a flood, or of a pod that is gone)",
    )


def _sentence(one: Try) -> str:
    return f"{one.number} after {one.ms:,} ms: {one.error or f'delivered, HTTP {one.status}'}"


def _span(ms: float) -> str:
    """A time to wait, in the unit that a person would use."""
    seconds = max(0.0, ms / 1000)
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _ending(facts: Facts) -> Iterator[Moment]:
    if facts.letter is not None:
        yield Moment(what="dead", at=facts.letter.died_at, text=f"{facts.letter.reason}: {facts.letter.detail}")
        return
    if facts.said and facts.said[-1].event == "delivery.dropped":
        yield Moment(what="dropped", at=facts.said[-1].at, text="by the handler: settled without a dead letter")
