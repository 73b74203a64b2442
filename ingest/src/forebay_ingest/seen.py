"""What was taken in of late: a set of digests in a quarter of the memory of Python's own. Reads no clock.

They lie side by side in the order in which they came, in some ten thousand byte arrays, instead of each being an object in a table that is
half empty: a million digests of 16 bytes take a quarter of the memory of a set (bench/duplicates.py).
"""

from array import array
from collections import deque
from itertools import islice
from typing import NamedTuple

DIGEST_BYTES = 16

# Digests in one array at most, about: to look through so many takes 0.3 µs, through four times as many ten times as long.
_IN_A_SHARD = 80
_LEAST_SHARDS = 1 << 10
# What came within so many parts of the window is forgotten together, up to a part later than it has to be.
_PARTS = 8


class _Mark(NamedTuple):
    """A border between two parts."""

    moment: float  # everything before it was seen by then
    ends: "array[int]"  # how far each shard had come, counted from the very first byte


class Seen:
    """Digests, each of which is forgotten `window_s` seconds after its moment, or up to an eighth of that later.

    Moments are seconds since 1970, and come in their order but for what little clocks differ. Beyond `max_ids` the oldest are
    forgotten early; `cut_short` counts them.
    """

    def __init__(self, window_s: float, max_ids: int) -> None:
        self.count = 0  # without what was noted since `settle`
        self.cut_short = 0
        self._window_s = window_s
        self._max_ids = max_ids
        shards = max(_LEAST_SHARDS, 1 << (max_ids // _IN_A_SHARD).bit_length())
        self._mask = shards - 1
        self._shards = [bytearray() for _ in range(shards)]
        self._dropped = array("Q", bytes(8 * shards))  # bytes of each shard that are gone
        self._marks: deque[_Mark] = deque()
        self._part_ends = 0.0
        self._part_full = 0  # the count at which the part ends, whatever the time
        self._noted = set[bytes]()
        # Remember a digest that is not there yet; when it came is said for many together, by `settle`.
        self.note = self._noted.add  # without a call in between: each webhook does it

    def __contains__(self, digest: bytes) -> bool:
        # Python's hash has a key of the process: nobody can choose ids that all come into one shard. That a digest is
        # found across the border of two others is as likely as that two are the same.
        return digest in self._noted or digest in self._shards[hash(digest) & self._mask]

    def add(self, digest: bytes, at: float) -> None:
        """Remember a digest that is not there yet."""
        if at >= self._part_ends or self.count >= self._part_full:
            self._begin_part(at)
        self._shards[hash(digest) & self._mask] += digest
        self.count += 1

    def settle(self, at: float) -> bytes:
        """This is when what was noted came. Returns it, joined."""
        joined, left, noted = b"".join(self._noted), len(self._noted), iter(self._noted)
        shards, mask = self._shards, self._mask
        while left:
            if at >= self._part_ends or self.count >= self._part_full:
                self._begin_part(at)
            fitting = min(left, self._part_full - self.count)
            for digest in islice(noted, fitting):
                shards[hash(digest) & mask] += digest
            self.count += fitting
            left -= fitting
        self._noted.clear()
        return joined

    def add_all(self, digests: bytes, at: float) -> None:
        """Remember those of the joined digests that are new here."""
        for start in range(0, len(digests), DIGEST_BYTES):
            digest = digests[start : start + DIGEST_BYTES]
            if digest not in self:
                self.add(digest, at)

    def forget(self, now: float) -> None:
        """Drop what is older than the window. To be called often: nothing else ends a part in which little comes."""
        if self.count and now >= self._part_ends:
            self._begin_part(now)
        while self._marks and self._marks[0].moment <= now - self._window_s:
            self._drop_part()

    def _begin_part(self, at: float) -> None:
        if self.count:
            ends = map(int.__add__, self._dropped, map(len, self._shards))
            self._marks.append(_Mark(at, array("Q", ends)))
        while self.count >= self._max_ids:
            self.cut_short += self._drop_part()
        self._part_ends = at + self._window_s / _PARTS
        self._part_full = min(self.count + max(1, self._max_ids // _PARTS), self._max_ids)

    def _drop_part(self) -> int:
        """Forget everything before the first mark; how much that was."""
        mark, before = self._marks.popleft(), self.count
        for place, (shard, end, gone) in enumerate(zip(self._shards, mark.ends, self._dropped, strict=True)):
            if end > gone:
                del shard[: end - gone]
                self._dropped[place] = end
                self.count -= (end - gone) // DIGEST_BYTES
        return before - self.count
