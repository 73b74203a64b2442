"""How many moments fall into a time. Pure; moments are sorted seconds of one clock."""

from bisect import bisect_left
from collections.abc import Sequence


def within(at: Sequence[float], begin: float, end: float) -> int:
    """From `begin` until before `end`."""
    return bisect_left(at, end) - bisect_left(at, begin)


def most(at: Sequence[float], seconds: float) -> int:
    """In any time of this length."""
    return max((bisect_left(at, moment + seconds) - index for index, moment in enumerate(at)), default=0)
