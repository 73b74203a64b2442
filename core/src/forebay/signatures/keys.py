"""From the secrets of a source to what verifies with them."""

from collections.abc import Sequence
from typing import Protocol

from forebay.errors import SpecError
from forebay.signatures.mac import Mac
from forebay.signatures.public_key import PublicKey
from forebay.signatures.scheme import Algorithm, Scheme
from forebay.signatures.token import Token


class Key(Protocol):
    """A secret, ready to verify with."""

    def accepts(self, message: Sequence[bytes], signatures: Sequence[bytes], /) -> bool: ...

    def could_be(self, signature: bytes) -> bool: ...


def keys_of(scheme: Scheme, secrets: Sequence[bytes]) -> tuple[Key, ...]:
    """A key for each secret. Raises SpecError for one that can not be used; the message never shows it."""
    kind = PublicKey if scheme.algorithm.public else Token if scheme.algorithm is Algorithm.TOKEN else Mac
    keys = []
    for number, secret in enumerate(secrets, 1):
        try:
            keys.append(kind(scheme, secret))
        except SpecError as error:
            raise SpecError(f"secret {number} of {len(secrets)} {error}") from None
    return tuple(keys)
