"""Whether webhooks of one key came out in their order. Pure.

Of two of a key the first is the one that was acknowledged before the other was sent; of two that were on their way at the same
time neither is. The destination must be done with the first, by taking it or refusing it for good, before it meets the second.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from bench.faults.ledger import Answer, Entry


class Pair(NamedTuple):
    """A webhook, and the last of those before it that the destination was done with."""

    first: Entry
    second: Entry

    @property
    def overtaken(self) -> bool:
        return self.second.came < self.first.ended


def pairs(entries: Iterable[Entry], key: Callable[[int], str]) -> Iterator[Pair]:
    """For each webhook that came to the destination, the one before it that it must not have overtaken, if there is any."""
    of_key: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        of_key[key(entry.number)].append(entry)
    for some in of_key.values():
        yield from _pairs(some)


def _pairs(entries: list[Entry]) -> Iterator[Pair]:
    # One that the destination was never done with is lost, which is another matter, or the broker has dead-lettered it.
    ended = [one for one in entries if one.answer is Answer.ACKED and one.ended < math.inf]
    acknowledged = iter(sorted(ended, key=lambda one: one.answered))
    upcoming = next(acknowledged, None)
    last: Entry | None = None
    for second in sorted(entries, key=lambda one: one.first_sent):
        while upcoming is not None and upcoming.answered <= second.first_sent:
            last = upcoming if last is None or upcoming.ended > last.ended else last
            upcoming = next(acknowledged, None)
        if last is not None and second.came < math.inf:
            yield Pair(last, second)
