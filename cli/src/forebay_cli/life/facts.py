"""What could be learned about one webhook, before anything is concluded from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite

from forebay_cli.dead.letter import Letter
from forebay_cli.life.said import Hold, Said
from forebay_cli.local.admin import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One queue of the source now. What nobody could say is None."""

    waiting: int | None
    in_flight: int | None = None
    oldest_at: int | None = None  # ms since 1970: when the oldest was received that is on its first attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that was seen. What nobody could say is None."""

    wanted: str  # the id that a person gave: ours or the provider's
    source: str  # "namespace/name"
    now: int  # ms since 1970
    letter: Letter | None
    letters_seen: bool  # whether the dead letters could be looked through
    said: tuple[Said, ...]
    holds: tuple[Hold, ...] = ()  # of all workers of the source
    queues: Mapping[str, Queue] = field(default_factory=dict)  # by short name
    in_order: bool = True  # whether each queue is first in, first out: it has no lanes
    by_key: bool = False  # whether webhooks of one key wait for each other
    delayed: int | None = None  # in the delay tiers, of all sources
    orphans: int | None = None
    unseen: tuple[str, ...] = ()  # what could not be looked at, and why
    program: str = "forebay"
    words: tuple[str, ...] = ()  # that name the source in a command that is to be run next …
    flags: tuple[str, ...] = ()  # … and its place


def queues(metrics: Metrics, depths: Mapping[str, int] | None, now: int) -> dict[str, Queue]:
    """The queues by what their workers count, and by their depths where the broker could be asked."""
    flights = metrics.by("forebay_in_flight", "queue")
    ages, waiting = (
        metrics.largest(name, "queue") for name in ("forebay_oldest_age_seconds", "forebay_queue_messages")
    )
    known = depths if depths is not None else {name: int(count) for name, count in waiting.items() if isfinite(count)}
    return {
        name: Queue(
            waiting=known.get(name),
            in_flight=int(flights[name]) if name in flights else None,
            oldest_at=now - round(ages[name] * 1000) if ages.get(name) else None,
        )
        for name in _names(flights, known)
    }


def _names(*named: Iterable[str]) -> list[str]:
    return sorted({name for names in named for name in names})
