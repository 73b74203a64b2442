"""One webhook in flight: a frozen value, and its form as an AMQP message. Reads nothing, changes nothing.

The AMQP body is the raw request body, or nothing where that was too large: then headers say where it is. Standard properties hold what RabbitMQ has a place for (message_id, timestamp,
content_type, app_id); headers named `forebay-…` hold the rest, so that a person can read a message in RabbitMQ's own UI.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self, TypeVar

VERSION = 1
# Of a message whose body is elsewhere. A Forebay that does not know it buries it, and never delivers an empty body for it.
CLAIMED_VERSION = 2
APP_ID = "forebay"

# How many attempts a message remembers in full; older ones are only counted. Bounds the header's size.
ATTEMPTS_KEPT = 20
# Characters of an error text, and of the answer behind it, that travel with the message.
ERROR_LENGTH, ANSWER_LENGTH = 300, 2048
# Bytes of all attempts together beyond which the oldest answers are left out; error texts alone may be more.
ATTEMPTS_BYTES = 16 * 1024
# Bytes at most by which retries, dead-lettering and replays make a message's headers grow. All headers must fit into one
# frame of AMQP, so whoever takes a webhook in leaves so much room: what was accepted can always be retried and buried.
GROWTH = 40 * 1024
# Headers of a reference to a body that is elsewhere.
CLAIM_KEY, CLAIM_BYTES, CLAIM_SHA256 = "forebay-claim-key", "forebay-claim-bytes", "forebay-claim-sha256"
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
QUEUE_HEADER = "forebay-queue"
KEY_HEADER = "forebay-key"
DELIVERY_ID_HEADER = "forebay-delivery-id"
# What begins the names of headers that a broker added on the way. What they say is told by our own headers, and x-death
# makes no sense on a new message.
_OF_THE_BROKER = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
# No time in ms and no count is larger; bounds what a stranger's message can make us compute with.
_LARGEST = 2**53


class UndecodableError(Exception):
    """A message that is not an envelope this version can read; the text says why. It belongs into the dead letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One delivery attempt that did not succeed."""

    at: int  # ms since 1970 when it began
    ms: int  # how long it took
    error: str  # what went wrong, for a person; at most ERROR_LENGTH characters
    status: int | None = None  # the destination's HTTP status, None if there was no answer
    answer: str = ""  # the beginning of the answer's body; at most ANSWER_LENGTH characters, "" where none is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Why and when a webhook was given up."""

    reason: str  # a stable, bounded word: exhausted, expired, permanent-status, gone, aborted, handler …
    detail: str  # the sentence for a person
    at: int  # ms since 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Where a body is that was too large for the queue, and what it must be."""

    key: str  # of the object in the source's storage
    size: int  # bytes
    sha256: str  # in lower-case hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A webhook with everything known about it."""

    id: str  # ours (UUIDv7), stable over retries and replays: what a destination drops duplicates by
    source: str  # "namespace/name"
    queue: str  # short name of its queue in the source ("default")
    method: str
    target: str  # path and query exactly as requested
    received_at: int  # ms since 1970
    client: str  # address of the peer that sent it
    header_block: bytes  # the original headers, "Name: value\r\n" each, order and duplicates kept
    body: bytes  # exactly the bytes that were signed; nobody parses or re-encodes them. Empty with a claim
    content_type: str | None = None
    delivery_id: str | None = None  # the provider's own id of the delivery
    event_type: str | None = None
    key: str | None = None  # webhooks of one key wait for each other, where the source orders them
    traceparent: str | None = None  # W3C trace context
    attempts_made: int = 0  # all of them, also those no longer remembered
    attempts: tuple[Attempt, ...] = ()  # the last ATTEMPTS_KEPT, oldest first
    first_failed_at: int | None = None  # ms since 1970
    dead: DeadLetter | None = None
    replayed_from: str | None = None  # "REASON at RFC3339 after N attempts" of the dead letter it once was
    claim: Claim | None = None  # where the body is, if it is not here

    @property
    def size(self) -> int:
        """Bytes of the webhook's body, wherever it is."""
        return len(self.body) if self.claim is None else self.claim.size

    @property
    def attempt(self) -> int:
        """The number of the next attempt; the first is 1."""
        return self.attempts_made + 1

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The original headers in order, duplicates kept; bytes that are no ASCII are read as Latin-1."""
        lines = self.header_block.decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines)
        return [(name, value.strip(" \t")) for name, colon, value in fields if colon]

    def failed(self, attempt: Attempt) -> Self:
        """This webhook after one more attempt that failed."""
        return replace(
            self,
            attempts_made=self.attempts_made + 1,
            attempts=_fitting((*self.attempts, attempt)[-ATTEMPTS_KEPT:]),
            first_failed_at=attempt.at if self.first_failed_at is None else self.first_failed_at,
        )

    def buried(self, reason: str, detail: str, at: int) -> Self:
        """This webhook as a dead letter."""
        return replace(self, dead=DeadLetter(reason=reason, detail=detail[:ERROR_LENGTH], at=at))

    def revived(self) -> Self:
        """This dead letter as it came in, with a fresh attempt budget, marked with where it comes from."""
        return replace(
            self, dead=None, attempts_made=0, attempts=(), first_failed_at=None, replayed_from=self._epitaph()
        )

    def _epitaph(self) -> str:
        if self.dead is None:
            return "a queue"
        died = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.dead.at / 1000))
        return f"{self.dead.reason} at {died} after {self.attempts_made} attempts"


@dataclass(frozen=True, slots=True, kw_only=True)
class AmqpMessage:
    """An envelope as the broker carries it."""

    message_id: str
    timestamp: int  # seconds since 1970
    content_type: str | None
    headers: dict[str, Any]
    body: bytes
    app_id: str = APP_ID


def encode(envelope: Envelope) -> AmqpMessage:
    """The message of an envelope. `x-death` and whatever else the broker once added is not carried on."""
    dead = envelope.dead
    optional = {
        DELIVERY_ID_HEADER: envelope.delivery_id,
        "forebay-event-type": envelope.event_type,
        KEY_HEADER: envelope.key,
        "traceparent": envelope.traceparent,
        "forebay-attempts-made": envelope.attempts_made or None,
        "forebay-attempts": _dump_attempts(envelope.attempts) or None,
        "forebay-first-failed-at": envelope.first_failed_at,
        "forebay-replayed-from": envelope.replayed_from,
        **(obituary(dead.reason, dead.detail, dead.at) if dead else {}),
        **(_reference(envelope.claim) if envelope.claim else {}),
    }
    return AmqpMessage(
        message_id=envelope.id,
        timestamp=envelope.received_at // 1000,
        content_type=envelope.content_type,
        headers={
            "forebay-envelope": VERSION if envelope.claim is None else CLAIMED_VERSION,
            "forebay-source": envelope.source,
            QUEUE_HEADER: envelope.queue,
            "forebay-method": envelope.method,
            "forebay-target": envelope.target,
            "forebay-received-at": envelope.received_at,
            "forebay-client": envelope.client,
            # Text, because RabbitMQ's UI shows text; Latin-1 there and back loses no byte.
            "forebay-headers": envelope.header_block.decode("latin-1"),
            **{name: value for name, value in optional.items() if value is not None},
        },
        body=envelope.body,
    )


def obituary(reason: str, detail: str, at: int) -> dict[str, Any]:
    """The headers that say why and when (ms since 1970) a message was given up."""
    return {"forebay-reason": reason, "forebay-detail": detail[:ERROR_LENGTH], "forebay-dead-at": at}


def claim_key(source: str, event_id: str) -> str:
    """Where the body of a webhook of this source ("namespace/name") is. The first part is for a bucket's lifecycle rule."""
    return f"forebay/{source}/{event_id}"


def _reference(claim: Claim) -> dict[str, Any]:
    return {CLAIM_KEY: claim.key, CLAIM_BYTES: claim.size, CLAIM_SHA256: claim.sha256}


def as_sent(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers of any message without those that a broker added."""
    return {name: value for name, value in headers.items() if not name.startswith(_OF_THE_BROKER)}


def decode(
    message_id: str | None, content_type: str | None, headers: Mapping[str, Any] | None, body: bytes
) -> Envelope:
    """The envelope of a message. Raises UndecodableError with the reason; never anything else."""
    fields = _Fields(headers or {})
    version = fields.required("forebay-envelope", int)
    if version not in (VERSION, CLAIMED_VERSION):
        raise UndecodableError(
            f"envelope version {version} is not known here (only {VERSION} and {CLAIMED_VERSION}); a newer Forebay wrote it"
        )
    if not isinstance(message_id, str) or not message_id:
        raise UndecodableError("the message has no message_id")
    return Envelope(
        id=message_id,
        source=fields.required("forebay-source", str),
        queue=fields.required(QUEUE_HEADER, str),
        method=fields.required("forebay-method", str),
        target=fields.required("forebay-target", str),
        received_at=fields.required("forebay-received-at", int),
        client=fields.required("forebay-client", str),
        header_block=_latin1(fields.required("forebay-headers", str)),
        body=body,
        content_type=content_type if isinstance(content_type, str) else None,
        delivery_id=fields.optional(DELIVERY_ID_HEADER, str),
        event_type=fields.optional("forebay-event-type", str),
        key=fields.optional(KEY_HEADER, str),
        traceparent=fields.optional("traceparent", str),
        attempts_made=fields.optional("forebay-attempts-made", int) or 0,
        attempts=_load_attempts(fields.optional("forebay-attempts", str)),
        first_failed_at=fields.optional("forebay-first-failed-at", int),
        dead=_dead_letter(fields),
        replayed_from=fields.optional("forebay-replayed-from", str),
        claim=None if version == VERSION else _claim(fields),
    )


_T = TypeVar("_T", int, str)


class _Fields:
    """Headers of a stranger's making, read with a check of each type."""

    def __init__(self, headers: Mapping[str, Any]) -> None:
        self._headers = headers

    def optional(self, name: str, kind: type[_T]) -> _T | None:
        value = self._headers.get(name)
        if value is None:
            return None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UndecodableError(f"header {name} is {type(value).__name__}, not {kind.__name__}")
        if isinstance(value, int) and not 0 <= value <= _LARGEST:
            raise UndecodableError(f"header {name} is out of range")
        return value

    def required(self, name: str, kind: type[_T]) -> _T:
        value = self.optional(name, kind)
        if value is None:
            raise UndecodableError(f"header {name} is missing")
        return value


def _latin1(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise UndecodableError("header forebay-headers holds characters outside Latin-1") from error


def _dead_letter(fields: _Fields) -> DeadLetter | None:
    reason = fields.optional("forebay-reason", str)
    if reason is None:
        return None
    return DeadLetter(
        reason=reason,
        detail=fields.optional("forebay-detail", str) or "",
        at=fields.optional("forebay-dead-at", int) or 0,
    )


def _claim(fields: _Fields) -> Claim:
    claim = Claim(
        key=fields.required(CLAIM_KEY, str),
        size=fields.required(CLAIM_BYTES, int),
        sha256=fields.required(CLAIM_SHA256, str),
    )
    # A stranger's message leads nowhere but into the source's own objects.
    place, _, name = claim.key.rpartition("/")
    own = f"{place}/" == claim_key(fields.required("forebay-source", str), "")
    if not (own and _ID.fullmatch(name) and _SHA256.fullmatch(claim.sha256) and claim.size):
        raise UndecodableError("the reference to the body can not be one")
    return claim


def _dump_attempts(attempts: tuple[Attempt, ...]) -> str:
    if not attempts:
        return ""
    # As UTF-8: escapes would make a text in another script than Latin several times as long.
    return json.dumps([_plain(attempt) for attempt in attempts], separators=(",", ":"), ensure_ascii=False)


def _plain(attempt: Attempt) -> dict[str, Any]:
    said = asdict(attempt)
    if not attempt.answer:
        del said["answer"]
    return said


def _fitting(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """The attempts without the oldest answers, as far as they are too much together: the last ones say most."""
    if not any(attempt.answer for attempt in attempts):
        return attempts
    left = ATTEMPTS_BYTES - sum(_written(attempt.error) for attempt in attempts)
    kept: list[Attempt] = []
    for attempt in reversed(attempts):
        left -= _written(attempt.answer)
        kept.append(attempt if left >= 0 else replace(attempt, answer=""))
    return tuple(reversed(kept))


def _written(text: str) -> int:
    """The bytes of a text in the message."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))


def _load_attempts(text: str | None) -> tuple[Attempt, ...]:
    if not text:
        return ()
    try:
        return tuple(_attempt(item) for item in json.loads(text))[-ATTEMPTS_KEPT:]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UndecodableError(f"header forebay-attempts can not be read: {type(error).__name__}") from error


def _attempt(item: Any) -> Attempt:
    status = item["status"]
    return Attempt(
        at=_count(item["at"]),
        ms=_count(item["ms"]),
        error=str(item["error"])[:ERROR_LENGTH],
        status=None if status is None else _count(status),
        answer=str(item.get("answer", ""))[:ANSWER_LENGTH],
    )


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise ValueError("not a count")
    return value
