"""Which parts of a source rest, and what it means to let more or fewer of them rest. Pure."""

from collections.abc import Iterable
from typing import Literal

from forebay.suspend import Suspend

Part = Literal["Ingest", "Workers"]

_PARTS: dict[Suspend, frozenset[Part]] = {
    "None": frozenset(),
    "Ingest": frozenset({"Ingest"}),
    "Workers": frozenset({"Workers"}),
    "All": frozenset({"Ingest", "Workers"}),
}
MEANING: dict[Suspend, str] = {
    "None": "webhooks are taken in and delivered",
    "Ingest": "the endpoint answers 503 to everything, so that the provider tries again later; what is queued is delivered",
    "Workers": "webhooks are taken in and wait in their queues; nothing is delivered",
    "All": "the endpoint answers 503 to everything, and nothing is delivered; what is queued waits",
}


def suspend(before: Suspend, parts: Iterable[Part], *, rest: bool) -> Suspend:
    """The value of spec.suspend after these parts were let rest, or woken."""
    now = _PARTS[before] | set(parts) if rest else _PARTS[before] - set(parts)
    return next(value for value, resting in _PARTS.items() if resting == now)
