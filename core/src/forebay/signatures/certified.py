"""Requests that are signed by a certificate of the provider, which the request names (Amazon SNS, PayPal).

Only what the provider's own hosts publish counts. Never raises for what a sender sends.
"""

import re
from binascii import a2b_base64
from collections.abc import Callable, Sequence
from hmac import compare_digest
from typing import Any

from forebay.errors import SpecError
from forebay.signatures.elsewhere import Line, look
from forebay.signatures.key_ring import KeyRing, PublicKey
from forebay.signatures.scheme import Published, Scheme
from forebay.signatures.stamps import read_stamp
from forebay.signatures.template import LINE, SECRET, TIMESTAMP, compile_template
from forebay.signatures.verify import Picker, Reason, Refused, Verified

# Characters of a certificate's URL, of one that is visited, and of a signature, at most.
MAX_URL = 512
MAX_VISITED = 2048
MAX_SIGNATURE = 2048

Headers = Sequence[tuple[bytes, bytes]]


class Certified:
    """Verifies the requests of one source. Without a secret, the name that the provider signs, it refuses everything.

    Raises SpecError for a secret that is empty. `tolerance` (seconds) replaces the scheme's.
    """

    looks_at_line = True

    def __init__(self, scheme: Scheme, secrets: Sequence[bytes], ring: KeyRing, tolerance: float | None = None) -> None:
        if not all(secrets):
            raise SpecError("a secret is empty")
        assert scheme.published is not None, "the scheme sees to it"
        assert scheme.timestamp is not None, "a certificate's request says its time"
        self._secrets, self._ring = tuple(secrets), ring
        self._at = re.compile(f"{_origin(scheme.published)}{scheme.published.path}".encode())
        self._verifies, functions = _library()
        self._template = compile_template(scheme.signed)
        self._signature, self._stamp = _key(scheme.signature_headers[0]), _key(scheme.timestamp.headers[0])
        self._url, self._hash, self._expected = _key(scheme.published.place), _key(scheme.hash), _key(scheme.expected)
        hashes = (entry.split("=") for entry in scheme.hashes)
        self._functions = {said.encode(): functions[name] for said, name in hashes}
        self._accepted = tuple(Verified(number) for number in range(len(self._secrets)))
        self._unit, self._tolerance = scheme.timestamp.unit, tolerance or scheme.timestamp.tolerance
        fields = (name for name in self._template.fields if name not in (SECRET, TIMESTAMP))
        wanted = frozenset((self._signature, self._stamp, self._url, self._hash, self._expected, *fields)) - {b""}
        self._elsewhere = tuple(name for name in wanted if name in LINE or b":" in name)
        self._pick, self._count = Picker(wanted.difference(self._elsewhere)).pick, len(wanted)

    def wants(self, headers: Headers, body: bytes, now: float, line: Line) -> str | None:
        """The certificate's URL that has to be fetched before this request can be verified."""
        fields = self._fields(headers, body, line)
        if isinstance(fields, Reason):
            return None
        url = fields[self._url].decode("latin-1")
        return url if self._ring.wants(url, now) else None

    def verify(self, headers: Headers, body: bytes, now: float, line: Line | None = None) -> Verified | Refused:
        """As Verifier's; a request whose certificate is not in the ring is refused."""
        fields = self._fields(headers, body, line or Line("", ""))
        if isinstance(fields, Reason):
            return Refused(fields)
        signed_at = read_stamp(fields[self._stamp], self._unit)
        if signed_at is None:
            return Refused(Reason.MALFORMED_TIMESTAMP)
        keys = self._ring.find(fields[self._url].decode("latin-1"), now)
        if keys is None:
            return Refused(Reason.UNKNOWN_KEY)
        signature = _decoded(fields[self._signature])
        if signature is None:
            return Refused(Reason.MALFORMED_SIGNATURE)
        fields[TIMESTAMP] = fields[self._stamp]
        accepted = self._match(keys.by_id[""], signature, fields)
        return _timely(accepted, now - signed_at, self._tolerance) if accepted else Refused(Reason.BAD_SIGNATURE)

    def _fields(self, headers: Headers, body: bytes, line: Line) -> dict[bytes, bytes] | Reason:
        """What is signed and by whom; or why no certificate is worth fetching for it."""
        if not self._secrets:
            return Reason.NO_SECRET
        fields = self._pick(headers)
        if fields is None:
            return Reason.DUPLICATE_HEADER
        fields |= look(self._elsewhere, line, headers, body)
        return self._lacking(fields) or fields

    def _lacking(self, fields: dict[bytes, bytes]) -> Reason | None:
        if self._signature not in fields:
            return Reason.MISSING_SIGNATURE
        if self._stamp not in fields:
            return Reason.MISSING_TIMESTAMP
        if len(fields) < self._count:
            return Reason.MISSING_HEADER
        url = fields[self._url]
        if len(url) > MAX_URL or not self._at.fullmatch(url) or fields[self._hash] not in self._functions:
            return Reason.UNKNOWN_KEY
        if self._expected and not _any_equal(self._secrets, fields[self._expected]):
            return Reason.OTHER_PARTY
        return None

    def _match(self, key: PublicKey, signature: bytes, fields: dict[bytes, bytes]) -> Verified | None:
        function = self._functions[fields[self._hash]]
        for accepted, secret in zip(self._accepted, self._secrets, strict=True):
            if self._expected and secret != fields[self._expected]:
                continue
            fields[SECRET] = secret
            if self._verifies(key, signature, b"".join(self._template.render(fields)), function):
                return accepted
        return None


def at_publisher(published: Published, url: str) -> bool:
    """Whether the URL is of a host of the provider's."""
    return len(url) <= MAX_VISITED and re.fullmatch(rf"{_origin(published)}/[!-~]*", url) is not None


def _origin(published: Published) -> str:
    hosts = "|".join(re.escape(host).replace(r"\*", "[a-z0-9-]+") for host in published.hosts)
    return f"https://({hosts})"


def _key(place: str) -> bytes:
    """Headers in lower case; other places count as they are written."""
    return (place if ":" in place else place.lower()).encode()


def _any_equal(secrets: Sequence[bytes], value: bytes) -> bool:
    return any([compare_digest(secret, value) for secret in secrets])  # noqa: C419 - all


def _decoded(signature: bytes) -> bytes | None:
    if len(signature) > MAX_SIGNATURE:
        return None
    try:
        return a2b_base64(signature, strict_mode=True)
    except ValueError:
        return None


def _timely(accepted: Verified, age: float, tolerance: float) -> Verified | Refused:
    if age > tolerance:
        return Refused(Reason.TIMESTAMP_TOO_OLD)
    return Refused(Reason.TIMESTAMP_IN_FUTURE) if age < -tolerance else accepted


def _library() -> tuple[Callable[[PublicKey, bytes, bytes, Any], bool], dict[str, Any]]:
    """What verifies a signature, by a key, of a message, with a hash function; and these by name. Imported once, here."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see public_key.py
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415

    padding = PKCS1v15()
    functions = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}  # noqa: S303 - version 1 of SNS, which is still its default

    def verifies(key: PublicKey, signature: bytes, message: bytes, function: Any) -> bool:
        try:
            key.verify(signature, message, padding, function)
        except InvalidSignature:
            return False
        return True

    return verifies, functions
