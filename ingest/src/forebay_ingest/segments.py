"""Segments of the outage buffer: webhooks that came one after the other, in one object. Reads nothing, changes nothing.

An object's name tells when it was made, how many webhooks are in it, and the SHA-256 of its bytes: a listing is all that a
process needs to know what another has left, and what is half written or changed is found out before any of it is published.
"""

import json
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any, NamedTuple

from forebay.envelope import Claim
from forebay.identity import born
from forebay_ingest.prepared import Received

# Beside the folder of large bodies, whose objects a rule of the bucket may let expire.
FOLDER = "forebay-outage"
LEASE = "lease"

_FORMAT = b"forebay outage segment 1\n"
_LENGTHS = struct.Struct(">II")  # of what is known of a webhook, as JSON, and of its body
_NAME = re.compile(r"([0-9a-f-]{36})-([0-9]{1,7})-([0-9a-f]{64})")
_BYTES = ("event_id", "client", "header_block")  # fields that are no text


class UnreadableError(Exception):
    """The object is no segment that this version can read."""


class Kept(NamedTuple):
    """A webhook, and the short name of the queue that it is for."""

    queue: str
    received: Received


@dataclass(frozen=True, slots=True)
class Segment:
    """One object. They sort by their keys in the order in which a process made them."""

    key: str
    size: int

    @property
    def webhooks(self) -> int:
        """How many are in it."""
        return int(self._parts[1])

    @property
    def made(self) -> int:
        """When, in ms since 1970."""
        return born(self._parts[0]) or 0

    @property
    def content(self) -> Claim:
        """What the object must be."""
        return Claim(key=self.key, size=self.size, sha256=self._parts[2])

    @property
    def _parts(self) -> tuple[str, str, str]:
        found = _NAME.fullmatch(self.key.rpartition("/")[2])
        assert found is not None, "whoever makes one has looked"
        return found[1], found[2], found[3]


def folder(source: str, replica: str = "") -> str:
    """What the keys of a source begin with ("namespace/name"), or those of one of its replicas."""
    return f"{FOLDER}/{source}/{replica}/" if replica else f"{FOLDER}/{source}/"


def segment(source: str, replica: str, id_: str, content: bytes, webhooks: int) -> Segment:
    """The segment of this content; `id_` is a UUIDv7, by which it sorts."""
    return Segment(f"{folder(source, replica)}{id_}-{webhooks}-{sha256(content).hexdigest()}", len(content))


def is_segment(key: str) -> bool:
    """Whether an object in a replica's folder is one by its name."""
    return _NAME.fullmatch(key.rpartition("/")[2]) is not None


def pack(webhooks: Iterable[Kept]) -> bytes:
    """The bytes of a segment."""
    return b"".join((_FORMAT, *(piece for one in webhooks for piece in _packed(one))))


def unpack(content: bytes) -> list[Kept]:
    """The webhooks of a segment. Raises UnreadableError."""
    if not content.startswith(_FORMAT):
        raise UnreadableError("it does not begin like a segment of this version; a newer Forebay wrote it")
    try:
        return list(_unpacked(content))
    except (ValueError, TypeError, LookupError, AttributeError, struct.error, RecursionError) as error:
        raise UnreadableError(f"it can not be read: {type(error).__name__}") from error


def _packed(one: Kept) -> tuple[bytes, bytes, bytes]:
    received = one.received
    known: dict[str, Any] = {field.name: getattr(received, field.name) for field in fields(received)}
    del known["body"]
    known |= {name: known[name].decode("latin-1") for name in _BYTES}
    known |= {"queue": one.queue, "claim": asdict(received.claim) if received.claim else None}
    # With escapes, as json writes by itself: what was no UTF-8 in a target or a key comes back as it was.
    told = json.dumps({name: value for name, value in known.items() if value is not None}).encode()
    return _LENGTHS.pack(len(told), len(received.body)), told, received.body


def _unpacked(content: bytes) -> Iterator[Kept]:
    at = len(_FORMAT)
    while at < len(content):
        told, size = _LENGTHS.unpack_from(content, at)
        begin = at + _LENGTHS.size
        at = begin + told + size
        if at > len(content):
            raise ValueError(at)
        yield _read(json.loads(content[begin : begin + told]), content[begin + told : at])


def _read(known: dict[str, Any], body: bytes) -> Kept:
    known |= {name: known[name].encode("latin-1") for name in _BYTES}
    claim = known.pop("claim", None)
    absent = dict.fromkeys(("content_type", "delivery_id", "event_type", "traceparent"))
    queue = known.pop("queue")
    return Kept(queue, Received(**{**absent, **known}, body=body, claim=Claim(**claim) if claim else None))
