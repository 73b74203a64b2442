"""Brings dead letters back, or throws them away. Publish first, settle last: a crash repeats a webhook, it never loses one.

One after the other: whoever stops it stops between two.
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
from forebay.errors import Rejected, Unavailable
from forebay.topology import Names
from forebay_cli.dead.choice import Choice
from forebay_cli.dead.letter import Letter, stamped
from forebay_cli.dead.reader import PATIENCE_S, Reader, Settle, connected


@dataclass(slots=True)
class Tally:
    """What became of the letters."""

    looked_at: int = 0
    total: int = 0
    done: int = 0
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
        message = stamped(letter.revived(), int(time.time()))
        try:
            await self._publisher.publish(self._names.exchange, self._names.queue(letter.queue), message)
        except Rejected as error:
            raise Rejected(f"its queue {letter.queue!r} is gone; add it to the source again, or discard it") from error


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
    tally, began = Tally(total=reader.total), time.monotonic()
    try:
        async for letter, settle in reader.letters():
            tally.looked_at = reader.seen
            if choice.means(letter):
                await _wait_turn(began, tally.meant, rate, stop)
                if stop.is_set():
                    break
                await _settle_one(letter, deed, settle, tally)
            progress(tally)
            if stop.is_set() or tally.done == limit:
                break
        await reader.settled()
    except Unavailable as error:
        what = str(error).partition(";")[0]
        raise Unavailable(f"{tally.done} done, then {what}; run it again for the rest") from error
    tally.stopped = stop.is_set()
    return tally


async def _settle_one(letter: Letter, deed: Deed, settle: Settle, tally: Tally) -> None:
    tally.reasons[letter.reason] += 1
    try:
        await deed(letter)
    except Rejected as error:
        tally.failures.append((letter.id, str(error)))
        return
    settle()
    tally.done += 1


async def _wait_turn(began: float, before: int, rate: float | None, stop: asyncio.Event) -> None:
    """Wait until it is time for the next after so many, or until somebody stops it."""
    wait = began + before / rate - time.monotonic() if rate else 0.0
    if wait > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait)
