"""Whether a source kept what it asks of its deliveries, by the destination's clock. Pure.

Each figure is None where nothing was done that would show it.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from bench import windows
from bench.faults import order, webhooks
from bench.faults.ledger import Answer, Ledger
from bench.faults.rounds import Round
from bench.faults.webhooks import Habits
from bench.verdict import Bar, ratio
from forebay.source import WebhookSource

_WINDOW_S = 10.0
_SHOWN = 20  # of what is named in the findings
# Workers end one after the other, each when it has finished what it delivers: nothing is under way of which nobody knows.
_ENDING, _FAILING, _BUSY, _AWAY = "SIGTERM of each worker", "destination fails", "destination busy", "broker away"


def paced(source: WebhookSource, habits: Habits, ledger: Ledger) -> dict[str, Any]:
    """The figures of a drained ledger, for all that the source asks for."""
    worker, found = source.spec.worker, dict[str, Any]()
    if worker.rate_limit:
        allowed = worker.rate_limit.requests / worker.rate_limit.period * _WINDOW_S
        found["worst_window_ratio"] = ratio(windows.most(ledger.attempts, _WINDOW_S), allowed)
    if worker.max_in_flight:
        found["at_once_ratio"] = ratio(ledger.at_once[_ENDING] or None, worker.max_in_flight)
    if worker.ordering:
        found |= _ordered(ledger, habits)
    if worker.circuit_breaker:
        found["failing_ratio"] = _tried(ledger, _FAILING)
    if habits.large:
        found["large_delivered"] = sum(
            entry.deliveries > 0 for entry in ledger.entries() if webhooks.is_large(entry.number, habits)
        )
    if source.spec.ingest.outage_buffer:
        found |= _while_away(ledger)
    return {**found, "busy_ratio": _tried(ledger, _BUSY)}


def bars(one: Round) -> Iterator[Bar]:
    """What these figures must reach, where the round has what shows them."""
    name, worker = one.kind.name, one.kind.spec.get("worker", {})

    def bar(figure: str, key: str, sign: Any, limit: float) -> Bar:
        return Bar(figure=f"{name}: {figure}", key=f"kinds.{name}.{key}", sign=sign, bar=limit)

    if "rateLimit" in worker:
        yield bar("attempts in the worst ten seconds ÷ rate limit", "worst_window_ratio", "≤", 1.05)
    if "maxInFlight" in worker and one.plays(_ENDING):
        yield bar("attempts at a time ÷ maxInFlight", "at_once_ratio", "≤", 1)
    if "ordering" in worker:
        yield bar("webhooks that overtook one of their key", "overtaken", "≤", 0)
        yield bar("webhooks that had one before them", "in_order", "≥", 1)
    if "circuitBreaker" in worker and one.plays(_FAILING):
        yield bar("attempts while all fail ÷ webhooks sent then", "failing_ratio", "≤", 0.5)
    if one.plays(_BUSY):
        yield bar("attempts while asked to wait ÷ webhooks sent then", "busy_ratio", "≤", 0.5)
    if one.plays(_AWAY):
        yield bar("taken while the broker was away", "taken_while_away", "≥", 1)
        yield bar("refused while the broker was away", "refused_while_away", "≤", 0)
    if one.kind.habits.copies:
        yield bar("copies that were dropped", "copies_dropped", "≥", 1)
    if one.kind.habits.large:
        yield bar("large bodies delivered", "large_delivered", "≥", 1)
    if one.kind.habits.flooding:
        yield bar("webhooks of a flood put aside", "put_aside", "≥", 1)


def _while_away(ledger: Ledger) -> dict[str, Any]:
    answers = Counter(entry.answer for entry in ledger.entries() if entry.phase == _AWAY)
    return {"taken_while_away": answers[Answer.ACKED], "refused_while_away": answers[Answer.REFUSED]}


def _ordered(ledger: Ledger, habits: Habits) -> dict[str, Any]:
    found = list(order.pairs(ledger.entries(), lambda number: webhooks.key(number, habits)))
    overtaken = [pair for pair in found if pair.overtaken]
    return {
        "in_order": len(found) - len(overtaken),
        "overtaken": len(overtaken),
        "overtakings": [_sentence(pair) for pair in overtaken[:_SHOWN]],
    }


def _sentence(pair: order.Pair) -> str:
    first, second = pair
    return (
        f"overtaken: webhook {first.number}, answered at {first.answered:.3f}, with which the destination was done at"
        f" {first.ended:.3f}; {second.number} was sent at {second.first_sent:.3f} and came at {second.came:.3f}"
        f" in phase {second.phase!r}"
    )


def _tried(ledger: Ledger, phase: str) -> float | None:
    """Attempts in a phase for each webhook that was sent in it."""
    return ratio(ledger.attempts_in[phase], sum(entry.phase == phase for entry in ledger.entries()))
