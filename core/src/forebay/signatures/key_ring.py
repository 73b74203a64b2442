"""Keys that providers publish: read from what was fetched, and held by the URL for a time. Fetches nothing, has no clock."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forebay.errors import SpecError

# Seconds that what was fetched is used without asking again; and, while its publisher can not be reached, at most.
FRESH_S = 3600.0
KEPT_S = 86_400.0
# A token that names a key which is not in the set has the set fetched again, after so many seconds.
AGAIN_S = 60.0
# URLs that are held; strangers name some of them, within the provider's hosts.
MAX_HELD = 64
# Keys of one set that are read.
MAX_KEYS = 64
# Bits of an RSA key at least.
MIN_BITS = 2048

PublicKey = Any  # of `cryptography`, which is imported when the first key is read


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What one URL publishes."""

    by_id: Mapping[str, PublicKey]  # a certificate's key has the id ""
    since: float = 0.0  # good from here …
    until: float = float("inf")  # … to here


@dataclass(frozen=True, slots=True)
class _Held:
    keys: Keys
    fetched: float


class KeyRing:
    """The published keys that are known."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def find(self, url: str, now: float) -> Keys | None:
        """The keys of the URL that may be used now."""
        held = self._held.get(url)
        if held is None or now - held.fetched > KEPT_S or not held.keys.since <= now <= held.keys.until:
            return None
        return held.keys

    def wants(self, url: str, now: float, key_id: str = "") -> bool:
        """Whether the URL should be fetched before a request is verified that names this key."""
        held = self._held.get(url)
        if held is None or now - held.fetched > FRESH_S:
            return True
        return key_id not in held.keys.by_id and now - held.fetched > AGAIN_S

    def keep(self, url: str, keys: Keys, now: float) -> None:
        """Take up what was fetched; what was fetched first goes when there is too much."""
        self._held.pop(url, None)
        self._held[url] = _Held(keys, now)
        if len(self._held) > MAX_HELD:
            self._held.pop(next(iter(self._held)))


def read_certificate(text: bytes) -> Keys:
    """The key of the first certificate of a PEM text. Raises SpecError."""
    from cryptography import x509  # noqa: PLC0415 - see PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415

    try:
        certificate = x509.load_pem_x509_certificate(text)
        key = certificate.public_key()
    except ValueError as error:
        raise SpecError(f"this is no certificate: {error}") from error
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_BITS:
        raise SpecError(f"the certificate holds no RSA key of {MIN_BITS} bits or more")
    return Keys(
        by_id={"": key},
        since=certificate.not_valid_before_utc.timestamp(),
        until=certificate.not_valid_after_utc.timestamp(),
    )


def read_key_set(text: bytes) -> Keys:
    """The keys of a JSON Web Key Set (RFC 7517 §5); those that can not be used are left out. Raises SpecError."""
    try:
        found = json.loads(text)["keys"]
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise SpecError("this is no JSON Web Key Set") from error
    usable = {}
    for item in found[:MAX_KEYS] if isinstance(found, list) else []:
        key = _key(item) if isinstance(item, dict) and item.get("use", "sig") == "sig" else None
        if key is not None:
            usable[str(item.get("kid", ""))] = key
    if not usable:
        raise SpecError("there is no usable key in the JSON Web Key Set")
    return Keys(by_id=usable)


def _key(item: Mapping[str, Any]) -> PublicKey | None:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415

    try:
        return _READERS[item["kty"]](item)
    except (KeyError, ValueError, TypeError, AttributeError, UnsupportedAlgorithm):
        return None


def _rsa(item: Mapping[str, Any]) -> PublicKey | None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers  # noqa: PLC0415

    key = RSAPublicNumbers(_number(item["e"]), _number(item["n"])).public_key()
    return key if key.key_size >= MIN_BITS else None


def _curve(item: Mapping[str, Any]) -> PublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    curve = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[item["crv"]]
    return ec.EllipticCurvePublicNumbers(_number(item["x"]), _number(item["y"]), curve).public_key()


def _edwards(item: Mapping[str, Any]) -> PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    if item["crv"] != "Ed25519":
        raise ValueError("another curve")
    return Ed25519PublicKey.from_public_bytes(_bytes(item["x"]))


_READERS = {"RSA": _rsa, "EC": _curve, "OKP": _edwards}


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text))


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
