"""How a provider signs its webhooks, said as data. Nothing here computes a signature."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from forebay.errors import SpecError
from forebay.signatures.template import BODY, DECODED_URL, FORM, HEADER_NAME, ID, SNS, TIMESTAMP, URL, compile_template

_PLACE = re.compile(r"(json|query|jwt):[^\s:]+")
_EVENT_TYPE = re.compile(r"(header|json):\S+")


class Algorithm(StrEnum):
    NONE = "none"  # nothing is signed and everybody is let in; has to be spelled out
    HMAC_SHA1 = "hmac-sha1"
    HMAC_SHA256 = "hmac-sha256"
    HMAC_SHA512 = "hmac-sha512"
    TOKEN = "token"  # noqa: S105 - an algorithm: the secret itself is sent: nothing is signed, and whoever reads one request can send others
    ED25519 = "ed25519"  # the secret is the provider's public key
    ECDSA_P256 = "ecdsa-p256-sha256"  # the same
    RSA = "rsa"  # PKCS #1 v1.5, by a certificate that the provider publishes; the request says which, and the hash
    JWT = "jwt"  # a JSON Web Token, by a key of the set that its issuer publishes

    @property
    def fetched(self) -> bool:
        """Whether the key is fetched from the provider; then the secret, if there is one, is a name that it signs."""
        return self in (Algorithm.RSA, Algorithm.JWT)

    @property
    def public(self) -> bool:
        """Whether who verifies can not sign."""
        return self.fetched or self in (Algorithm.ED25519, Algorithm.ECDSA_P256)


class Encoding(StrEnum):
    """How a signature is written in its header. Only this spelling is accepted: one signature, one text."""

    HEX = "hex"  # lower case
    BASE64 = "base64"  # RFC 4648 §4: "+" and "/", padded
    BASE64URL = "base64url"  # RFC 4648 §5: "-" and "_", not padded
    TEXT = "text"  # as it is; of tokens


class KeyEncoding(StrEnum):
    """What a secret's text stands for."""

    TEXT = "text"  # the text itself is the key, byte by byte, also a newline at its end
    BASE64 = "base64"  # padding may be missing; white space around it is ignored
    HEX = "hex"  # either case; white space around it is ignored


class Unit(StrEnum):
    SECONDS = "s"
    MILLISECONDS = "ms"
    RFC3339 = "rfc3339"  # a text, "2026-11-26T11:30:00Z", with an offset from UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamp:
    """Where the time of signing stands, and how far from now it may be."""

    headers: tuple[str, ...] = ()  # the first of these places that is present, or …
    item: str = ""  # … the one item of the signature header that begins so ("t=")
    unit: Unit = Unit.SECONDS  # whole ones since 1970, unless it is a text
    tolerance: float = 300  # seconds, into the past and into the future; math.inf accepts any age


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Where a provider publishes the keys that it signs with."""

    place: str = ""  # of the certificate's URL in the request, for algorithm rsa
    hosts: tuple[str, ...] = ()  # from which alone certificates are fetched; * stands for one label of a name
    path: str = ""  # a regular expression for the whole path of that URL
    url: str = ""  # of the key set (RFC 7517), for algorithm jwt; "" if the manifest says it
    issuers: tuple[str, ...] = ()  # any of which a token may name; none if the manifest says it
    claims: tuple[str, ...] = ()  # others that the manifest has to say, or anybody else's token would do
    # What a token has to say besides: "NAME|OTHER=TEXT", under at least one of these names, and nothing else under any.
    fixed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A signature scheme. Raises SpecError, with every fault, if it could not protect what it promises to.

    A place is a header's name, or "json:PATH" in the body, or "query:NAME", or "jwt:…" in a token, see elsewhere.py.
    """

    algorithm: Algorithm
    encoding: Encoding = Encoding.HEX
    signature_headers: tuple[str, ...] = ()  # places; a signature in any of them will do; samples use the first
    separator: str = ""  # between items of a signature header; "" if it holds one signature and nothing else
    prefix: str = ""  # what a signature begins with ("sha256=", "v1,"); other items are passed over
    signed: str = "{body}"  # the signed string, see template.py
    timestamp: Timestamp | None = None
    key_encoding: KeyEncoding = KeyEncoding.TEXT
    key_prefix: str = ""  # taken off a secret before decoding if it is there ("whsec_")
    delivery_id_headers: tuple[str, ...] = ()  # the first of these that is present is the delivery's id
    published: Published | None = None  # of algorithms rsa and jwt
    hash: str = ""  # the place of the hash function's name, for algorithm rsa …
    hashes: tuple[str, ...] = ()  # … and what it means: "2=sha256"
    expected: str = ""  # the place that has to hold one of the secrets, where these are names and not keys
    body_is_free: bool = False  # the provider signs something else, and whoever has one request can change its body
    event_type: str | None = None  # where the event type stands: "header:NAME" or "json:PATH" (dotted)
    content_type: str = "application/json"  # of samples

    def __post_init__(self) -> None:
        faults = list(_CHECKS.get(self.algorithm, _signed_faults)(self))
        faults += _common_faults(self)
        if faults:
            raise SpecError("; ".join(faults))

    @property
    def signs_url(self) -> bool:
        """Whether the public URL has to be known to verify."""
        return any(name in (URL, DECODED_URL) for name in compile_template(self.signed).fields)

    @property
    def streams(self) -> bool:
        """Whether a signature can be checked while the body passes, without the whole of it at hand."""
        fields = compile_template(self.signed).fields
        places = [*self.signature_headers, *(self.timestamp.headers if self.timestamp else ())]
        places += [*(name.decode() for name in fields), *(self.delivery_id_headers if ID in fields else ())]
        in_body = FORM in fields or any(place.startswith(("json:", "json?:")) for place in places)
        return not (in_body or self.algorithm.public)

    @property
    def can_be_signed(self) -> bool:
        """Whether who knows the secret can make a request that passes by adding headers to it."""
        places = (*self.signature_headers, *(self.timestamp.headers if self.timestamp else ()))
        named = compile_template(self.signed).headers
        return not (self.algorithm.public or any(":" in name for name in places) or any(b":" in name for name in named))

    @property
    def event_place(self) -> tuple[str, str]:
        """Where the event type stands, "header", "json" or "" for nowhere, and its name or path there."""
        place, _, name = (self.event_type or "").partition(":")
        return place, name


def _common_faults(scheme: Scheme) -> Iterator[str]:
    stamp = scheme.timestamp or Timestamp()
    for name in (*scheme.signature_headers, *stamp.headers, *scheme.delivery_id_headers):
        if not (HEADER_NAME.fullmatch(name) or _PLACE.fullmatch(name)):
            yield f"{name!r} can not be a header's name"
    if scheme.event_type is not None and not _EVENT_TYPE.fullmatch(scheme.event_type):
        yield f"event type {scheme.event_type!r} is neither header:NAME nor json:PATH"
    for text in (scheme.prefix, scheme.separator, stamp.item):
        if not text.isascii():
            yield f"{text!r} is not ASCII, a header's value is"


def _open_faults(scheme: Scheme) -> Iterator[str]:
    if scheme.signature_headers or scheme.timestamp:
        yield f"algorithm {scheme.algorithm} checks nothing: leave out signature headers and timestamp"


def _signed_faults(scheme: Scheme) -> Iterator[str]:
    if not scheme.signature_headers:
        yield "the header that carries the signature is missing"
    fields = compile_template(scheme.signed).fields
    if fields.count(BODY) + fields.count(FORM) != (0 if scheme.body_is_free else 1):
        yield f"the signed string {scheme.signed!r} must hold {{body}} exactly once, or anybody could change the body"
    if ID in fields and not scheme.delivery_id_headers:
        yield "the signed string holds {id}: say which header carries the delivery's id"
    if (scheme.algorithm is Algorithm.RSA) != bool(scheme.published and scheme.hash and scheme.hashes):
        yield "algorithm rsa needs published, hash and hashes; no other takes them"
    if _signs_time(scheme, fields) != (scheme.timestamp is not None):
        yield "a timestamp needs both a place in the request and {timestamp} in the signed string"
    if (scheme.encoding is Encoding.TEXT) and scheme.algorithm is not Algorithm.TOKEN:
        yield "a signature is hex or base64; only a token is a text"
    if scheme.timestamp:
        yield from _timestamp_faults(scheme, scheme.timestamp)


def _token_faults(scheme: Scheme) -> Iterator[str]:
    if scheme.published is None or scheme.signed or scheme.timestamp:
        yield "algorithm jwt needs published; what is signed, and when, is in the token"


_CHECKS: dict[Algorithm, Callable[[Scheme], Iterator[str]]] = {
    Algorithm.NONE: _open_faults,
    Algorithm.JWT: _token_faults,
}


def _signs_time(scheme: Scheme, fields: tuple[bytes, ...]) -> bool:
    """Whether the time is part of what is signed: by itself, or in a token."""
    places = scheme.timestamp.headers if scheme.timestamp else ()
    in_token = bool(places) and all(place.startswith("jwt:") for place in places)
    return b"jwt:input" in fields if in_token else TIMESTAMP in fields or SNS in fields


def _timestamp_faults(scheme: Scheme, stamp: Timestamp) -> Iterator[str]:
    if bool(stamp.headers) == bool(stamp.item):
        yield "a timestamp stands either in a header or in an item of the signature header"
    if stamp.item and not (scheme.separator and len(scheme.signature_headers) == 1):
        yield "a timestamp in the signature header needs a separator and one signature header"
    if not stamp.tolerance > 0:
        yield f"a tolerance of {stamp.tolerance} s accepts nothing"
