"""How a source stands at a moment: what has come in, what lies where, which processes run, and what to do next. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from forebay.topology import ORPHANS, Names, queue_of
from forebay_cli.holding import Held, held
from forebay_cli.local.admin import Metrics
from forebay_cli.local.watch import delayed
from forebay_cli.state import RunningProcess
from forebay_cli.target import Target
from forebay_cli.waits import Waits, waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One look at a source. What could not be asked is None; counters are since the processes' last starts."""

    source: str
    url: str | None = None
    broker: str
    received: int | None = None  # requests, refused ones too
    accepted: int | None = None
    duplicates: int | None = None  # answered 2xx and not delivered again
    buffered: int = 0  # in the outage buffer, until the broker is back
    confirm_p99_s: float | None = None  # upper bound: the broker's confirm took no longer for 99 %
    delivered: int | None = None
    in_flight: int | None = None
    failed_attempts: int | None = None
    waits: Waits = field(default_factory=Waits)
    refused: Mapping[str, int] = field(default_factory=dict)  # by cause
    queued: Mapping[str, int]  # by queue, short names
    retrying: int  # in the delay tiers, of all sources of the virtual host
    dead: int
    dead_reasons: Mapping[str, int] = field(default_factory=dict)
    orphans: int = 0
    suspend: str = "None"
    held: Held = field(default_factory=dict)
    processes: tuple[RunningProcess, ...] = ()

    @property
    def next(self) -> str:
        """What a person would do next."""
        unwell = [process.name for process in self.processes if process.state != "ready"]
        if unwell:
            return f"forebay dev --logs shows what {unwell[0]} says"
        if self.dead:
            return "forebay dlq list"
        if self.refused.get("signature"):
            return "compare the signing secret with the provider's: some signatures did not verify"
        if self.suspend != "None":
            return "forebay resume"
        if self.received == 0:
            return "forebay send"
        return "forebay status --watch"


def standing(place: Target, metrics: Metrics, depths: Mapping[str, int]) -> Standing:
    """The standing of a source by its processes' metrics and its broker's queues."""
    queued = Counter[str]()
    for name, depth in waiting(place.names, depths):
        queued[queue_of(name)] += depth
    return Standing(
        source=place.source,
        broker=place.broker.shown,
        queued=dict(sorted(queued.items())),
        retrying=delayed(depths),
        dead=depths.get(place.names.dead, 0),
        orphans=depths.get(ORPHANS, 0),
        **_counted(place, metrics),  # type: ignore[arg-type]  # the fields by their names
    )


def waiting(names: Names, depths: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """The depths of a source's queues and lanes, by their short names."""
    prefix = f"{names.exchange}."
    for name, depth in depths.items():
        other = name in (names.dead, names.seen) or name.startswith(names.permits_prefix)
        if name.startswith(prefix) and not other:
            yield name.removeprefix(prefix), depth


def _counted(place: Target, metrics: Metrics) -> dict[str, object]:
    if place.running is None:
        return {}
    accepted, refused = (metrics.total(f"forebay_ingest_{what}_total") for what in ("accepted", "refused"))
    duplicates = metrics.total("forebay_duplicates_total")
    delivered = metrics.total("forebay_delivery_attempts_total", outcome="delivered")
    return {
        "url": place.running.urls[0] if place.running.urls else None,
        "received": int(accepted + duplicates + refused),
        "accepted": int(accepted),
        "duplicates": int(duplicates),
        "buffered": int(metrics.total("forebay_outage_buffer_webhooks")),
        "confirm_p99_s": metrics.quantile("forebay_ingest_confirm_seconds", 0.99),
        "delivered": int(delivered),
        "in_flight": int(metrics.total("forebay_in_flight")),
        "failed_attempts": int(metrics.total("forebay_delivery_attempts_total") - delivered),
        "waits": waits(metrics),
        "refused": _positive(metrics.by("forebay_ingest_refused_total", "cause")),
        "dead_reasons": _positive(metrics.by("forebay_dead_letters_total", "reason")),
        "processes": place.running.processes,
        "suspend": place.running.suspend,
        "held": held(metrics),
    }


def _positive(counts: Mapping[str, float]) -> dict[str, int]:
    return {name: int(count) for name, count in sorted(counts.items()) if count}
