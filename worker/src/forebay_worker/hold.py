"""Why a worker takes fewer messages than its concurrency allows, and for how long. Pure: the clock is handed in.

Several reasons can hold at once; the strictest counts. All times are seconds of one clock that never goes back.
"""

import math
from dataclasses import dataclass

SUSPENDED = "suspended"  # spec.suspend says so
BREAKER = "breaker"  # the circuit breaker is not closed
RETRY_AFTER = "retry-after"  # the destination has asked for it
RATE_LIMIT = "rate-limit"  # there is no permit for long
REASONS = (SUSPENDED, BREAKER, RETRY_AFTER, RATE_LIMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """At most so many messages at a time, until a moment."""

    most: int = 0
    until: float = math.inf  # inf: until whoever wants it takes it back


class Holds:
    """The holds of one worker, one for each reason at most."""

    def __init__(self) -> None:
        self._holds: dict[str, Hold] = {}

    def set(self, reason: str, hold: Hold | None) -> None:
        """Hold for this reason as is said here, and no more as was said before. None: do not."""
        if hold is None:
            self._holds.pop(reason, None)
        else:
            self._holds[reason] = hold

    def extend(self, reason: str, until: float) -> bool:
        """Hold for this reason until then, or as long as it does already. Whether that is longer."""
        longer = until > self._holds.get(reason, Hold(until=-math.inf)).until
        if longer:
            self._holds[reason] = Hold(until=until)
        return longer

    def reasons(self, now: float) -> list[str]:
        """Those that hold, in a stable order."""
        return [reason for reason in REASONS if reason in self._holds and self._holds[reason].until > now]

    def most(self, now: float) -> int | None:
        """How many messages may be handled at a time; None: nothing holds."""
        return min((hold.most for hold in self._holds.values() if hold.until > now), default=None)

    def left(self, reason: str, now: float) -> float:
        """Seconds for which nothing is taken for this reason; 0 if something is, inf if nobody knows the end."""
        hold = self._holds.get(reason)
        return max(0.0, hold.until - now) if hold and hold.most == 0 else 0.0

    def next_end(self, now: float) -> float:
        """When the next hold ends; inf if none does by itself."""
        return min((hold.until for hold in self._holds.values() if hold.until > now), default=math.inf)
