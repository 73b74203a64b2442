"""What a signature is over, or where it stands, besides headers and body: method, URL, a form, a place in JSON or the query.

"jwt:input", "jwt:signature" and "jwt:CLAIM" are of a JSON Web Token (RFC 7519) in the Authorization header that says HS256.

Read only for the few schemes that ask for it. Never raises for what a sender sends.
"""

import hashlib
import json
import re
import zlib
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any
from urllib.parse import unquote_to_bytes

from forebay.json_path import MISSING, dig
from forebay.signatures.template import CRC32, DECODED_URL, FORM, METHOD, SNS, URL

# Fields of a form at most; what has more is refused.
MAX_FIELDS = 1000

_FORM_TYPE = b"application/x-www-form-urlencoded"
# In the query of a request whose body is no form stands the body's SHA-256 instead (Twilio).
_BODY_HASH = b"bodySHA256"
# : / ? @ ! $ ' ( ) * , ; and no others: https://developers.hubspot.com/docs/api/webhooks/validating-requests
_DECODED = re.compile(rb"%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
# What Amazon SNS signs of a message, in this order, as far as it is there.
_SNS_NAMES = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")


@dataclass(frozen=True, slots=True)
class Line:
    """The first line of a request, as the provider knows it."""

    method: str
    url: str  # the public one: it comes from settings, never from the Host header

    @property
    def query(self) -> bytes:
        return self.url.partition("?")[2].encode("latin-1", "replace")


Headers = Iterable[tuple[bytes, bytes]]


def look(wanted: Iterable[bytes], line: Line, headers: Headers, body: bytes) -> dict[bytes, bytes]:
    """What stands at these places; leaves out what is not there, and what is there twice."""
    found: dict[bytes, bytes] = {}
    parsed: Any = MISSING
    token: dict[bytes, bytes] | None = None
    for place in wanted:
        if (read := _READ.get(place)) is not None:
            value = read(line, headers, body)
        elif place.startswith(b"query:"):
            value = _only(pairs(line.query), place[6:])
        elif place.startswith(b"jwt:"):
            token = _jwt(headers) if token is None else token
            value = token.get(place[4:])
        else:
            parsed = _json(body) if parsed is MISSING else parsed
            kind, _, path = place.partition(b":")
            value = _sns(parsed) if place == SNS else _text(parsed, path.decode(), loose=kind == b"json?")
        if value is not None:
            found[place] = value
    return found


def pairs(text: bytes) -> list[tuple[bytes, bytes]] | None:
    """Names and values of an encoded form; None if it has too many."""
    if text.count(b"&") >= MAX_FIELDS:
        return None
    halves = [item.partition(b"=") for item in text.replace(b"+", b" ").split(b"&") if item]
    if b"%" not in text:
        return [(name, value) for name, _, value in halves]
    return [(_unquoted(name), _unquoted(value)) for name, _, value in halves]


def _unquoted(text: bytes) -> bytes:
    return unquote_to_bytes(text) if b"%" in text else text


def _only(found: list[tuple[bytes, bytes]] | None, name: bytes) -> bytes | None:
    values = [value for known, value in found or () if known == name]
    return values[0] if len(values) == 1 else None


def _url(line: Line, *_: object) -> bytes:
    return line.url.encode("utf-8", "replace")


def _decoded_url(line: Line, *_: object) -> bytes:
    url = _url(line)
    return _DECODED.sub(lambda sign: unquote_to_bytes(sign[0]), url) if b"%" in url else url


def _form(line: Line, headers: Headers, body: bytes) -> bytes | None:
    """Names and values, sorted, equal pairs once. With the body's hash in the query, which the URL signs, nothing."""
    query = line.query
    if _BODY_HASH + b"=" in query:
        told = _only(pairs(query), _BODY_HASH)
        return b"" if told and compare_digest(told, hashlib.sha256(body).hexdigest().encode()) else None
    kinds = [value for name, value in headers if name.lower() == b"content-type"]
    if body and [kind.partition(b";")[0].strip().lower() for kind in kinds] != [_FORM_TYPE]:
        return None
    fields = pairs(body)
    return None if fields is None else b"".join(name + value for name, value in sorted(set(fields)))


# Where it takes nothing but the request to say what is there.
_READ: dict[bytes, Callable[[Line, Headers, bytes], bytes | None]] = {
    METHOD: lambda line, *_: line.method.encode("utf-8", "replace"),
    URL: _url,
    DECODED_URL: _decoded_url,
    FORM: _form,
    CRC32: lambda _line, _headers, body: b"%d" % zlib.crc32(body),
}


def _sns(parsed: Any) -> bytes | None:
    """None where a value is no text: what is signed would say less than what is there."""
    said = {name: parsed[name] for name in _SNS_NAMES if name in parsed} if isinstance(parsed, dict) else {}
    if not said or any(not isinstance(value, str) for value in said.values()):
        return None
    # A notification has no token: one that had would be signed like the question whether to subscribe.
    if (said.get("Type") == "Notification") == ("Token" in said):
        return None
    return "".join(f"{name}\n{value}\n" for name, value in said.items()).encode("utf-8", "replace")


def _jwt(headers: Headers) -> dict[bytes, bytes]:
    """The signed part, the signature, and the claims that are whole numbers; nothing of a token by another algorithm."""
    sent = [value for name, value in headers if name.lower() == b"authorization"]
    parts = sent[0].removeprefix(b"Bearer ").split(b".") if len(sent) == 1 else []
    if len(parts) != 3:
        return {}
    head, claims = map(_part, parts[:2])
    if not (isinstance(head, dict) and head.get("alg") == "HS256" and isinstance(claims, dict)):
        return {}
    numbers = {name.encode(errors="replace"): b"%d" % value for name, value in claims.items() if type(value) is int}
    return numbers | {b"input": b".".join(parts[:2]), b"signature": parts[2]}


def _part(text: bytes) -> Any:
    """What a part of a token says; None for what is none."""
    try:
        return json.loads(urlsafe_b64decode(text + b"=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        return None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _text(parsed: Any, path: str, *, loose: bool) -> bytes | None:
    """A text, or the text that every item of a list has there: "value.*.clientState"; loosely, see template.py."""
    above, star, below = path.partition(".*.")
    value = dig(parsed, above)
    if star:
        each = [dig(item, below) for item in value] if isinstance(value, list) else []
        if not each or any(item != each[0] for item in each):
            return None
        value = each[0]
    if loose and (value is MISSING or value is None):
        return b""
    if isinstance(value, str) or (loose and type(value) is int):
        return str(value).encode("utf-8", "replace")
    return None
