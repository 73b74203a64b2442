"""A token bucket's arithmetic: how many permits have fallen due. Reads no clock, changes nothing but itself.

It counts what flows in; what lies in the bucket is elsewhere (in a queue whose maximum length is the burst). So at most
`burst` permits are handed over at once, and rate × t + burst in any time t.
"""


class Bucket:
    """Permits that fall due at a steady rate from `now` on. Moments are seconds of one clock."""

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self.rate = rate  # permits a second
        self.burst = burst
        self._from = now  # all that was due until then has been handed over

    def due(self, now: float) -> int:
        """The permits that are due and are handed over by this; what is beyond the burst is forfeited."""
        count = self._whole(now)
        self._from += count / self.rate
        return min(count, self.burst)

    def wait(self, now: float) -> float:
        """Seconds until there is a permit to hand over; 0 if there is one."""
        return max(0.0, self._from + 1 / self.rate - now)

    def _whole(self, now: float) -> int:
        # A hair of rounding must not make the moment that `wait` has named come too early.
        return max(0, int((now - self._from) * self.rate + 1e-9))
