"""From a secret to a message authentication code, HMAC (RFC 2104), and its spelling in a header."""

import hashlib
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from copy import copy
from hmac import compare_digest
from typing import Self

from forebay.errors import SpecError
from forebay.signatures.scheme import Algorithm, Encoding, KeyEncoding, Scheme

_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))

_HASHES = {Algorithm.HMAC_SHA1: "sha1", Algorithm.HMAC_SHA256: "sha256", Algorithm.HMAC_SHA512: "sha512"}

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def _hex(digest: bytes) -> bytes:
    return digest.hex().encode()


def _base64url(digest: bytes) -> bytes:
    return urlsafe_b64encode(digest).rstrip(b"=")


_SPELLINGS: dict[Encoding, tuple[Callable[[bytes], bytes], bytes]] = {
    Encoding.HEX: (_hex, b"0123456789abcdef"),
    Encoding.BASE64: (b64encode, _BASE64 + b"="),
    Encoding.BASE64URL: (_base64url, _BASE64.translate(bytes.maketrans(b"+/", b"-_"))),
}


class Mac:
    """The signatures of one scheme under one secret.

    Keyed once, then copied: `hmac.digest` hashes the key again for each message, which for a webhook of 1 KiB costs
    as much as the message itself.
    """

    __slots__ = ("_alphabet", "_inner", "_length", "_outer", "_spell")

    def __init__(self, scheme: Scheme, secret: bytes) -> None:
        name = _HASHES[scheme.algorithm]
        block_size = hashlib.new(name).block_size
        key = decode_key(scheme, secret)
        if len(key) > block_size:
            key = hashlib.new(name, key).digest()
        key = key.ljust(block_size, b"\0")
        self._inner = hashlib.new(name, key.translate(_INNER))
        self._outer = hashlib.new(name, key.translate(_OUTER))
        self._spell, self._alphabet = _SPELLINGS[scheme.encoding]
        self._length = len(self._spell(self._outer.digest()))

    def signature(self, message: Iterable[bytes]) -> bytes:
        """The signature of the pieces' concatenation, as the header spells it, without the prefix."""
        inner = self._inner.copy()
        for piece in message:
            inner.update(piece)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return self._spell(outer.digest())

    def begun(self, message: Iterable[bytes]) -> Self:
        """The same, with the beginning of one message taken in already; `take` goes on with it."""
        other = copy(self)
        other._inner = self._inner.copy()  # noqa: SLF001 - of the same class
        for piece in message:
            other.take(piece)
        return other

    def take(self, piece: bytes) -> None:
        """Take in what comes next in the message."""
        self._inner.update(piece)

    def accepts(self, message: Iterable[bytes], signatures: Iterable[bytes]) -> bool:
        """Whether one of them is the signature of the message. All are compared: the time does not tell which one."""
        expected, found = self.signature(message), False
        for signature in signatures:
            if compare_digest(expected, signature):
                found = True
        return found

    def could_be(self, signature: bytes) -> bool:
        """Whether it has the form of a signature of this scheme."""
        return len(signature) == self._length and not signature.translate(None, self._alphabet)


def decode_key(scheme: Scheme, secret: bytes) -> bytes:
    """The key a secret stands for. Raises SpecError, which never shows the secret, if there is none in it."""
    key = _decoded(scheme, secret)
    if not key:
        raise SpecError("is empty")
    return key


def _decoded(scheme: Scheme, secret: bytes) -> bytes:
    if scheme.key_encoding is KeyEncoding.TEXT:
        return secret.removeprefix(scheme.key_prefix.encode())
    text = secret.strip().removeprefix(scheme.key_prefix.encode())
    try:
        if scheme.key_encoding is KeyEncoding.HEX:
            return bytes.fromhex(text.decode("ascii"))
        return b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except ValueError:
        # "from None": the cause would show the secret's characters
        raise SpecError(f"is not {scheme.key_encoding}{_after(scheme.key_prefix)}") from None


def _after(prefix: str) -> str:
    return f" after {prefix!r}" if prefix else ""
