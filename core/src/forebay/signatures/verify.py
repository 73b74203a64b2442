"""Whether a request was signed by who knows the secret: a decision on bytes. Never raises for what a sender sends."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from forebay.errors import SpecError
from forebay.signatures.elsewhere import Line, look
from forebay.signatures.keys import Key, keys_of
from forebay.signatures.mac import Mac
from forebay.signatures.scheme import Algorithm, Scheme, Timestamp
from forebay.signatures.stamps import read_stamp
from forebay.signatures.template import BODY, ID, LINE, TIMESTAMP, compile_template

# Items of one request's signature headers that are looked at; senders that rotate secrets send two or three.
# Bounds the work a stranger can ask for.
MAX_ITEMS = 32


class Reason(StrEnum):
    """Why a request was refused: few, stable words, fit for a metric's label. None of them is told to the sender."""

    NO_SECRET = "no-secret"  # noqa: S105 - a reason, not a secret
    DUPLICATE_HEADER = "duplicate-header"  # a header that counts came twice: who knows which one the sender meant
    MISSING_SIGNATURE = "missing-signature"
    MALFORMED_SIGNATURE = "malformed-signature"  # wrong prefix, length, alphabet or case: no signature of this scheme
    BAD_SIGNATURE = "bad-signature"  # well formed, but of another secret or another request
    MISSING_TIMESTAMP = "missing-timestamp"
    MALFORMED_TIMESTAMP = "malformed-timestamp"
    MISSING_HEADER = "missing-header"  # something else that is signed: an id in a header, a form that is none
    TIMESTAMP_TOO_OLD = "timestamp-too-old"  # the signature is right: a replay, a late delivery, or a clock that is off
    TIMESTAMP_IN_FUTURE = "timestamp-in-future"  # the signature is right
    UNKNOWN_KEY = "unknown-key"  # the key it names is not published, or not where the provider publishes its keys
    OTHER_PARTY = "other-party"  # of or for somebody else: another topic, issuer or audience


@dataclass(frozen=True, slots=True)
class Verified:
    """Let it in."""

    secret: int | None  # which of the secrets it was signed with, the first is 0; None if nothing had to be signed


@dataclass(frozen=True, slots=True)
class Refused:
    """Keep it out."""

    reason: Reason


class Verifies(Protocol):
    """Decides about requests."""

    looks_at_line: bool  # then `verify` needs the request's line

    def verify(
        self, headers: Sequence[tuple[bytes, bytes]], body: bytes, now: float, line: Line | None = None
    ) -> Verified | Refused: ...


class Picker:
    """Finds the headers that count, by their names in lower case."""

    __slots__ = ("_lengths", "_names")

    def __init__(self, names: Iterable[bytes]) -> None:
        self._names = frozenset(names)
        self._lengths = frozenset(map(len, self._names))

    def pick(self, headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes] | None:
        """Those that are there; None if one of them came twice."""
        names, lengths = self._names, self._lengths
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            # The length first: it rules out most names at half the cost of reading them.
            if len(name) in lengths and (lower := name.lower()) in names:
                if lower in found:
                    return None
                found[lower] = value
        return found


class Verifier:
    """Verifies the requests of one source. Fails closed: without a secret it refuses everything.

    `tolerance` (seconds, both directions) replaces the scheme's. Raises SpecError for a secret that can not be used
    and for a tolerance or secrets that would do nothing; the message never shows a secret.
    """

    def __init__(self, scheme: Scheme, secrets: Sequence[bytes], tolerance: float | None = None) -> None:
        if scheme.algorithm.fetched:
            raise SpecError("the keys of this scheme are fetched from the provider")
        self._open = scheme.algorithm is Algorithm.NONE
        if self._open and secrets:
            raise SpecError("secrets are given, but nothing is verified: name the scheme, or leave the secrets out")
        self._keys = keys_of(scheme, secrets)
        self._accepted = tuple(Verified(index) for index in range(len(self._keys)))
        self._template = compile_template(scheme.signed)
        self._signatures = _lower(scheme.signature_headers)
        self._separator = scheme.separator.encode() or None
        self._prefix = scheme.prefix.encode()
        self._ids = _lower(scheme.delivery_id_headers) if ID in self._template.fields else ()
        self._named = frozenset((*self._template.headers, *(name for name in self._template.fields if name in LINE)))
        stamp = scheme.timestamp or Timestamp()
        self._stamped = scheme.timestamp is not None
        self._stamps = _lower(stamp.headers)
        self._stamp_item = stamp.item.encode()
        self._unit = stamp.unit
        self._tolerance = _tolerance(scheme, tolerance)
        wanted = frozenset((*self._signatures, *self._ids, *self._stamps, *self._named))
        self._elsewhere = tuple(name for name in wanted if name in LINE or b":" in name)
        self.looks_at_line = bool(self._elsewhere)  # then `verify` needs the request's line
        self._pick = Picker(wanted.difference(self._elsewhere)).pick
        parts = self._template.parts
        self._body_at = parts.index((True, BODY)) if (True, BODY) in parts else None
        # As most schemes are: one header holds one signature, and what is signed is the body alone.
        self._plain = len(wanted) == 1 and not self._separator and parts == ((True, BODY),)

    def verify(
        self, headers: Sequence[tuple[bytes, bytes]], body: bytes, now: float, line: Line | None = None
    ) -> Verified | Refused:
        """Decide about a request: its headers as received, its raw body, and the time in seconds since 1970."""
        if self._open:
            return _OPEN
        if not self._keys:
            return _REFUSED[Reason.NO_SECRET]
        fields = self._pick(headers)
        if fields is None:
            return _REFUSED[Reason.DUPLICATE_HEADER]
        if self._elsewhere and line is not None:
            fields |= look(self._elsewhere, line, headers, body)
        if self._plain and fields:
            return self._verify_plain(body, *fields.values())
        return self._verify_composed(fields, body, now)

    def _verify_plain(self, body: bytes, signature: bytes) -> Verified | Refused:
        if not signature.startswith(self._prefix):
            return _REFUSED[Reason.MALFORMED_SIGNATURE]
        return self._match(self._keys, (body,), (signature[len(self._prefix) :],))

    def begin(
        self, headers: Sequence[tuple[bytes, bytes]], now: float, line: Line | None = None
    ) -> "Streamed | Verified | Refused":
        """The same for a request whose body comes in pieces, where the scheme streams; a verdict if the body changes nothing."""
        if self._open or not self._keys:
            return self.verify(headers, b"", now, line)
        fields = self._pick(headers)
        if fields is None:
            return _REFUSED[Reason.DUPLICATE_HEADER]
        if self._elsewhere and line is not None:
            fields |= look(self._elsewhere, line, headers, b"")
        fields[BODY] = b""
        sent = self._sent(fields, now)
        if isinstance(sent, Refused):
            return sent
        message, at = self._template.render(fields), self._body_at
        keys = [key.begun(message[:at]) for key in self._keys if isinstance(key, Mac)]
        if at is None or not keys:
            return self._judged(self._keys, message, sent)
        return Streamed(keys, lambda: self._judged(keys, message[at + 1 :], sent))

    def _verify_composed(self, fields: dict[bytes, bytes], body: bytes, now: float) -> Verified | Refused:
        fields[BODY] = body
        sent = self._sent(fields, now)
        return sent if isinstance(sent, Refused) else self._judged(self._keys, self._template.render(fields), sent)

    def _sent(self, fields: dict[bytes, bytes], now: float) -> tuple[list[bytes], float] | Refused:
        """The signatures, and the seconds since they were made."""
        signatures = self._complete(fields)
        if isinstance(signatures, Reason):
            return _REFUSED[signatures]
        signed_at = read_stamp(fields[TIMESTAMP], self._unit) if self._stamped else now
        return _REFUSED[Reason.MALFORMED_TIMESTAMP] if signed_at is None else (signatures, now - signed_at)

    def _judged(
        self, keys: Sequence[Key], message: Sequence[bytes], sent: tuple[list[bytes], float]
    ) -> Verified | Refused:
        # The age comes last, so that its two reasons are only said of senders that know the secret.
        verdict = self._match(keys, message, sent[0])
        return self._timely(verdict, sent[1]) if isinstance(verdict, Verified) else verdict

    def _complete(self, fields: dict[bytes, bytes]) -> list[bytes] | Reason:
        """The signatures that were sent; adds to the fields what the signed string needs beside headers and body."""
        items = self._items(fields)
        if isinstance(items, Reason):
            return items
        prefix = self._prefix
        signatures = [item[len(prefix) :] for item in items if item.startswith(prefix)]
        if not signatures:
            return Reason.MALFORMED_SIGNATURE
        if self._stamped:
            stamp = self._stamp(fields, items)
            if isinstance(stamp, Reason):
                return stamp
            fields[TIMESTAMP] = stamp
        return signatures if self._identify(fields) else Reason.MISSING_HEADER

    def _items(self, fields: Mapping[bytes, bytes]) -> list[bytes] | Reason:
        values = [fields[name] for name in self._signatures if name in fields]
        if not values:
            return Reason.MISSING_SIGNATURE
        separator = self._separator
        if separator is None:
            return values
        items = [item.strip(b" \t") for value in values for item in value.split(separator, MAX_ITEMS)]
        return items if len(items) <= MAX_ITEMS else Reason.MALFORMED_SIGNATURE

    def _stamp(self, fields: Mapping[bytes, bytes], items: list[bytes]) -> bytes | Reason:
        item = self._stamp_item
        if item:
            stamps = [text[len(item) :] for text in items if text.startswith(item)]
        else:
            stamps = [fields[name] for name in self._stamps if name in fields][:1]
        if not stamps:
            return Reason.MISSING_TIMESTAMP
        return stamps[0] if len(stamps) == 1 else Reason.MALFORMED_TIMESTAMP

    def _identify(self, fields: dict[bytes, bytes]) -> bool:
        """Whether every other header that is signed is there; puts the delivery's id in its place."""
        if self._ids:
            found = [fields[name] for name in self._ids if name in fields]
            if not found:
                return False
            fields[ID] = found[0]
        return fields.keys() >= self._named

    def _match(self, keys: Sequence[Key], message: Sequence[bytes], signatures: Sequence[bytes]) -> Verified | Refused:
        """Every secret is tried on every signature: the time taken does not tell which one it was."""
        verdict = None
        for accepted, key in zip(self._accepted, keys, strict=True):
            if key.accepts(message, signatures):
                verdict = verdict or accepted
        if verdict is not None:
            return verdict
        could_be = any(self._keys[0].could_be(signature) for signature in signatures)
        return _REFUSED[Reason.BAD_SIGNATURE if could_be else Reason.MALFORMED_SIGNATURE]

    def _timely(self, verdict: Verified, age: float) -> Verified | Refused:
        if age > self._tolerance:
            return _REFUSED[Reason.TIMESTAMP_TOO_OLD]
        if age < -self._tolerance:
            return _REFUSED[Reason.TIMESTAMP_IN_FUTURE]
        return verdict


class Streamed:
    """A verification whose body is still on its way."""

    def __init__(self, keys: Sequence[Mac], judge: Callable[[], Verified | Refused]) -> None:
        self._keys = keys
        self.verdict = judge  # to be asked once, when the body is complete

    def take(self, piece: bytes) -> None:
        """Take in what comes next of the body."""
        for key in self._keys:
            key.take(piece)


_OPEN = Verified(None)
_REFUSED = {reason: Refused(reason) for reason in Reason}


def _lower(names: Iterable[str]) -> tuple[bytes, ...]:
    """Headers in lower case; other places count as they are written."""
    return tuple((name if ":" in name else name.lower()).encode() for name in names)


def _tolerance(scheme: Scheme, tolerance: float | None) -> float:
    if tolerance is None:
        return scheme.timestamp.tolerance if scheme.timestamp else 0
    if scheme.timestamp is None:
        raise SpecError("a tolerance is given, but this scheme signs no timestamp: leave it out")
    if not tolerance > 0:
        raise SpecError(f"a tolerance of {tolerance} s accepts nothing")
    return tolerance
