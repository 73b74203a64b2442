"""What a Python handler is given and what it may raise. The public face: small, typed, and kept stable.

from forebay_worker import Webhook, Retry, Drop, DeadLetter

async def handle(webhook: Webhook) -> None:
    order = webhook.json()
    ...
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from forebay.envelope import Envelope


class Headers(Mapping[str, str]):
    """The original HTTP headers. Names are looked up in any case; of several with one name the first is found."""

    __slots__ = ("_first", "_items")

    def __init__(self, items: list[tuple[str, str]]) -> None:
        self._items = tuple(items)
        self._first: dict[str, tuple[str, str]] = {}
        for name, value in items:
            self._first.setdefault(name.lower(), (name, value))

    def __getitem__(self, name: str) -> str:
        return self._first[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._first.values())

    def __len__(self) -> int:
        return len(self._first)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._first

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"

    def get_all(self, name: str) -> list[str]:
        """Every value of a name, in the order in which they came."""
        return [value for known, value in self._items if known.lower() == name.lower()]

    def multi_items(self) -> list[tuple[str, str]]:
        """Every header, duplicates too, in the order in which they came."""
        return list(self._items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One webhook, as the provider sent it."""

    id: str  # the same for every attempt and replay: what to drop duplicates by
    body: bytes  # exactly the bytes that were signed
    headers: Headers
    attempt: int = 1  # 1 for the first
    event_type: str | None = None  # as the provider names it ("push"); None if the source does not say
    delivery_id: str | None = None  # the provider's own id of the delivery
    content_type: str | None = None
    method: str = "POST"
    target: str = "/"  # path and query exactly as requested
    source: str = ""  # "namespace/name"
    queue: str = "default"
    received_at: datetime = field(default=datetime.fromtimestamp(0, UTC))
    replayed_from: str | None = None  # what it died of, if somebody replayed it from the dead letters
    traceparent: str | None = None  # W3C trace context

    def json(self) -> Any:
        """The body as JSON. Raises ValueError if it is none."""
        return json.loads(self.body)

    def text(self) -> str:
        """The body as UTF-8. Raises UnicodeDecodeError if it is none."""
        return self.body.decode("utf-8")

    @classmethod
    def of(cls, envelope: Envelope) -> "Webhook":
        """The webhook in an envelope."""
        return cls(
            id=envelope.id,
            body=envelope.body,
            headers=Headers(envelope.headers),
            attempt=envelope.attempt,
            event_type=envelope.event_type,
            delivery_id=envelope.delivery_id,
            content_type=envelope.content_type,
            method=envelope.method,
            target=envelope.target,
            source=envelope.source,
            queue=envelope.queue,
            received_at=_moment(envelope.received_at),
            replayed_from=envelope.replayed_from,
            traceparent=envelope.traceparent,
        )


class Retry(Exception):
    """Raise it to have the webhook again: after so many seconds (or a timedelta), or as the source's policy says.

    It counts as an attempt, and the policy's bounds on attempts and age still hold.
    """

    def __init__(self, reason: str = "", *, after: float | timedelta | None = None) -> None:
        seconds = after.total_seconds() if isinstance(after, timedelta) else after
        if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"Retry(after={after!r}): it takes seconds from 0 on, or a timedelta")
        super().__init__(reason or "the handler asked for a retry")
        self.after = seconds


class Drop(Exception):
    """Raise it for a webhook nobody wants: it is acknowledged and leaves only a log line."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the handler dropped it")


class DeadLetter(Exception):
    """Raise it for a webhook that no retry can save: it goes to the dead letters at once."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the handler gave it up")


def _moment(ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)
