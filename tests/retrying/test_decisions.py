import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay import settings
from forebay.errors import SpecError
from forebay.topology import TIERS
from forebay_worker import retry
from forebay_worker.outcome import Buried, Delivered, Dropped, Failed, Outcome, Refused, RetryAsked, Unreachable
from forebay_worker.retry import Ack, DeadLetter, Decision, Policy, RetryIn, decide

POLICY = retry.policy(settings.RetryPolicy(), TIERS)
DAY = 86400.0


def decided(outcome: Outcome, attempt: int = 1, age: float = 0.0, jitter: float = 1.0, **changes: Any) -> Decision:
    return decide(outcome, attempt=attempt, age=age, policy=replace(POLICY, **changes), jitter=jitter)


def test_what_was_delivered_is_acknowledged() -> None:
    assert decided(Delivered(204)) == Ack()


def test_what_the_handler_drops_is_acknowledged() -> None:
    assert decided(Dropped("not for us")) == Ack()


@pytest.mark.parametrize("cause", ["dns", "blocked", "connect", "tls", "timeout", "protocol", "closed"])
def test_a_destination_that_can_not_be_reached_is_tried_again(cause: Any) -> None:
    assert decided(Unreachable("no", cause)) == RetryIn(5)


def test_a_server_error_is_tried_again() -> None:
    assert decided(Refused(503, "HTTP 503")) == RetryIn(5)


def test_a_redirect_is_a_permanent_answer() -> None:
    assert decided(Refused(302, "HTTP 302")) == DeadLetter("permanent-status", "HTTP 302")


def test_a_destination_that_answers_410_is_never_tried_again() -> None:
    policy = retry.policy(settings.RetryPolicy(statuses=("400-599",)), TIERS)
    assert decide(Refused(410, "HTTP 410"), attempt=1, age=0, policy=policy, jitter=1) == DeadLetter("gone", "HTTP 410")


def test_a_destination_that_asks_for_no_further_attempt_gets_none() -> None:
    refused = Refused(503, "HTTP 503", retry_after=5, abort=True)
    assert decided(refused) == DeadLetter("aborted", "HTTP 503")
    assert decided(replace(refused, status=410)) == DeadLetter("gone", "HTTP 503")
    assert decided(replace(refused, status=404)) == DeadLetter("permanent-status", "HTTP 503")


def test_a_handler_that_raised_is_tried_again() -> None:
    assert decided(Failed("ValueError: no")) == RetryIn(5)


def test_a_handler_chooses_its_own_delay() -> None:
    assert decided(RetryAsked(after=40)) == RetryIn(45)
    assert decided(RetryAsked(after=0)) == RetryIn(1)
    assert decided(RetryAsked()) == RetryIn(5)


def test_what_can_never_be_delivered_is_dead_whatever_the_policy_says() -> None:
    assert decided(Buried("handler", "malformed order")) == DeadLetter("handler", "malformed order")


def test_the_last_attempt_ends_in_the_dead_letters() -> None:
    assert decided(Refused(503, "HTTP 503"), attempt=11) == RetryIn(3600)
    last = decided(Refused(503, "HTTP 503"), attempt=12)
    assert last == DeadLetter("exhausted", "no success in 12 attempts; the last one: HTTP 503")


def test_a_retry_that_would_come_too_late_is_not_made() -> None:
    assert decided(Failed("no"), age=3 * DAY - 5) == RetryIn(5)
    late = decided(Failed("no"), age=3 * DAY - 4.9)
    assert isinstance(late, DeadLetter)
    assert late.reason == "expired"


def test_retry_after_is_a_floor_and_has_a_cap() -> None:
    assert decided(Refused(429, "slow down", retry_after=100)) == RetryIn(120)
    assert decided(Refused(429, "slow down", retry_after=0)) == RetryIn(5)
    assert decided(Refused(429, "slow down", retry_after=2)) == RetryIn(5)
    assert decided(Refused(429, "slow down", retry_after=1e9)) == RetryIn(3600)
    assert decided(Refused(503, "slow down", retry_after=100), retry_after_max=0) == RetryIn(5)


def test_exponential_delays_double_up_to_their_cap() -> None:
    assert [POLICY.delay(attempt, 1.0) for attempt in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert POLICY.delay(100_000, 1.0) == 3600


def test_jitter_takes_any_share_of_the_delay() -> None:
    assert POLICY.delay(4, 0.25) == 10
    assert replace(POLICY, jitter=False).delay(4, 0.25) == 40


def test_a_schedule_is_kept_exactly_and_its_last_delay_repeats() -> None:
    scheduled = replace(POLICY, schedule=(0.0, 60.0, 600.0))
    assert [scheduled.delay(attempt, 0.1) for attempt in (1, 2, 3, 4, 50)] == [0, 60, 600, 600, 600]


def test_a_delay_beyond_the_longest_tier_takes_the_longest_tier() -> None:
    assert decided(RetryAsked(after=2 * DAY), max_age=math.inf) == RetryIn(86400)


def test_only_the_tiers_of_this_broker_are_used() -> None:
    assert decided(Failed("no"), tiers=(2, 60)) == RetryIn(60)


def test_all_faults_of_a_policy_are_named_at_once() -> None:
    wrong = settings.RetryPolicy(max_attempts=0, factor=0.5, initial_s=math.nan, schedule_s=(-1.0,), statuses=("5xx",))
    with pytest.raises(SpecError) as caught:
        retry.policy(wrong, ())
    for field in ("max_attempts", "factor", "initial_s", "schedule_s", "tiers", "'5xx'"):
        assert field in str(caught.value)


OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Delivered, st.integers(200, 299)),
    st.builds(Refused, st.integers(300, 999), st.text(), st.none() | st.floats(0, allow_infinity=True)),
    st.builds(Unreachable, st.text(), st.sampled_from(["dns", "connect", "tls", "timeout"])),
    st.builds(Failed, st.text()),
    st.builds(RetryAsked, st.none() | st.floats(0, 1e12), st.text()),
    st.builds(Dropped, st.text()),
    st.builds(Buried, st.just("handler"), st.text()),
)
POLICIES = st.builds(
    Policy,
    max_attempts=st.integers(1, 100),
    max_age=st.floats(1, 1e7),
    schedule=st.lists(st.floats(0, 1e6), max_size=5).map(tuple),
    initial=st.floats(0.001, 1e5),
    factor=st.floats(1, 100),
    max_delay=st.floats(0.001, 1e6),
    jitter=st.booleans(),
    retry_after_max=st.floats(0, 1e6),
    statuses=st.just(POLICY.statuses),
    tiers=st.lists(st.integers(1, 86400), min_size=1, max_size=30, unique=True).map(lambda t: tuple(sorted(t))),
)
CALLS = st.tuples(OUTCOMES, st.integers(1, 200), st.floats(0, 1e7), POLICIES, st.floats(0, 1))


@given(CALLS)
def test_every_outcome_has_a_decision_within_the_policy(call: tuple[Outcome, int, float, Policy, float]) -> None:
    outcome, attempt, age, policy, jitter = call
    match decide(outcome, attempt=attempt, age=age, policy=policy, jitter=jitter):
        case RetryIn(tier):
            assert attempt < policy.max_attempts
            assert age + tier <= policy.max_age
            assert tier in policy.tiers
        case DeadLetter(reason):
            assert reason in {"exhausted", "expired", "permanent-status", "gone", "handler"}
        case Ack():
            assert isinstance(outcome, (Delivered, Dropped))


@given(POLICIES, st.floats(0, 1))
def test_every_webhook_comes_to_an_end(policy: Policy, jitter: float) -> None:
    age, attempt = 0.0, 1
    while isinstance(decision := decide(Failed("no"), attempt=attempt, age=age, policy=policy, jitter=jitter), RetryIn):
        age, attempt = age + decision.tier, attempt + 1
    assert attempt <= policy.max_attempts


@given(st.integers(1, 5_000))
def test_delays_never_shrink_and_never_pass_the_cap(attempt: int) -> None:
    assert POLICY.delay(attempt, 1.0) <= POLICY.delay(attempt + 1, 1.0) <= POLICY.max_delay
