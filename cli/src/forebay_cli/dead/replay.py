"""Brings dead letters back, or throws them away. Publish first, settle last: a crash repeats a webhook, it never loses one.

A window of letters is under way at a time; each is settled when the broker has confirmed its successor. Whoever stops it
waits for those, and the rest is as it was. A crash repeats as many as were under way.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from forebay.amqp.publisher import Publisher
from forebay.errors import Busy, Rejected, Unavailable
from forebay.topology import Names, queue_of
from forebay_cli.dead.choice import Choice
from forebay_cli.dead.letter import Letter, stamped
from forebay_cli.dead.reader import PATIENCE_S, Reader, Settle, connected

WINDOW = 100  # letters under way at a time
_BUSY_PAUSE_S = 0.01  # before another try when as many bytes are under way as the publisher takes


@dataclass(slots=True)
class Tally:
    """What became of the letters."""

    looked_at: int = 0
    total: int = 0
    done: int = 0
    strange: int = 0  # of those that are done, no envelopes of Forebay's
    reasons: Counter[str] = field(default_factory=Counter)  # of those that were meant
    failures: list[tuple[str, str]] = field(default_factory=list)  # id, why; they stay dead letters
    stopped: bool = False  # by a person, before the end

    @property
    def meant(self) -> int:
        return self.reasons.total()


# What is done with a letter before it is forgotten. Raises Rejected if it can not be done; then it is kept.
Deed = Callable[[Letter], Coroutine[Any, Any, None]]


class Replayer:
    """Sends letters back to the queue they died in."""

    def __init__(self, publisher: Publisher, names: Names) -> None:
        self._publisher = publisher
        self._names = names

    async def __call__(self, letter: Letter) -> None:
        """Returns when the broker has confirmed it. Raises Rejected if it has no place to go to."""
        if letter.queue is None:
            raise Rejected("nothing says which queue it came from; look at it with show, then discard it")
        message, queue = stamped(letter.revived(), int(time.time())), letter.queue
        while True:
            try:
                await self._publisher.publish(self._names.exchange, self._names.queue(queue), message)
            except Busy:
                await asyncio.sleep(_BUSY_PAUSE_S)
            except Rejected as error:
                if queue != queue_of(queue):  # its lane is gone
                    queue = queue_of(queue)
                    continue
                remedy = "add it to the source again, or discard it"
                raise Rejected(f"its queue {queue!r} is gone; {remedy}") from error
            else:
                return


async def nothing(letter: Letter) -> None:
    """The deed where letters are only discarded."""


@asynccontextmanager
async def replayer(url: str, names: Names) -> AsyncIterator[Replayer]:
    """A replayer that is connected. Raises Unavailable."""
    publisher = Publisher(lambda: url, name="forebay dlq replay", confirm_s=PATIENCE_S)
    work = asyncio.create_task(publisher.run())
    try:
        await connected(publisher.link)
        async with asyncio.timeout(PATIENCE_S):
            while publisher.obstacle is not None:  # noqa: ASYNC110  # it tells nobody when it is gone
                await asyncio.sleep(0.01)
        yield Replayer(publisher, names)
    except TimeoutError as error:
        raise Unavailable("the broker takes no messages now (is it out of memory or disk?); try later") from error
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def settle_each(
    reader: Reader,
    choice: Choice,
    deed: Deed,
    *,
    limit: int | None,
    rate: float | None,
    stop: asyncio.Event,
    progress: Callable[[Tally], None],
) -> Tally:
    """Do the deed for each letter that is meant, then forget it; at most `limit` letters, `rate` a second.

    Raises Unavailable if the broker goes away; what was done until then is done, the rest is as it was.
    """
    tally, began, window = Tally(total=reader.total), time.monotonic(), _Window()
    try:
        try:
            async for letter, settle in reader.letters():
                tally.looked_at = reader.seen
                if choice.means(letter):
                    await _wait_turn(began, tally.meant, rate, stop)
                    await window.room()
                    if stop.is_set():
                        break
                    window.begin(_settle_one(letter, deed, settle, tally))
                progress(tally)
                if stop.is_set() or await _enough(tally, window, limit):
                    break
        finally:
            await window.emptied()
        progress(tally)
        await reader.settled()
    except Unavailable as error:
        what = str(error).partition(";")[0]
        raise Unavailable(f"{tally.done} done, then {what}; run it again for the rest") from error
    tally.stopped = stop.is_set()
    return tally


class _Window:
    """Letters that are under way: at most WINDOW, and whoever leaves waits for all of them."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(WINDOW)
        self._work: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    def __len__(self) -> int:
        return len(self._work)

    async def room(self) -> None:
        """Until one more can begin. Raises what one of those before has failed with."""
        await self._room.acquire()
        self._check()

    def begin(self, settling: Coroutine[Any, Any, None]) -> None:
        """Begin one more; there is room."""
        work = asyncio.ensure_future(settling)
        self._work.add(work)
        work.add_done_callback(self._ended)

    async def emptied(self) -> None:
        """Until none is under way. Raises the first failure."""
        await asyncio.gather(*self._work, return_exceptions=True)
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _ended(self, work: "asyncio.Task[None]") -> None:
        self._work.discard(work)
        self._room.release()
        if not work.cancelled() and work.exception() is not None:
            self._failure = self._failure or work.exception()


async def _enough(tally: Tally, window: _Window, limit: int | None) -> bool:
    """Whether no more are to be begun. What is under way may yet fail: where it could fill the limit, it is waited for."""
    if limit is not None and tally.done + len(window) >= limit:
        await window.emptied()
    return tally.done == limit


async def _settle_one(letter: Letter, deed: Deed, settle: Settle, tally: Tally) -> None:
    tally.reasons[letter.reason] += 1
    try:
        await deed(letter)
    except Rejected as error:
        tally.failures.append((letter.id, str(error)))
        return
    settle()
    tally.done += 1
    tally.strange += letter.envelope is None


async def _wait_turn(began: float, before: int, rate: float | None, stop: asyncio.Event) -> None:
    """Wait until it is time for the next after so many, or until somebody stops it."""
    wait = began + before / rate - time.monotonic() if rate else 0.0
    if wait > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait)
