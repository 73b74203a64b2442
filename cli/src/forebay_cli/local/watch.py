"""What a running source does at a moment, in a few numbers, and how to say them in a line. Sums over its processes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from forebay.topology import DELAY_EXCHANGE, Names, queue_of
from forebay_cli.holding import Held, held, said
from forebay_cli.local.admin import Metrics
from forebay_cli.waits import Waits, in_short, waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Counters since the processes' last starts, and what lies in the queues; None if nobody could be asked."""

    at: float  # seconds, of a monotonic clock
    accepted: float
    refused: float
    delivered: float
    in_flight: float  # deliveries under way
    queued: int | None
    retrying: int | None  # in the delay tiers, of all sources of the virtual host
    dead: int | None
    duplicates: float = 0.0  # answered 2xx and not delivered again
    buffered: float = 0.0  # in the outage buffer now
    queues: Mapping[str, int] = field(
        default_factory=dict
    )  # what is queued, by short name, if there are several queues
    waits: Waits = field(default_factory=Waits)
    held: Held = field(default_factory=dict)


def flow(names: Names, queues: Iterable[str], metrics: Metrics, depths: Mapping[str, int] | None, at: float) -> Flow:
    """The flow of the source whose queues have these short names."""
    queued = None if depths is None else {queue: waiting([names.queue(queue)], depths) for queue in sorted(queues)}
    return Flow(
        at=at,
        accepted=metrics.total("forebay_ingest_accepted_total"),
        refused=metrics.total("forebay_ingest_refused_total"),
        delivered=metrics.total("forebay_delivery_attempts_total", outcome="delivered"),
        in_flight=metrics.total("forebay_in_flight"),
        queued=None if queued is None else sum(queued.values()),
        queues=queued if queued is not None and len(queued) > 1 else {},
        retrying=None if depths is None else delayed(depths),
        dead=None if depths is None else depths.get(names.dead, 0),
        duplicates=metrics.total("forebay_duplicates_total"),
        buffered=metrics.total("forebay_outage_buffer_webhooks"),
        waits=waits(metrics),
        held=held(metrics),
    )


def waiting(queues: Iterable[str], depths: Mapping[str, int]) -> int:
    """How many messages wait in these queues (full names) and their lanes."""
    wanted = frozenset(queues)
    return sum(depth for name, depth in depths.items() if queue_of(name) in wanted)


def delayed(depths: Mapping[str, int]) -> int:
    """How many messages wait in the delay tiers."""
    return sum(depth for queue, depth in depths.items() if queue.startswith(f"{DELAY_EXCHANGE}."))


def line(now: Flow, before: Flow | None) -> str:
    """The flow in one line; rates since `before`."""
    rates = [
        f"accepted {_rate(now, before, 'accepted')}/s",
        f"delivered {_rate(now, before, 'delivered')}/s",
    ]
    each = ", ".join(f"{queue} {depth:,}" for queue, depth in now.queues.items() if depth)
    queued = f"queued {_shown(now.queued)}{each and f' ({each})'}"
    levels = {"in flight": now.in_flight, "retrying": now.retrying, "dead": now.dead}
    seldom = {
        "refused": now.refused,
        "duplicates": now.duplicates,
        "in the outage buffer": now.buffered,
        **in_short(now.waits),
    }
    rest = [f"{name} {value:,.0f}" for name, value in seldom.items() if value]
    holds = [f"holds: {said(now.held)}"] if now.held else []
    return "  ".join([*rates, queued, *(f"{name} {_shown(value)}" for name, value in levels.items()), *rest, *holds])


def _rate(now: Flow, before: Flow | None, counter: str) -> str:
    if before is None or now.at <= before.at:
        return "0"
    # A process that started again counts from zero: no rate is below it.
    rate = max(0.0, getattr(now, counter) - getattr(before, counter)) / (now.at - before.at)
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"


def _shown(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"
