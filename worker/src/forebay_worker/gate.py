"""Makes the consumer obey the holds: nothing is cut, nothing is bounced, and no attempt is spent while nothing may be tried.

A worker that holds takes no more messages. What it was handed out ahead stays in hand for a while, because giving it back
counts towards the queue's delivery limit (before RabbitMQ 4.3); after `KEPT_S` it goes back. When the worker may go on, it
works off what it has in hand before it takes more: a consumer is handed out its whole prefetch each time it is registered.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from forebay.telemetry import Log
from forebay_worker.breaker import Breaker, State
from forebay_worker.hold import BREAKER, RATE_LIMIT, REASONS, RETRY_AFTER, SUSPENDED, Hold, Holds
from forebay_worker.outcome import Outcome, Refused
from forebay_worker.retry import Decision, Policy, asked_to_wait, failed

# Seconds for which messages are kept in hand while less is handled than could be. With the longest delivery that may follow
# it is below RabbitMQ's patience with a consumer (30 min); and what goes back only after so long does not come near its limit.
KEPT_S = 60.0


class Slots(Protocol):
    """Who handles messages."""

    @property
    def in_hand(self) -> int: ...
    def limit(self, most: int) -> None: ...
    def when_worked_off(self, then: Callable[[], None]) -> None: ...
    def give_back(self) -> None: ...


class Tap(Protocol):
    """Where messages come from."""

    def take(self, prefetch: int) -> None: ...
    async def stop_consuming(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Governed:
    """Who obeys, and how much each takes when nothing holds."""

    slots: Slots
    tap: Tap
    concurrency: int
    prefetch: int


class Gate:
    """The holds of one worker. Lives on one loop."""

    def __init__(
        self,
        governed: Governed,
        policy: Policy,
        log: Log,
        *,
        breaker: Breaker | None = None,
        opened: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`opened` is called each time the breaker opens."""
        self.breaker = breaker
        self._opened = opened
        self._governed = governed
        self._holds = Holds()
        self._policy = policy
        self._log = log
        self._clock = clock
        self._open = True
        self._most: int | None = None  # how many messages may be handled at a time; None: nothing holds
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def close(self) -> None:
        """Say nothing more: the worker ends."""
        self._open = False
        for timer in self._timers.values():
            timer.cancel()

    # ------------------------------------------------------------------------------------------- what holds

    def suspend(self, *, suspended: bool) -> None:
        """Take nothing until the opposite is said."""
        self._holds.set(SUSPENDED, Hold() if suspended else None)
        self._look()

    async def stop_consuming(self) -> None:
        """Take nothing for want of a permit. Returns when nothing is handed out any more."""
        self._holds.set(RATE_LIMIT, Hold())
        await self._governed.tap.stop_consuming()
        self._look()

    def resume_consuming(self) -> None:
        """There is a permit again."""
        self._holds.set(RATE_LIMIT, None)
        self._look()

    def ended(self, outcome: Outcome, decision: Decision, seconds: float) -> None:
        """An attempt has ended, and took so long."""
        if self.breaker is not None:
            self._count(self.breaker, decision, seconds)
        if isinstance(outcome, Refused):
            self._wait(asked_to_wait(outcome, self._policy))

    def left(self, reason: str) -> float:
        """Seconds for which nothing is taken for this reason; 0 if it does not hold, inf if nobody knows the end."""
        return self._holds.left(reason, self._clock())

    @property
    def state(self) -> State:
        """Of the breaker."""
        return self.breaker.state(self._clock()) if self.breaker else State.CLOSED

    def _count(self, breaker: Breaker, decision: Decision, seconds: float) -> None:
        now = self._clock()
        if breaker.ended(failed=failed(decision), began=now - seconds, now=now):
            self._look()
            if self._opened is not None and breaker.state(now) is State.OPEN:
                self._opened()

    def _wait(self, seconds: float) -> None:
        if seconds and self._holds.extend(RETRY_AFTER, self._clock() + seconds):
            self._look()

    def _look(self) -> None:
        """See what holds now, and look again when the first of it ends by itself."""
        now = self._clock()
        if self.breaker is not None:
            self._holds.set(BREAKER, self.breaker.hold(now))
        self._arm("look", self._holds.next_end(now) - now, self._look)
        before, self._most = self._most, self._holds.most(now)
        if self._most != before:
            self._tell(now)
            self._obey()
        if (self._most is None) != (before is None):
            self._arm("give back", math.inf if self._most is None else KEPT_S, self._give_back)

    # ------------------------------------------------------------------------------------------- and who obeys

    def _obey(self) -> None:
        if not self._open:
            return
        one = self._governed
        one.slots.limit(one.concurrency if self._most is None else self._most)
        if self._most == 0:
            one.tap.take(0)
        elif one.slots.in_hand:
            one.tap.take(0)
            one.slots.when_worked_off(self._obey)
        else:
            one.tap.take(one.prefetch if self._most is None else self._most)

    def _give_back(self) -> None:
        self._governed.slots.give_back()
        self._obey()
        self._arm("give back", KEPT_S, self._give_back)

    def _arm(self, what: str, after_s: float, then: Callable[[], None]) -> None:
        """Do it after so many seconds, and not when it was to be done before; inf: never."""
        if (timer := self._timers.pop(what, None)) is not None:
            timer.cancel()
        if after_s < math.inf and self._open:
            self._timers[what] = asyncio.get_running_loop().call_later(after_s, then)

    def _tell(self, now: float) -> None:
        if self._most is None:
            self._log.info("pace.free")
            return
        for_s = max(self._holds.left(reason, now) for reason in REASONS)
        reasons = self._holds.reasons(now)
        self._log.info(
            "pace.held", reasons=reasons, most=self._most, for_s=round(for_s, 3) if for_s < math.inf else None
        )
