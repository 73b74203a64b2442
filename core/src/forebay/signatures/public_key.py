"""Signatures that a provider makes with a private key of its own: we have the public one, and can make none.

The library behind it, 14 MB of a compiled OpenSSL, is imported when the first such key is read.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable

from forebay.errors import SpecError
from forebay.signatures.mac import decode_key
from forebay.signatures.scheme import Algorithm, Encoding, Scheme

# Bytes of an encoded signature at most; those of P-256 have up to 100.
_LONGEST = 128

Check = Callable[[bytes, bytes], None]  # signature and message; raises InvalidSignature


class PublicKey:
    """One public key of the provider."""

    __slots__ = ("_check", "_encoding", "_invalid")

    def __init__(self, scheme: Scheme, secret: bytes) -> None:
        """Raises SpecError for what is no key of this kind."""
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415 - see above

        self._invalid = InvalidSignature
        self._encoding = scheme.encoding
        key = decode_key(scheme, secret)
        try:
            self._check = _ed25519(key) if scheme.algorithm is Algorithm.ED25519 else _ecdsa(key)
        except (ValueError, UnsupportedAlgorithm):
            raise SpecError(f"is not a public key for {scheme.algorithm}") from None

    def accepts(self, message: Iterable[bytes], signatures: Iterable[bytes]) -> bool:
        """Whether one of them is a signature of the message. Nothing of this is secret, so the first one will do."""
        text = b"".join(message)
        return any(self._verifies(signature, text) for signature in signatures)

    def could_be(self, signature: bytes) -> bool:
        """Whether it has the form of a signature."""
        return self._decoded(signature) is not None

    def _verifies(self, signature: bytes, message: bytes) -> bool:
        decoded = self._decoded(signature)
        if decoded is None:
            return False
        try:
            self._check(decoded, message)
        except self._invalid:
            return False
        return True

    def _decoded(self, signature: bytes) -> bytes | None:
        """Only the one right spelling is read: one signature, one text."""
        if not 0 < len(signature) <= _LONGEST:
            return None
        try:
            if self._encoding is Encoding.HEX:
                decoded = bytes.fromhex(signature.decode("ascii"))
                return decoded if decoded.hex().encode() == signature else None
            decoded = b64decode(signature, validate=True)
        except ValueError:
            return None
        return decoded if b64encode(decoded) == signature else None


def _ed25519(key: bytes) -> Check:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - see above

    return Ed25519PublicKey.from_public_bytes(key).verify


def _ecdsa(key: bytes) -> Check:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    public = load_der_public_key(key)
    if not (isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1)):
        raise ValueError("another curve")  # noqa: TRY004 - not of a type, but of what was sent
    how = ec.ECDSA(SHA256())
    return lambda signature, message: public.verify(signature, message, how)
