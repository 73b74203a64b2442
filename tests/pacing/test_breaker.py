"""When the circuit breaker opens, when it lets one webhook through, and when it closes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.settings import CircuitBreaker
from forebay_worker.breaker import Breaker, State
from forebay_worker.hold import Hold

SETTINGS = CircuitBreaker(failure_percent=50, minimum=4, window_s=10, open_for_s=30, probes=2)


class Clocked:
    """A breaker with a clock that is set by hand; attempts take no time unless it is said."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.breaker = Breaker(SETTINGS, now)

    def after(self, seconds: float) -> "Clocked":
        self.now += seconds
        return self

    def ends(self, *failures: bool, took: float = 0.0) -> "Clocked":
        for failed in failures:
            self.breaker.ended(failed=failed, began=self.now - took, now=self.now)
        return self

    @property
    def state(self) -> State:
        return self.breaker.state(self.now)

    @property
    def hold(self) -> Hold | None:
        return self.breaker.hold(self.now)


def opened() -> Clocked:
    return Clocked().ends(True, True, True, True)


def half_open() -> Clocked:
    return opened().after(30)


def test_it_opens_when_the_share_is_reached_and_not_before_there_were_enough() -> None:
    clocked = Clocked().ends(True, True, True)
    assert (clocked.state, clocked.hold) == (State.CLOSED, None)
    assert clocked.ends(True).state is State.OPEN
    assert Clocked().ends(True, False, True, False).state is State.OPEN
    assert Clocked().ends(True, False, False, False, True, False).state is State.CLOSED


def test_what_is_older_than_the_window_is_forgotten() -> None:
    assert Clocked().ends(True, True, True).after(11).ends(True).state is State.CLOSED
    assert Clocked().ends(False, False, False, False).after(11).ends(True, True, True, True).state is State.OPEN


def test_open_it_holds_everything_until_a_moment() -> None:
    clocked = opened()
    assert clocked.hold == Hold(most=0, until=1030)
    assert clocked.after(29.9).state is State.OPEN
    assert clocked.hold == Hold(most=0, until=1030)


def test_half_open_it_lets_one_through_at_a_time() -> None:
    clocked = half_open()
    assert (clocked.state, clocked.hold) == (State.HALF_OPEN, Hold(most=1))


def test_a_probe_that_fails_opens_it_again_for_as_long() -> None:
    clocked = half_open().ends(False).after(5).ends(True)
    assert clocked.hold == Hold(most=0, until=clocked.now + 30)
    assert clocked.after(30).state is State.HALF_OPEN


def test_so_many_successes_in_a_row_close_it_and_the_failures_before_are_forgotten() -> None:
    clocked = half_open().ends(False)
    assert clocked.state is State.HALF_OPEN
    assert clocked.ends(False).state is State.CLOSED
    assert clocked.ends(True, True, True).state is State.CLOSED
    assert clocked.ends(True).state is State.OPEN


def test_what_had_begun_before_says_nothing_about_the_present_state() -> None:
    assert opened().ends(True, False, True).state is State.OPEN
    assert half_open().ends(True, took=31).state is State.HALF_OPEN
    assert half_open().ends(False, False, took=31).state is State.HALF_OPEN


def test_it_tells_when_its_state_changed() -> None:
    breaker = Breaker(SETTINGS, 0)
    told = [breaker.ended(failed=True, began=1, now=1) for _ in range(5)]
    assert told == [False, False, False, True, False]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 60), st.floats(0, 100)), max_size=200))
def test_whatever_comes_it_holds_what_its_state_says_and_never_for_ever(
    attempts: list[tuple[bool, float, float]],
) -> None:
    clocked = Clocked()
    for failed, after, took in attempts:
        clocked.after(after).ends(failed, took=took)
        match clocked.state, clocked.hold:
            case State.CLOSED, None:
                pass
            case State.HALF_OPEN, Hold(most=1):
                pass
            case State.OPEN, Hold(most=0, until=until):
                assert clocked.now < until <= clocked.now + SETTINGS.open_for_s
            case other:
                pytest.fail(str(other))


@given(st.lists(st.booleans(), min_size=4, max_size=60))
def test_closed_it_opens_exactly_when_half_of_the_window_failed(attempts: list[bool]) -> None:
    clocked, told = Clocked(), list[bool]()
    for failed in attempts:
        told.append(failed)
        clocked.ends(failed)
        if len(told) >= 4 and 2 * sum(told) >= len(told):
            assert clocked.state is State.OPEN
            return
        assert clocked.state is State.CLOSED


def test_its_memory_does_not_grow_with_the_attempts() -> None:
    window: Any = Clocked().breaker._window
    for number in range(10_000):
        window.count(failed=False, now=number / 100)
    assert len(window._steps) <= 10
