"""What a signature is over, or where it stands, besides headers and body: method, URL, a form, a place in JSON or the query.

Read only for the few schemes that ask for it. Never raises for what a sender sends.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any
from urllib.parse import unquote_to_bytes

from forebay.json_path import MISSING, dig
from forebay.signatures.template import FORM, METHOD, URL

# Fields of a form at most; what has more is refused.
MAX_FIELDS = 1000

_FORM_TYPE = b"application/x-www-form-urlencoded"
# In the query of a request whose body is no form stands the body's SHA-256 instead (Twilio).
_BODY_HASH = b"bodySHA256"


@dataclass(frozen=True, slots=True)
class Line:
    """The first line of a request, as the provider knows it."""

    method: str
    url: str  # the public one: it comes from settings, never from the Host header

    @property
    def query(self) -> bytes:
        return self.url.partition("?")[2].encode("latin-1", "replace")


def look(
    wanted: Iterable[bytes], line: Line, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> dict[bytes, bytes]:
    """What stands at these places; leaves out what is not there, and what is there twice."""
    found: dict[bytes, bytes | None] = {}
    parsed: Any = MISSING
    for place in wanted:
        if place.startswith(b"json:"):
            parsed = _json(body) if parsed is MISSING else parsed
            found[place] = _text(parsed, place[5:].decode())
        elif place.startswith(b"query:"):
            found[place] = _only(pairs(line.query), place[6:])
        elif place == FORM:
            found[place] = _form(line.query, headers, body)
        else:
            found[place] = {METHOD: line.method, URL: line.url}[place].encode("utf-8", "replace")
    return {place: value for place, value in found.items() if value is not None}


def pairs(text: bytes) -> list[tuple[bytes, bytes]] | None:
    """Names and values of an encoded form; None if it has too many."""
    if text.count(b"&") >= MAX_FIELDS:
        return None
    halves = (item.partition(b"=") for item in text.split(b"&") if item)
    return [(_unquoted(name), _unquoted(value)) for name, _, value in halves]


def _unquoted(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _only(found: list[tuple[bytes, bytes]] | None, name: bytes) -> bytes | None:
    values = [value for known, value in found or () if known == name]
    return values[0] if len(values) == 1 else None


def _form(query: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes | None:
    """Names and values, sorted, equal pairs once. With the body's hash in the query, which the URL signs, nothing."""
    if _BODY_HASH + b"=" in query:
        told = _only(pairs(query), _BODY_HASH)
        return b"" if told and compare_digest(told, hashlib.sha256(body).hexdigest().encode()) else None
    kinds = [value for name, value in headers if name.lower() == b"content-type"]
    if body and [kind.partition(b";")[0].strip().lower() for kind in kinds] != [_FORM_TYPE]:
        return None
    fields = pairs(body)
    return None if fields is None else b"".join(name + value for name, value in sorted(set(fields)))


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _text(parsed: Any, path: str) -> bytes | None:
    """A text, or the text that every item of a list has there: "value.*.clientState"."""
    above, star, below = path.partition(".*.")
    value = dig(parsed, above)
    if star:
        each = [dig(item, below) for item in value] if isinstance(value, list) else []
        value = each[0] if each and all(item == each[0] for item in each) else MISSING
    return value.encode("utf-8", "replace") if isinstance(value, str) else None
