"""What waits, from several groups in turn: a group of which much waits does not make the others wait. No clock, no I/O."""

from collections import deque
from collections.abc import Hashable, Iterator
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """A queue that takes from each of its groups in turn; within a group in order."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, deque[T]] = {}  # those in which something waits; the first one is next

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def __iter__(self) -> Iterator[T]:
        """All that waits, in no order to rely on."""
        return chain.from_iterable(self._groups.values())

    def append(self, item: T, group: Hashable = None) -> None:
        self._groups.setdefault(group, deque()).append(item)

    def popleft(self) -> T:
        group = next(iter(self._groups))
        waiting = self._groups.pop(group)
        item = waiting.popleft()
        if waiting:
            self._groups[group] = waiting
        return item

    def discard(self, item: T) -> None:
        """It waits no longer, if it did."""
        for group, waiting in self._groups.items():
            if item in waiting:
                waiting.remove(item)
                if not waiting:
                    del self._groups[group]
                return
