"""Several reasons to hold at once: the strictest counts, each ends on its own."""

import math

from forebay_worker.hold import BREAKER, RETRY_AFTER, SUSPENDED, Hold, Holds


def test_nothing_holds_at_first() -> None:
    holds = Holds()
    assert (holds.most(0), holds.reasons(0), holds.next_end(0)) == (None, [], math.inf)
    assert holds.left(BREAKER, 0) == 0


def test_the_strictest_counts_and_each_ends_on_its_own() -> None:
    holds = Holds()
    holds.set(BREAKER, Hold(most=1))
    holds.set(RETRY_AFTER, Hold(until=20))
    assert (holds.most(10), holds.next_end(10), holds.left(RETRY_AFTER, 10)) == (0, 20, 10)
    assert (holds.most(20), holds.reasons(20), holds.left(RETRY_AFTER, 20)) == (1, [BREAKER], 0)
    holds.set(BREAKER, None)
    assert holds.most(20) is None


def test_a_hold_without_an_end_is_left_for_ever() -> None:
    holds = Holds()
    holds.set(SUSPENDED, Hold())
    assert (holds.left(SUSPENDED, 5), holds.next_end(5)) == (math.inf, math.inf)


def test_a_later_wish_extends_and_an_earlier_one_does_not_shorten() -> None:
    holds = Holds()
    assert holds.extend(RETRY_AFTER, 20)
    assert not holds.extend(RETRY_AFTER, 10)
    assert holds.left(RETRY_AFTER, 5) == 15
    assert holds.extend(RETRY_AFTER, 30)
    assert holds.left(RETRY_AFTER, 5) == 25


def test_few_at_a_time_is_not_nothing() -> None:
    holds = Holds()
    holds.set(BREAKER, Hold(most=1))
    assert holds.left(BREAKER, 0) == 0
    assert holds.reasons(0) == [BREAKER]
