"""A dead letter as a person wants to see it, whoever made it: a worker, the broker, or nobody who could read it. Pure.

A worker says in the message why it gave up. The broker says so in `x-death` (https://www.rabbitmq.com/docs/dlx#effects):
`delivery_limit` for a message that no worker settled. What is no envelope at all is shown and replayed as it is.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from forebay.envelope import (
    AmqpMessage,
    Claim,
    DeadLetter,
    Envelope,
    UndecodableError,
    as_sent,
    decode,
    encode,
    obituary,
)
from forebay.topology import DELAY_EXCHANGE, Names

LAST = 253_402_300_799_999  # ms since 1970: the end of the year 9999

UNDECODABLE = "undecodable"
_OBITUARY = obituary("", "", 0).keys()


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message of a dead-letter queue."""

    id: str  # the webhook's; "raw-…", from its bytes, for a message without one
    queue: str | None  # short name of the queue it died in, None if nothing says so
    reason: str  # a bounded word
    detail: str
    died_at: int | None  # ms since 1970
    envelope: Envelope | None  # None: it is no envelope
    raw: AmqpMessage = field(repr=False)  # as it was sent, without what died wrote onto it

    @property
    def event_type(self) -> str | None:
        return self.envelope.event_type if self.envelope else None

    @property
    def body(self) -> bytes:
        """What the message holds of it: nothing, if there is a claim."""
        return self.raw.body

    @property
    def claim(self) -> Claim | None:
        """Where the body is, if it is in object storage."""
        return self.envelope.claim if self.envelope else None

    @property
    def size(self) -> int:
        """Bytes of the body, wherever it is."""
        return self.envelope.size if self.envelope else len(self.raw.body)

    def revived(self) -> AmqpMessage:
        """The message to send again: a fresh attempt budget, and where it comes from."""
        return encode(self.envelope.revived()) if self.envelope else self.raw


def read(
    message_id: str | None, content_type: str | None, headers: Mapping[str, Any], body: bytes, names: Names
) -> Letter:
    """The dead letter in a message of the source's dead-letter queue."""
    try:
        envelope = decode(message_id, content_type, headers, body)
    except UndecodableError as error:
        return _unreadable(_raw(message_id, content_type, headers, body), headers, str(error), names)
    obituary = envelope.dead or _obituary_of_broker(headers)
    died_at = credible(obituary.at)
    return Letter(
        id=envelope.id,
        queue=envelope.queue,
        reason=obituary.reason,
        detail=obituary.detail,
        died_at=died_at,
        envelope=replace(envelope, dead=replace(obituary, at=died_at or 0)),
        raw=_raw(message_id, content_type, headers, body),
    )


def _obituary_of_broker(headers: Mapping[str, Any]) -> DeadLetter:
    death = _death(headers)
    reason = str(death.get("reason", "unknown")).replace("_", "-")
    detail = _DETAILS.get(reason, "the broker gave no reason")
    return DeadLetter(reason=reason, detail=detail, at=_millis(death.get("time")) or 0)


_DETAILS = {
    "delivery-limit": "the broker handed it out again and again, and no worker lived to settle it",
    "expired": "it waited in its queue for longer than the queue's time to live",
    "maxlen": "its queue was full",
    "rejected": "a worker rejected it",
}


def _unreadable(raw: AmqpMessage, headers: Mapping[str, Any], fault: str, names: Names) -> Letter:
    """A message that is no envelope: what can be said of it all the same."""
    death = _death(headers)
    queue = headers.get("forebay-queue") or str(death.get("queue", "")).removeprefix(f"{names.exchange}.")
    at = headers.get("forebay-dead-at")
    return Letter(
        id=raw.message_id or f"raw-{hashlib.sha256(raw.body).hexdigest()[:12]}",
        queue=queue if isinstance(queue, str) and queue else None,
        reason=str(headers.get("forebay-reason", UNDECODABLE)),
        detail=str(headers.get("forebay-detail", fault)),
        died_at=credible(at) if isinstance(at, int) else _millis(death.get("time")),
        envelope=None,
        raw=raw,
    )


def _raw(message_id: str | None, content_type: str | None, headers: Mapping[str, Any], body: bytes) -> AmqpMessage:
    kept = {name: value for name, value in as_sent(headers).items() if name not in _OBITUARY}
    return AmqpMessage(
        message_id=str(message_id or ""), timestamp=0, content_type=content_type, headers=kept, body=body
    )


def credible(millis: int) -> int | None:
    """A time that a message tells, None for one that somebody made up."""
    return millis if 0 < millis <= LAST else None


def stamped(message: AmqpMessage, seconds: int) -> AmqpMessage:
    """The message with a time; a raw one has lost its own."""
    return message if message.timestamp else replace(message, timestamp=seconds)


def _death(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the broker says of the death itself; a stay in a delay tier is none."""
    return next(_deaths(headers), {})


def _deaths(headers: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    listed = headers.get("x-death")
    for death in listed if isinstance(listed, list) else ():
        if isinstance(death, Mapping) and not str(death.get("queue", "")).startswith(f"{DELAY_EXCHANGE}."):
            yield death


def _millis(time: Any) -> int | None:
    """Pika's times are naive ones in UTC."""
    if not isinstance(time, datetime):
        return None
    return int(time.replace(tzinfo=time.tzinfo or UTC).timestamp() * 1000)
