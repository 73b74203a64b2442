"""Which keys send much more than the others, over the last seconds. Bounded: it remembers a few thousand keys, whoever sends."""

from collections.abc import Callable

# A key sends too much if it has sent so many times what the others have on average …
FACTOR = 8
# … and so many at all: a key among few others is soon above their average.
LEAST = 32
# Seconds after which what was counted counts half.
HALF_LIFE_S = 5.0
# Keys that are told apart. When there are more, counts are halved, so that those that send least are forgotten.
KEYS = 4096


class Shares:
    """Counts by key, of which old ones fade. `clock` tells seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._total = 0
        self._fades_at = clock() + HALF_LIFE_S

    def excessive(self, key: str) -> bool:
        """Count a webhook of the key; whether the key sends too much."""
        counts = self._counts
        count = counts.get(key, 0) + 1
        if self._clock() >= self._fades_at:
            self._fades_at = self._clock() + HALF_LIFE_S
            self._fade()
        elif len(counts) >= KEYS and count == 1:
            self._fade()
        counts[key] = count
        self._total += 1
        # One that is alone is put aside too: whoever comes next is not to find the queue full.
        return count >= LEAST and count * max(1, len(counts) - 1) > FACTOR * (self._total - count)

    def _fade(self) -> None:
        self._counts = {key: half for key, count in self._counts.items() if (half := count // 2)}
        self._total = sum(self._counts.values())
