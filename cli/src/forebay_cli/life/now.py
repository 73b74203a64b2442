"""Where a webhook is now, how sure that is, and what to do next. Pure.

A delivery that succeeds at once is counted and not logged; what follows from silence is said as a guess.
"""

from dataclasses import dataclass

from forebay_cli.dead.show import stamp
from forebay_cli.life import said
from forebay_cli.life.facts import Facts
from forebay_cli.life.said import Said

_CLOSE_MS = 1000  # between two moments that different clocks tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """Where it is."""

    place: str  # dead letters | delay tier | lane | queue | delivered | dropped | gone | not known
    sure: bool
    text: str
    next: str  # the command to run, or what to do


def now(facts: Facts, accepted: int | None) -> Now:
    if facts.letter is not None:
        return _dead(facts)
    return _said(facts, facts.said[-1]) if facts.said else _unsaid(facts, accepted)


def _said(facts: Facts, last: Said) -> Now:
    """By the last line about it."""
    match last.event:
        case "delivery.ok":
            return Now(
                place="delivered", sure=True, text=f"delivered at {stamp(last.at)}", next="nothing is to be done"
            )
        case "delivery.dropped":
            text = f"the handler dropped it: {last.text('error') or 'without a word'}"
            return Now(place="dropped", sure=True, text=text, next="nothing is to be done, unless the handler is wrong")
        case "delivery.dead":
            return _no_letter(facts, last)
        case said.WAITS:
            return _behind(facts, last)
        case said.NEXT:
            text = f"its turn came at {stamp(last.at)}: in flight, or delivered at the first attempt, most likely"
            return Now(place="delivered", sure=False, text=text, next=_command(facts, "status"))
        case _:
            return _retried(facts, last)


def _dead(facts: Facts) -> Now:
    assert facts.letter is not None
    reason = facts.letter.reason
    before = _BEFORE_A_REPLAY.get(reason, "mend what its detail says")
    return Now(
        place="dead letters",
        sure=True,
        text=f"a dead letter since {stamp(facts.letter.died_at)}: {reason}",
        next=f"{before}, then {_command(facts, 'dlq replay', facts.letter.id)}",
    )


_BEFORE_A_REPLAY = {
    "exhausted": "repair the destination",
    "expired": "repair the destination",
    "permanent-status": "correct the URL or the destination",
    "gone": "correct the URL",
    "aborted": "see what the destination answered",
    "handler": "correct the handler",
    "delivery-limit": "find out what ends the workers",
}


def _no_letter(facts: Facts, last: Said) -> Now:
    """Given up, and not among the dead letters."""
    why = f"given up at {stamp(last.at)}, {last.text('reason')}"
    listing = _command(facts, "dlq list")
    if not facts.letters_seen:
        return Now(
            place="dead letters", sure=False, text=f"{why}; the dead letters could not be looked at", next=listing
        )
    return Now(
        place="gone",
        sure=False,
        text=f"{why}, and no dead letter now: replayed and not tried since, discarded, or older than the retention",
        next=listing,
    )


def _behind(facts: Facts, last: Said) -> Now:
    """In its lane; the worker that said so may be gone, and another one further."""
    behind = last.text("behind") or ""
    text = f"in its lane since {stamp(last.at)}, most likely: it waits behind {behind}, an earlier one of its key"
    return Now(place="lane", sure=False, text=text, next=_command(facts, "explain", behind))


def _rests(facts: Facts, last: Said, due: int, status: str) -> Now:
    """In its lane, where later ones of its key wait behind it."""
    again = f"attempt {int(last.number('attempt') or 0) + 1} at {stamp(due)}" if facts.now < due else "it is due again"
    if last.flag("held"):
        text = f"held in its lane after its last attempt: {again}; its key waits until the destination takes it"
        return Now(place="lane", sure=True, text=text, next="repair the destination, or set afterDeadLetter: Continue")
    return Now(place="lane", sure=True, text=f"in its place in its lane, where its key waits: {again}", next=status)


def _retried(facts: Facts, last: Said) -> Now:
    """Put into a tier, or kept in its place; where it went then, nobody has said yet."""
    tier = last.number("retry_in_s") or 0
    due = last.at + round(tier * 1000)
    status = _command(facts, "status")
    if last.flag("in_place"):
        return _rests(facts, last, due, status)
    if facts.now < due:
        text = (
            f"in the delay tier of {tier:g} s until {stamp(due)}; then attempt {int(last.number('attempt') or 0) + 1}"
        )
        return Now(place="delay tier", sure=True, text=text, next=f"wait, or see how the others do: {status}")
    text = f"due again since {stamp(due)}: in its queue or in flight{_held(facts)}"
    if facts.orphans:
        text += f", or one of the {facts.orphans:,} orphans if the source was away at that moment"
    return Now(place="queue", sure=False, text=text, next=status)


def _held(facts: Facts) -> str:
    last = facts.holds[-1] if facts.holds else None
    return f"; the workers are held: {', '.join(last.reasons)}" if last and last.reasons else ""


def _unsaid(facts: Facts, accepted: int | None) -> Now:
    """No line and no dead letter: delivered at the first attempt, or not tried yet."""
    status = _command(facts, "status")
    if accepted is None:
        text = "nothing here knows this id, and it is none of Forebay's own, which tell when they were made"
        return Now(
            place="not known",
            sure=False,
            text=text,
            next=f"compare it with X-Forebay-Id; {_command(facts, 'dlq list')}",
        )
    busy = {name: queue for name, queue in facts.queues.items() if queue.waiting or queue.in_flight}
    if not facts.queues or any(queue.waiting is None for queue in facts.queues.values()):
        text = "no process has logged it, and nobody could say what lies in the queues"
        return Now(place="not known", sure=False, text=text, next=status)
    if busy and not facts.in_order:
        waiting = sum(queue.waiting or 0 for queue in busy.values())
        order = "each behind the earlier ones of its key" if facts.by_key else "in lanes with an order of their own"
        text = f"delivered at the first attempt, or still waiting for its turn: {waiting:,} wait, {order}"
        return Now(place="not known", sure=False, text=text, next=status)
    passed = {
        name for name, queue in busy.items() if queue.oldest_at is not None and accepted < queue.oldest_at - _CLOSE_MS
    }
    if passed == busy.keys():
        why = "the workers are at later ones" if busy else "nothing waits in the queues of the source"
        text = f"delivered at the first attempt, most likely: {why}, and nobody has logged a failure"
        return Now(
            place="delivered",
            sure=False,
            text=text,
            next="nothing is to be done; the destination's own log can confirm it",
        )
    waiting = sum(queue.waiting or 0 for queue in busy.values())
    at = "at earlier ones or at none"
    text = f"in its queue or in flight, most likely: {waiting:,} wait, and the workers are {at}{_held(facts)}"
    return Now(place="queue", sure=False, text=text, next=status)


def _command(facts: Facts, verb: str, *words: str) -> str:
    return " ".join((facts.program, verb, *facts.words, *words, *facts.flags))
