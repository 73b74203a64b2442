"""What keeps workers from delivering at present, as their metrics tell it. Pure."""

import math
from collections.abc import Iterator, Mapping

from forebay_cli.local.admin import Metrics

Held = Mapping[str, int | None]  # reason → seconds that are left; None: until somebody resumes it

_HALF_OPEN = 1  # of forebay_breaker_state


def held(metrics: Metrics) -> Held:
    """What holds, and for how long: of several workers, the longest."""
    return dict(_held(metrics))


def _held(metrics: Metrics) -> Iterator[tuple[str, int | None]]:
    left = metrics.largest("forebay_hold_seconds", "reason")
    for reason, seconds in sorted(left.items()):
        if seconds:
            yield reason, None if math.isinf(seconds) else math.ceil(seconds)
    if not left.get("breaker") and _HALF_OPEN in metrics.largest("forebay_breaker_state", "source").values():
        yield "breaker", 0


def said(now: Held) -> str:
    """The same in a few words."""
    return ", ".join(map(_said, now.items()))


def _said(one: tuple[str, int | None]) -> str:
    reason, seconds = one
    if seconds is None:
        return reason
    return f"{reason} for {seconds} s" if seconds else f"{reason} lets one through at a time"
