"""Threads for handlers that are not async, with a place for each call.

They are daemons: a stuck one does not keep the process from ending, as one of concurrent.futures would.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any


class Threads:
    """Up to `count` threads, started when they are needed."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = asyncio.Semaphore(count)
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._started = 0
        self._busy = 0
        self._given_up = 0
        self._loop = asyncio.get_running_loop()

    @property
    def exhausted(self) -> bool:
        """Whether every thread is in a call that nobody waits for any more."""
        return self._given_up >= self.count

    async def reserve(self) -> None:
        """Take the place of one call, as soon as there is one. The call gives it back when it returns."""
        await self._free.acquire()
        self._busy += 1
        if self._started < self._busy:
            self._started += 1
            threading.Thread(target=self._work, name=f"handler-{self._started}", daemon=True).start()

    async def run(self, call: Callable[[], Any]) -> Any:
        """Make the call in the place that was reserved. Cancelling this gives up the wait, never the call."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        answer.add_done_callback(self._returned)
        self._jobs.put(lambda: self._make(call, answer))
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            if not answer.done():
                self._given_up += 1
                answer.add_done_callback(self._returned_late)
            raise

    def _returned(self, _: object) -> None:
        self._busy -= 1
        self._free.release()

    def _returned_late(self, _: object) -> None:
        self._given_up -= 1

    def _work(self) -> None:
        while True:
            self._jobs.get()()

    def _make(self, call: Callable[[], Any], answer: "asyncio.Future[Any]") -> None:
        """In the thread: call, and tell the loop. A loop that is closed meanwhile needs no answer."""
        result: Any = None
        error: BaseException | None = None
        try:
            result = call()
        except BaseException as raised:  # noqa: BLE001  # told to whoever waits
            error = raised
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_settle, answer, result, error)


def _settle(answer: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if error is None:
        answer.set_result(result)
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        answer.set_exception(error)
    else:
        # A future takes no StopIteration, and SystemExit would end the loop: both become a failure with their name.
        answer.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))
