"""A request that is signed as a scheme says, whichever one, by a key that is made up for it: for trials of schemes alone.

`sign.py` adds headers to a request that somebody has; this one makes the request, so that a signature may stand anywhere in it.
"""

import hashlib
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from forebay.errors import SpecError
from forebay.signatures.elsewhere import Line, look
from forebay.signatures.mac import Mac
from forebay.signatures.scheme import Algorithm, Encoding, KeyEncoding, Scheme, Timestamp
from forebay.signatures.stamps import write_stamp
from forebay.signatures.template import BODY, ID, LINE, TIMESTAMP, compile_template
from forebay.signatures.token import spelled

DELIVERY_ID = "0191e3c2-7c8e-7a54"
URL = "https://hooks.example.com/in"
FORM = "application/x-www-form-urlencoded"

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Signer:
    """Who can sign: the provider."""

    secret: bytes  # what the Secret holds
    sign: Callable[[Sequence[bytes]], bytes]  # a message's signature, as it is spelled


@dataclass(frozen=True, slots=True)
class Specimen:
    """A request."""

    headers: Headers
    body: bytes
    line: Line


def signer(scheme: Scheme, seed: bytes) -> Signer:
    """One whose key follows from the seed. Raises SpecError where the keys are published."""
    if scheme.algorithm.fetched or scheme.algorithm is Algorithm.NONE:
        raise SpecError("its keys are published by the provider: no request can be made up")
    if scheme.algorithm.public:
        return _private(scheme, seed)
    secret = _written(scheme, seed.hex().encode() if scheme.key_encoding is KeyEncoding.TEXT else seed)
    if scheme.algorithm is Algorithm.TOKEN:
        return Signer(secret, lambda _: spelled(scheme, secret))
    return Signer(secret, Mac(scheme, secret).signature)


def specimen(
    scheme: Scheme, by: Signer, now: float, *, before: Sequence[Signer] = (), body: bytes | None = None
) -> Specimen:
    """A request at that time, signed by `by`; where there may be several signatures, those of `before` come first."""
    stamp = scheme.timestamp or Timestamp()
    stamped, item = write_stamp(now, stamp.unit), stamp.item
    content: dict[str, Any] = {"id": DELIVERY_ID}
    headers = _headers(scheme, stamp, stamped)
    for place in (*map(bytes.decode, compile_template(scheme.signed).fields), *stamp.headers):
        kind, _, path = place.partition(":")
        if kind in ("json", "json?"):
            _put(content, path, stamped if place in stamp.headers else "1")
    where = scheme.signature_headers[0]
    token = _token(where, stamp, stamped)
    text = _body(scheme, content) if body is None else body
    line, fields = Line("POST", URL), {TIMESTAMP: stamped.encode(), ID: DELIVERY_ID.encode()}
    fields |= {name.lower(): value for name, value in headers}

    def signed(one: Signer) -> str:
        known = {**fields, BODY: text, b"jwt:input": token}
        wanted = [name for name in compile_template(scheme.signed).fields if name in LINE or name.startswith(b"json")]
        known |= look(wanted, line, headers, text)
        return scheme.prefix + one.sign(compile_template(scheme.signed).render(known)).decode("latin-1")

    several = (*before, by) if scheme.separator else (by,)
    value = scheme.separator.join([*([item + stamped] if item else []), *map(signed, several)])
    return _placed(Specimen(headers, text, line), where, value, content, token)


def _headers(scheme: Scheme, stamp: Timestamp, stamped: str) -> Headers:
    place, name = scheme.event_place
    named = [name for name in compile_template(scheme.signed).headers if b":" not in name]
    found = dict.fromkeys(named, b"1") | {b"content-type": scheme.content_type.encode()}
    if place == "header":
        found[name.lower().encode()] = b"created"
    for ids in scheme.delivery_id_headers[:1]:
        found[ids.lower().encode()] = DELIVERY_ID.encode()
    for header in stamp.headers[:1]:
        if ":" not in header:
            found[header.lower().encode()] = stamped.encode()
    return tuple(found.items())


def _body(scheme: Scheme, content: dict[str, Any]) -> bytes:
    if scheme.content_type == FORM:
        return b"Body=Zo%C3%AB+says&From=%2B1"
    return json.dumps(content).encode()


def _token(where: str, stamp: Timestamp, stamped: str) -> bytes:
    """What is signed of a token; empty where there is none."""
    if not where.startswith("jwt:"):
        return b""
    claims = {place.removeprefix("jwt:"): int(stamped) for place in stamp.headers}
    return b".".join(_url64(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims))


def _placed(request: Specimen, where: str, value: str, content: dict[str, Any], token: bytes) -> Specimen:
    kind, _, path = where.partition(":")
    if not path:
        return Specimen((*request.headers, (where.encode(), value.encode("latin-1"))), request.body, request.line)
    if kind == "query":
        return Specimen(request.headers, request.body, Line("POST", f"{URL}?{path}={quote(value, safe='')}"))
    if kind == "jwt":
        sent = (b"Authorization", b".".join([token, value.encode()]))
        return Specimen((*request.headers, sent), request.body, request.line)
    _put(content, path, value)
    return Specimen(request.headers, json.dumps(content).encode(), request.line)


def _put(content: dict[str, Any], path: str, value: str) -> None:
    """Have the path lead to the value: "a.*.b" into the one item of a list."""
    above, star, below = path.partition(".*.")
    *steps, last = above.split(".")
    for step in steps:
        content = content.setdefault(step, {})
    if not star:
        content[last] = value
        return
    _put(content.setdefault(last, [{}])[0], below, value)


def _private(scheme: Scheme, seed: bytes) -> Signer:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: PLC0415 - see public_key.py
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding as Form  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import PublicFormat  # noqa: PLC0415

    digest = hashlib.sha256(seed).digest()
    if scheme.algorithm is Algorithm.ED25519:
        key = ed25519.Ed25519PrivateKey.from_private_bytes(digest)
        public = key.public_key().public_bytes_raw()
        return Signer(_written(scheme, public), lambda message: _spelled(scheme, key.sign(b"".join(message))))
    curve = ec.derive_private_key(int.from_bytes(digest[:31]), ec.SECP256R1())
    public = curve.public_key().public_bytes(Form.DER, PublicFormat.SubjectPublicKeyInfo)
    how = ec.ECDSA(SHA256())
    return Signer(_written(scheme, public), lambda message: _spelled(scheme, curve.sign(b"".join(message), how)))


def _spelled(scheme: Scheme, signature: bytes) -> bytes:
    return signature.hex().encode() if scheme.encoding is Encoding.HEX else b64encode(signature)


def _written(scheme: Scheme, key: bytes) -> bytes:
    """A key as the Secret holds it."""
    prefix = scheme.key_prefix.encode()
    if scheme.key_encoding is KeyEncoding.TEXT:
        return prefix + key
    return prefix + (key.hex().encode() if scheme.key_encoding is KeyEncoding.HEX else b64encode(key))


def _url64(text: bytes) -> bytes:
    return urlsafe_b64encode(text).rstrip(b"=")
