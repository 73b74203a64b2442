"""What waits although workers run and none of them holds, as their metrics tell it. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from forebay_cli.local.admin import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Numbers at a moment; a source that does not ask for such things has none."""

    limited: int = 0  # deliveries that wait for the rate limit or for maxInFlight
    keys: int = 0  # of an ordered source, while one of their webhooks is tried again
    keys_held: int = 0  # of those, until somebody does something
    put_aside: int = 0  # webhooks of keys that send much more than the others, since the endpoints' last start


def waits(metrics: Metrics) -> Waits:
    """What waits now."""
    return Waits(
        limited=int(metrics.total("forebay_permit_waiting")),
        keys=int(metrics.total("forebay_keys_waiting")),
        keys_held=int(metrics.total("forebay_keys_held")),
        put_aside=int(metrics.total("forebay_ingest_busy_total")),
    )


def in_short(now: Waits) -> dict[str, int]:
    """For one line."""
    return {"limited": now.limited, "keys waiting": now.keys, "keys held": now.keys_held, "put aside": now.put_aside}


def in_sentences(now: Waits) -> Iterator[tuple[str, str]]:
    """For a screen."""
    if now.limited:
        yield "limited", f"{now.limited:,} in the workers' hands wait for the rate limit or for maxInFlight"
    if now.keys:
        held = f", {now.keys_held:,} of them until the destination takes what was given up" if now.keys_held else ""
        yield "waiting", f"{now.keys:,} keys, each for the next attempt at one of its webhooks{held}"
    if now.put_aside:
        yield "put aside", f"{now.put_aside:,} webhooks of keys that send much more than the others"
