"""JSON Web Tokens (RFC 7519) in the Authorization header, signed by a key that the issuer publishes. The body is not signed.

Microsoft Graph sends a list of them in the body instead, each of which has to be good.

Never raises for what a sender sends.
"""

import json
import math
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay.json_path import MISSING, dig
from forebay.signatures.elsewhere import Line
from forebay.signatures.key_ring import KeyRing
from forebay.signatures.verify import Reason, Refused, Verified

# Bytes of a token at most.
MAX_TOKEN = 8192
# Of those in a body at most; Graph sends one for each application and tenant.
MAX_TOKENS = 8
# Seconds that clocks may differ.
LEEWAY_S = 60.0

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a token has to say."""

    keys_url: str  # where the issuer publishes its keys (RFC 7517)
    issuers: tuple[str, ...]  # any of these
    audience: str
    claims: tuple[tuple[str, str], ...] = ()  # further ones, and the text that each has to be
    fixed: tuple[
        tuple[tuple[str, ...], str], ...
    ] = ()  # the same of what has several names: all that are there say it, and one is


@dataclass(frozen=True, slots=True)
class _Token:
    algorithm: str
    key_id: str
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


class WebTokens:
    """Verifies the requests of one source."""

    looks_at_line = False

    def __init__(
        self, expected: Expected, ring: KeyRing, tolerance: float | None = None, place: str = "Authorization"
    ) -> None:
        self._expected, self._ring, self._leeway = expected, ring, tolerance or LEEWAY_S
        self._list = place.removeprefix("json:") if place.startswith("json:") else ""

    def wants(self, headers: Headers, body: bytes, now: float, line: Line) -> str | None:  # noqa: ARG002 - as Certified's
        """The key set's URL, if it has to be fetched before this request can be verified."""
        tokens = self._read(headers, body)
        if isinstance(tokens, Reason):
            return None
        url = self._expected.keys_url
        return url if any(self._ring.wants(url, now, token.key_id) for token in tokens) else None

    def verify(self, headers: Headers, body: bytes, now: float, line: Line | None = None) -> Verified | Refused:  # noqa: ARG002 - as Verifier's
        """As Verifier's; a token whose key is not in the ring is refused."""
        tokens = self._read(headers, body)
        if isinstance(tokens, Reason):
            return Refused(tokens)
        reasons = (self._refusal(token, now) for token in tokens)
        reason = next((reason for reason in reasons if reason), None)
        return Refused(reason) if reason else Verified(None)

    def _refusal(self, token: _Token, now: float) -> Reason | None:
        keys = self._ring.find(self._expected.keys_url, now)
        key = keys.by_id.get(token.key_id) if keys else None
        if key is None:
            return Reason.UNKNOWN_KEY
        if not _verifies(key, token):
            return Reason.BAD_SIGNATURE
        return _untimely(token.claims, now, self._leeway)

    def _read(self, headers: Headers, body: bytes) -> list[_Token] | Reason:
        """The tokens, at least one, whose signatures are yet to be verified; or why that is not worth it."""
        sent = _listed(body, self._list) if self._list else _shown(headers)
        if isinstance(sent, Reason):
            return sent
        tokens = [token for text in sent if (token := _parse(text)) is not None]
        if len(tokens) < len(sent):
            return Reason.MALFORMED_SIGNATURE
        return tokens if all(self._is_ours(token.claims) for token in tokens) else Reason.OTHER_PARTY

    def _is_ours(self, claims: Mapping[str, Any]) -> bool:
        expected, audience = self._expected, claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        return (
            claims.get("iss") in expected.issuers
            and expected.audience in audiences
            and all(claims.get(name) == text for name, text in expected.claims)
            and all(_says(claims, names, text) for names, text in expected.fixed)
        )


def _says(claims: Mapping[str, Any], names: Sequence[str], text: str) -> bool:
    said = [claims[name] for name in names if name in claims]
    return bool(said) and all(value == text for value in said)


def _shown(headers: Headers) -> list[bytes] | Reason:
    """The one token in the Authorization header; another scheme than Bearer leaves nothing that could be one."""
    sent = [value for name, value in headers if name.lower() == b"authorization"]
    if len(sent) != 1:
        return Reason.DUPLICATE_HEADER if sent else Reason.MISSING_SIGNATURE
    scheme, _, text = sent[0].partition(b" ")
    return [text if scheme.lower() == b"bearer" else b""]


def _listed(body: bytes, path: str) -> list[bytes] | Reason:
    """The tokens in a list in the body."""
    try:
        found = dig(json.loads(body), path)
    except (ValueError, RecursionError):
        found = MISSING
    if found is MISSING or not isinstance(found, list) or not found:
        return Reason.MISSING_SIGNATURE
    if len(found) > MAX_TOKENS or not all(isinstance(text, str) for text in found):
        return Reason.MALFORMED_SIGNATURE
    return [text.encode("utf-8", "replace") for text in found]


def _parse(text: bytes) -> _Token | None:
    parts = text.split(b".")
    if len(parts) != 3 or len(text) > MAX_TOKEN:
        return None
    try:
        head, claims = (json.loads(_bytes(part)) for part in parts[:2])
        signature = _bytes(parts[2])
    except (ValueError, RecursionError):
        return None
    if not (isinstance(head, dict) and isinstance(claims, dict)) or "crit" in head:
        return None
    algorithm = str(head.get("alg"))
    if algorithm not in _ALGORITHMS:
        return None
    return _Token(algorithm, str(head.get("kid", "")), claims, b".".join(parts[:2]), signature)


def _bytes(text: bytes) -> bytes:
    return urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def _untimely(claims: Mapping[str, Any], now: float, leeway: float) -> Reason | None:
    """A token that never ends is refused: whoever has seen it could send for ever."""
    ends, begins = claims.get("exp"), claims.get("nbf", claims.get("iat", 0))
    if ends is None:
        return Reason.MISSING_TIMESTAMP
    if not (_is_time(ends) and _is_time(begins)):
        return Reason.MALFORMED_TIMESTAMP
    if now > ends + leeway:
        return Reason.TIMESTAMP_TOO_OLD
    return Reason.TIMESTAMP_IN_FUTURE if begins - leeway > now else None


def _is_time(at: Any) -> bool:
    """Python's JSON knows Infinity and NaN, which no clock ever passes."""
    return isinstance(at, int | float) and not isinstance(at, bool) and math.isfinite(at)


# Name (RFC 7518 §3.1, RFC 8037) -> kind of key and hash function.
_ALGORITHMS = {
    "RS256": ("RSA", "SHA256"), "RS384": ("RSA", "SHA384"), "RS512": ("RSA", "SHA512"),
    "PS256": ("PSS", "SHA256"), "PS384": ("PSS", "SHA384"), "PS512": ("PSS", "SHA512"),
    "ES256": ("P-256", "SHA256"), "ES384": ("P-384", "SHA384"), "EdDSA": ("Ed25519", ""),
}  # fmt: skip


def _verifies(key: Any, token: _Token) -> bool:
    """The key's kind has to be the algorithm's: the token does not choose what is done with a key."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see public_key.py

    kind, name = _ALGORITHMS[token.algorithm]
    if _kind(key) != ("RSA" if kind == "PSS" else kind):
        return False
    try:
        _CHECKS[kind](key, token, name)
    except (InvalidSignature, ValueError):
        return False
    return True


def _kind(key: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415 - see public_key.py

    if isinstance(key, rsa.RSAPublicKey):
        return "RSA"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "P-256", "secp384r1": "P-384"}[key.curve.name]
    return "Ed25519"


def _hash(name: str) -> Any:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - see public_key.py

    return getattr(hashes, name)()


def _rsa(key: Any, token: _Token, name: str) -> None:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415 - see public_key.py

    key.verify(token.signature, token.signed, PKCS1v15(), _hash(name))


def _pss(key: Any, token: _Token, name: str) -> None:
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS  # noqa: PLC0415 - see public_key.py

    function = _hash(name)
    key.verify(token.signature, token.signed, PSS(MGF1(function), function.digest_size), function)


def _curve(key: Any, token: _Token, name: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415 - see public_key.py

    half = (key.key_size + 7) // 8
    if len(token.signature) != 2 * half:
        raise ValueError("another length")
    r, s = (int.from_bytes(part) for part in (token.signature[:half], token.signature[half:]))
    key.verify(utils.encode_dss_signature(r, s), token.signed, ec.ECDSA(_hash(name)))


def _edwards(key: Any, token: _Token, _: str) -> None:
    key.verify(token.signature, token.signed)


_CHECKS = {"RSA": _rsa, "PSS": _pss, "P-256": _curve, "P-384": _curve, "Ed25519": _edwards}
