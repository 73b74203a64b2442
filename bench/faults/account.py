"""From the ledger to the account: what was promised, what came out, and what is missing. Reads nothing, changes nothing."""

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.faults.ledger import Answer, Entry, Ledger, Window

_SHOWN = 20  # webhooks of each kind that are named in the findings
_NEVER = 1e9  # seconds; JSON has no infinity


def invites_retry(status: int) -> bool:
    """Whether a provider sends the webhook again after this answer; after any other a good webhook is gone for good."""
    return status == 429 or status >= 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """One time the broker came back."""

    cause: str
    gone: float  # when it stopped answering
    back: float  # when it answered an AMQP handshake again
    witnessed: bool  # whether an ingest was there to notice, from before the return to the first 2xx


@dataclass(slots=True, kw_only=True)
class PhaseAccount:
    """What the senders saw in one phase."""

    sent: int = 0
    acked: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by cause
    unknown: Counter[str] = field(default_factory=Counter)  # by what happened
    repeats: int = 0
    attempts: int = 0  # that reached the destination in it
    seconds: list[float] = field(default_factory=list, repr=False)  # from the request to its 2xx

    def add(self, entry: Entry) -> None:
        self.sent += 1
        self.acked += entry.answer is Answer.ACKED
        if entry.answer is Answer.ACKED:
            self.seconds.append(entry.answered - entry.sent)
        else:
            causes = self.refused if entry.answer is Answer.REFUSED else self.unknown
            causes[entry.cause or "nothing yet"] += 1

    def told(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "acked": self.acked,
            "refused": dict(self.refused.most_common()),
            "unknown": dict(self.unknown.most_common()),
            "duplicates": self.repeats,
            "attempts": self.attempts,
            "accept_ms_p50": _quantile_ms(self.seconds, 0.5),
            "accept_ms_p99": _quantile_ms(self.seconds, 0.99),
        }


def account(ledger: Ledger, returns: Sequence[Return] = ()) -> dict[str, Any]:
    """Everything that is to be said of a run that has been drained; its keys are those of faults.json."""
    lost, false, phases = [], [], dict[str, PhaseAccount]()
    totals: Counter[str] = Counter()
    for entry in ledger.entries():
        phases.setdefault(entry.phase, PhaseAccount()).add(entry)
        totals.update(_facts(entry))
        if is_lost(entry):
            lost.append(entry)
        if is_false(entry, ledger.windows):
            false.append(entry)
    for phase, repeats in ledger.repeats.items():
        phases.setdefault(phase, PhaseAccount()).repeats += repeats
    for phase, attempts in ledger.attempts_in.items():
        phases.setdefault(phase, PhaseAccount()).attempts += attempts
    return {
        "sent": len(ledger),
        "acked": ledger.answers[Answer.ACKED],
        "delivered": totals["delivered"],
        "dead_lettered": totals["dead"],
        "lost": len(lost),
        "false_2xx": len(false),
        "duplicates": sum(ledger.repeats.values()),
        "copies": ledger.copies,
        "copies_dropped": ledger.dropped,
        "dead_letter_duplicates": totals["dead again"],
        "first_2xx_after_broker_s": first_2xx(ledger, returns),
        "refused": sum(ledger.refused.values()),
        "refused_by_status": {str(status): count for status, count in sorted(ledger.refused.items())},
        "refused_by_cause": dict(sum((phase.refused for phase in phases.values()), Counter()).most_common()),
        "refused_for_good": sum(n for status, n in ledger.refused.items() if not invites_retry(status)),
        "refused_without_retry_after": ledger.impolite,
        "refused_and_delivered": totals["refused and delivered"],
        "unknown": dict(sum((phase.unknown for phase in phases.values()), Counter()).most_common()),
        "unknown_and_delivered": totals["unknown and delivered"],
        "unreachable": ledger.unreachable.total(),
        "unreachable_by_cause": dict(ledger.unreachable.most_common()),
        "damaged": ledger.foreign,
        "misnamed": ledger.misnamed,
        "dead_by_reason": dict(sorted(ledger.reasons.items())),
        "phases": {name: phase.told() for name, phase in phases.items()},
        "findings": [*_sentences("lost", lost), *_sentences("falsely acked", false)],
    }


def is_lost(entry: Entry) -> bool:
    """Acknowledged, and neither delivered nor among the dead letters."""
    return entry.answer is Answer.ACKED and not entry.deliveries and not entry.dead


def is_false(entry: Entry, windows: Iterable[Window]) -> bool:
    """Answered 2xx at a time when nothing could have been stored."""
    return entry.answer is Answer.ACKED and any(
        window.begin <= entry.sent and entry.answered <= window.end for window in windows
    )


def first_2xx(ledger: Ledger, returns: Sequence[Return]) -> dict[str, Any]:
    """Seconds from the broker's return to the first 2xx of a webhook that was sent after it had gone.

    Only returns that an ingest was there to notice count; the others show how fast an ingest starts.
    """
    waits = list(_waits(ledger, [one for one in returns if one.witnessed]))
    return {
        "p50": round(statistics.median(waits), 3) if waits else None,
        "max": round(max(waits), 3) if waits else None,
        "samples": [round(wait, 3) for wait in waits],
    }


def _waits(ledger: Ledger, returns: Sequence[Return]) -> Iterator[float]:
    acked = (
        [(entry.sent, entry.answered) for entry in ledger.entries() if entry.answer is Answer.ACKED] if returns else []
    )
    for one in returns:
        first = min((answered for sent, answered in acked if sent >= one.gone), default=_NEVER)
        yield max(0.0, first - one.back)


def _facts(entry: Entry) -> Iterator[str]:
    if entry.deliveries:
        yield "delivered"
        if entry.answer is Answer.REFUSED:
            yield "refused and delivered"
        if entry.answer in (Answer.UNKNOWN, Answer.NONE):
            yield "unknown and delivered"
    if entry.dead:
        yield "dead"
        yield from ["dead again"] * (entry.dead - 1)


def _sentences(what: str, entries: Sequence[Entry]) -> list[str]:
    return [
        f"{what}: webhook {entry.number} ({entry.event_id or 'no id'}), sent at {entry.sent:.3f} in phase"
        f" {entry.phase!r}, answered at {entry.answered:.3f}"
        for entry in entries[:_SHOWN]
    ]


def _quantile_ms(seconds: Sequence[float], share: float) -> float | None:
    if not seconds:
        return None
    return round(sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))] * 1000, 1)
