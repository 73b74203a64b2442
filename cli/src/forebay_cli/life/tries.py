"""The attempts that something is known of: those the dead letter remembers, and others by the workers' lines. Pure."""

from dataclasses import dataclass

from forebay_cli.life.facts import Facts
from forebay_cli.life.said import Said

_CLOSE_MS = 1000  # between what an envelope and a log say of the same moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt, as the dead letter or a line of a log tells it."""

    number: int
    at: int  # ms since 1970 when it began
    ms: int
    error: str | None  # None: it was delivered
    status: int | None = None
    answer: str = ""
    retry_in_s: float | None = None  # of the tier that it was put into then, or in its lane; None if nothing says so
    replayed_from: str | None = None
    died_of: str | None = None  # it was the last one, and the logs say so

    @property
    def ended(self) -> int:
        return self.at + self.ms


def tries(facts: Facts) -> list[Try]:
    """Every attempt that something is known of: those the dead letter remembers, and others by the logs."""
    told = [made for one in facts.said if (made := _told(one)) is not None]
    envelope = facts.letter.envelope if facts.letter else None
    if envelope is None:
        return told
    first = envelope.attempts_made - len(envelope.attempts) + 1
    tiers = {one.number: one.retry_in_s for one in told if one.at >= (envelope.first_failed_at or 0) - _CLOSE_MS}
    kept = [
        Try(
            number=number, at=attempt.at, ms=attempt.ms, error=attempt.error, status=attempt.status,
            answer=attempt.answer, retry_in_s=tiers.get(number), replayed_from=envelope.replayed_from,
        )
        for number, attempt in enumerate(envelope.attempts, first)
    ]  # fmt: skip
    since = kept[0].at - _CLOSE_MS if kept else facts.now
    return [*(one for one in told if one.at < since), *kept]


def _told(one: Said) -> Try | None:
    number, ms = one.number("attempt"), one.number("ms")
    if not one.event.startswith("delivery.") or number is None or ms is None:
        return None
    status = one.number("status")
    return Try(
        number=int(number),
        at=one.at - round(ms),
        ms=round(ms),
        error=None if one.event == "delivery.ok" else one.text("error") or one.event,
        status=None if status is None else int(status),
        retry_in_s=one.number("retry_in_s"),
        replayed_from=one.text("replayed_from"),
        died_of=(one.text("reason") or "no reason given") if one.event == "delivery.dead" else None,
    )
