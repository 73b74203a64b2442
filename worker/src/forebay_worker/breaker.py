"""The circuit breaker: most deliveries fail, so none are made for a while, then one at a time. Pure: the clock is handed in.

closed     attempts are counted; most of a window fail → open
open       nothing is tried; after a while → half-open
half-open  one at a time; it fails → open; so many in a row succeed → closed

Each worker has its own. An attempt that had begun before the present state says nothing about it and is not counted.
"""

from collections import deque
from enum import IntEnum

from forebay.settings import CircuitBreaker
from forebay_worker.hold import Hold

# A window forgets in so many steps.
_STEPS = 10


class State(IntEnum):
    """In the order of the metric's values."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """One worker's breaker. All times are seconds of one clock that never goes back."""

    def __init__(self, settings: CircuitBreaker, now: float) -> None:
        self._settings = settings
        self._window = _Window(settings.window_s)
        self._state = State.CLOSED
        self._since = now
        self._successes = 0  # of half-open, in a row

    def state(self, now: float) -> State:
        if self._state is State.OPEN and now >= self._since + self._settings.open_for_s:
            self._enter(State.HALF_OPEN, now)
        return self._state

    def hold(self, now: float) -> Hold | None:
        """What it wants of the consumer; None: nothing."""
        match self.state(now):
            case State.CLOSED:
                return None
            case State.HALF_OPEN:
                return Hold(most=1)
            case State.OPEN:
                return Hold(until=self._since + self._settings.open_for_s)

    def ended(self, *, failed: bool, began: float, now: float) -> bool:
        """Count an attempt. Whether the state is another now."""
        before = self.state(now)
        if before is State.CLOSED:
            self._window.count(failed=failed, now=now)
            if self._window.fails(self._settings, now):
                self._enter(State.OPEN, now)
        elif before is State.HALF_OPEN and began >= self._since:
            self._probed(failed=failed, now=now)
        return self._state is not before

    def _probed(self, *, failed: bool, now: float) -> None:
        self._successes += 1
        if failed:
            self._enter(State.OPEN, now)
        elif self._successes >= self._settings.probes:
            self._window = _Window(self._settings.window_s)
            self._enter(State.CLOSED, now)

    def _enter(self, state: State, now: float) -> None:
        self._state, self._since, self._successes = state, now, 0


class _Window:
    """Attempts of the last seconds, in steps: what it takes does not grow with their number."""

    def __init__(self, seconds: float) -> None:
        self._step_s = seconds / _STEPS
        self._steps: deque[list[int]] = deque()  # each: number of the step, attempts, failures
        self._attempts = self._failures = 0

    def count(self, *, failed: bool, now: float) -> None:
        number = self._forget(now)
        if not self._steps or self._steps[-1][0] != number:
            self._steps.append([number, 0, 0])
        self._steps[-1][1] += 1
        self._steps[-1][2] += failed
        self._attempts += 1
        self._failures += failed

    def fails(self, settings: CircuitBreaker, now: float) -> bool:
        self._forget(now)
        return self._attempts >= settings.minimum and self._failures * 100 >= settings.failure_percent * self._attempts

    def _forget(self, now: float) -> int:
        """Drop what is older than the window; the number of the present step."""
        number = int(now / self._step_s)
        while self._steps and self._steps[0][0] <= number - _STEPS:
            _, attempts, failures = self._steps.popleft()
            self._attempts -= attempts
            self._failures -= failures
        return number
