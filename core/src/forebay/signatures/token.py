"""The secret as the proof itself: a bearer token, a password, a key in a header."""

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest

from forebay.signatures.mac import decode_key
from forebay.signatures.scheme import Encoding, Scheme


class Token:
    """The secret, as it is sent."""

    __slots__ = ("_digest",)

    def __init__(self, scheme: Scheme, secret: bytes) -> None:
        """Raises SpecError for an empty one."""
        self._digest = sha256(spelled(scheme, secret)).digest()

    def accepts(self, _: Iterable[bytes], signatures: Iterable[bytes]) -> bool:
        """Whether one of them is the secret. Digests are compared: the time does not tell its length either."""
        return any([compare_digest(self._digest, sha256(sent).digest()) for sent in signatures])  # noqa: C419 - all

    def could_be(self, signature: bytes) -> bool:
        """Whether it has the form of a secret."""
        return bool(signature)


def spelled(scheme: Scheme, secret: bytes) -> bytes:
    """The secret as it is sent. Raises SpecError for an empty one."""
    key = decode_key(scheme, secret)
    return b64encode(key) if scheme.encoding is Encoding.BASE64 else key
