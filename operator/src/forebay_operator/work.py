"""A queue of keys to work on: each key once, never two at a time of the same key, failures later and later.

It promises that a key that was added is worked on after that moment, however often it is added meanwhile.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")

# Seconds before the first and at most before any further try of a key that failed.
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 60.0


class WorkQueue(Generic[K]):
    """Keys that wait for their turn. For one event loop."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._waiting: dict[K, float] = {}  # since when, in order of arrival
        self._working: set[K] = set()
        self._again: set[K] = set()  # added while being worked on
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._arrival = asyncio.Event()
        self._jitter = jitter

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Work on the key as soon as possible."""
        self._forget_timer(key)
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = time.monotonic()
            self._arrival.set()

    def add_later(self, key: K, after_s: float) -> None:
        """Work on the key in so many seconds, unless it is added before."""
        loop = asyncio.get_running_loop()
        due = loop.time() + after_s
        timer = self._timers.get(key)
        if timer is None or due < timer.when():
            self._forget_timer(key)
            self._timers[key] = loop.call_later(after_s, self._due, key)

    async def work(
        self, do: Callable[[K], Awaitable[float | None]], failed: Callable[[K, BaseException, float], None]
    ) -> None:
        """Work on keys until cancelled. `do` gives the seconds after which it wants to see the key again, if at all.

        What `do` raises is told to `failed` with the seconds until the next try.
        """
        while True:
            key = await self._next()
            try:
                again_s = await do(key)
            except (Exception, asyncio.CancelledError) as error:  # whatever it is, other keys go on
                if _ends_us(error):
                    raise
                again_s = self._backoff_s(key)
                failed(key, error, again_s)
            else:
                self._failures.pop(key, None)
            finally:
                self._working.discard(key)
            self._settle(key, again_s)

    def oldest_s(self) -> float:
        """Seconds for which the first of the waiting keys has waited."""
        first = next(iter(self._waiting.values()), None)
        return 0.0 if first is None else time.monotonic() - first

    async def _next(self) -> K:
        while not self._waiting:
            self._arrival.clear()
            await self._arrival.wait()
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._working.add(key)
        return key

    def _settle(self, key: K, again_s: float | None) -> None:
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif again_s is not None:
            self.add_later(key, again_s)

    def _backoff_s(self, key: K) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        longest = min(FIRST_RETRY_S * 2 ** min(failures - 1, 10), LONGEST_RETRY_S)
        return float(longest * (0.5 + self._jitter() / 2))

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _forget_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()


def _ends_us(error: BaseException) -> bool:
    """Cancelled are we, and not something that we waited for (kopf cancels all that was begun while it ran)."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
