"""What to do when an attempt has ended. No I/O, no clock, no randomness: all three are handed in."""

from dataclasses import dataclass
from typing import TypeAlias, assert_never

from forebay import settings
from forebay.errors import SpecError
from forebay.statuses import Statuses, parse
from forebay.topology import tier_for
from forebay_worker.outcome import (
    Buried,
    Delivered,
    Dropped,
    Failed,
    Outcome,
    Refused,
    RetryAsked,
    Unfetched,
    Unreachable,
)

# The words a dead letter's reason is one of; alerts and `forebay dlq --reason` rely on them.
EXHAUSTED = "exhausted"  # no success within the attempts the policy grants
EXPIRED = "expired"  # the next attempt would come later than the policy's age
PERMANENT_STATUS = "permanent-status"  # the destination gave an answer that is never tried again
GONE = "gone"  # the destination answered 410: it wants no more of these
ABORTED = "aborted"  # the destination answered that it wants no further attempt
HANDLER = "handler"  # the handler said so
UNDECODABLE = "undecodable"  # the message is no envelope
UNDELIVERABLE = "undeliverable"  # the envelope can not be made into a request
BODY_UNAVAILABLE = "body-unavailable"  # its body is not in the object storage, or not what was stored
REASONS = (
    EXHAUSTED, EXPIRED, PERMANENT_STATUS, GONE, ABORTED, HANDLER, UNDECODABLE, UNDELIVERABLE, BODY_UNAVAILABLE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ack:
    """It is done with."""


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Try again after a stay in the tier of so many seconds, or as long in its place in a lane."""

    tier: int
    in_place: bool = False  # others of its key wait behind it
    held: bool = False  # it would be given up if others did not wait behind it


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Give up."""

    reason: str  # one of the words above
    detail: str  # the sentence for a person


Decision: TypeAlias = Ack | RetryIn | DeadLetter


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When to try again and when to give up. Times in seconds; made by `policy`."""

    max_attempts: int
    max_age: float
    schedule: tuple[float, ...]
    initial: float
    factor: float
    max_delay: float
    jitter: bool
    retry_after_max: float
    statuses: Statuses
    tiers: tuple[int, ...]

    def delay(self, attempt: int, jitter: float) -> float:
        """Seconds to wait after attempt number `attempt` (from 1). A schedule is kept exactly, jitter is for the exponential."""
        if self.schedule:
            return self.schedule[min(attempt, len(self.schedule)) - 1]
        return self._ceiling(attempt) * (jitter if self.jitter else 1.0)

    def _ceiling(self, attempt: int) -> float:
        try:
            return min(self.initial * self.factor ** (attempt - 1), self.max_delay)
        except OverflowError:
            return self.max_delay


def failed(decision: Decision) -> bool:
    """Whether the attempt behind a decision says that the destination is unwell: the webhook would be tried again.

    An answer that is final is about the webhook, whatever it is.
    """
    return isinstance(decision, RetryIn) or (
        isinstance(decision, DeadLetter) and decision.reason in (EXHAUSTED, EXPIRED)
    )


def asked_to_wait(outcome: Outcome, policy: Policy) -> float:
    """Seconds for which the destination wants nothing at all (RFC 6585 §4, RFC 9110 §15.6.4), as far as the policy goes along."""
    if isinstance(outcome, Refused) and outcome.status in (429, 503):
        return min(outcome.retry_after or 0.0, policy.retry_after_max)
    return 0.0


def policy(given: settings.RetryPolicy, tiers: tuple[int, ...]) -> Policy:
    """The policy of these settings. Raises SpecError that lists every fault."""
    faults = [sentence for wrong, sentence in _checks(given, tiers) if wrong]
    try:
        statuses = parse(given.statuses)
    except SpecError as error:
        raise SpecError("; ".join([*faults, f"retry.statuses: {error}"])) from error
    if faults:
        raise SpecError("; ".join(faults))
    return Policy(
        max_attempts=given.max_attempts,
        max_age=given.max_age_s,
        schedule=given.schedule_s,
        initial=given.initial_s,
        factor=given.factor,
        max_delay=given.max_delay_s,
        jitter=given.jitter,
        retry_after_max=given.retry_after_max_s,
        statuses=statuses,
        tiers=tuple(sorted(tiers)),
    )


def _checks(given: settings.RetryPolicy, tiers: tuple[int, ...]) -> list[tuple[bool, str]]:
    return [
        (given.max_attempts < 1, f"retry.max_attempts is {given.max_attempts}; it takes 1 or more"),
        (given.max_age_s < 1, f"retry.max_age_s is {given.max_age_s}; it takes 1 or more"),
        (not given.initial_s > 0, f"retry.initial_s is {given.initial_s:g}; it takes more than 0"),
        (not given.factor >= 1, f"retry.factor is {given.factor:g}; it takes 1 or more"),
        (not given.max_delay_s > 0, f"retry.max_delay_s is {given.max_delay_s:g}; it takes more than 0"),
        (
            not given.retry_after_max_s >= 0,
            f"retry.retry_after_max_s is {given.retry_after_max_s:g}; it takes 0 or more",
        ),
        (not all(delay >= 0 for delay in given.schedule_s), "retry.schedule_s holds a negative delay"),
        (not tiers or min(tiers) < 1, "tiers is empty or holds less than a second; it takes whole seconds"),
    ]


def decide(outcome: Outcome, *, attempt: int, age: float, policy: Policy, jitter: float) -> Decision:
    """What follows from the outcome of attempt number `attempt` (from 1) on a webhook received `age` seconds ago.

    `jitter` is a random number from 0 to 1: the share of the exponential delay that is waited.
    """
    match outcome:
        case Delivered() | Dropped():
            return Ack()
        case Buried(reason, error):
            return DeadLetter(reason, error)
        case Refused(error=error) if final := _final(outcome, policy.statuses):
            return DeadLetter(final, error)
        case Refused(_, error, retry_after):
            # What the destination asks for is a floor: "Retry-After: 0" does not spend all attempts within seconds.
            floor = min(retry_after or 0.0, policy.retry_after_max)
            return _again(error, attempt, age, policy, max(floor, policy.delay(attempt, jitter)))
        case RetryAsked(after=float() | int() as after, error=error):
            return _again(error, attempt, age, policy, after)
        case Unreachable() | Unfetched() | Failed() | RetryAsked():
            better = BODY_UNAVAILABLE if isinstance(outcome, Unfetched) else None
            return _again(outcome.error, attempt, age, policy, policy.delay(attempt, jitter), reason=better)
        case _:
            assert_never(outcome)


def _final(refused: Refused, statuses: Statuses) -> str | None:
    """Why the destination is not asked again, None if it may be."""
    if refused.status == 410:
        return GONE
    if not statuses.retried(refused.status):
        return PERMANENT_STATUS
    return ABORTED if refused.abort else None


def _again(
    error: str, attempt: int, age: float, policy: Policy, delay: float, *, reason: str | None = None
) -> Decision:
    """`reason` is the word of what is given up, if there is a better one than what ended it."""
    if attempt >= policy.max_attempts:
        return DeadLetter(reason or EXHAUSTED, f"no success in {attempt} attempts; the last one: {error}")
    tier = tier_for(delay, policy.tiers)
    if age + tier > policy.max_age:
        return DeadLetter(
            reason or EXPIRED, f"the next attempt would come after {policy.max_age:g} s; the last one: {error}"
        )
    return RetryIn(tier)
