"""What two webhooks of a source are the same by, as a digest of 128 bits. Reads nothing, changes nothing.

The digest begins with the source's name and the target, so that nothing means the same at two places. It is BLAKE2b of an id and SHA-256 of a
body, of which the first is faster in a call and the second by the byte; to have a webhook taken for another one, a sender
would have to find a second text for 128 bits of either.
"""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b, sha256
from typing import Protocol, Self

from multidict import istr

from forebay.json_path import dig
from forebay.settings import Deduplication, IngestSettings
from forebay.signatures.configured import scheme_of
from forebay.signatures.scheme import Scheme
from forebay.signatures.template import ID, compile_template
from forebay_ingest.seen import DIGEST_BYTES

# The digest of a webhook by its headers, target and body; None if it has nothing to tell it by, and is always delivered.
Sameness = Callable[[Mapping[str, str], str, bytes], bytes | None]
_Identify = Callable[[Mapping[str, str], bytes], str | None]


class _Hash(Protocol):
    def copy(self) -> Self: ...
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


def sameness_of(settings: IngestSettings, wanted: Deduplication) -> Sameness:
    """What the source's webhooks are told apart by.

    The path and the query always count: one id at two addresses is two webhooks. The body counts where nothing else is
    known to be the sender's word: what is not signed, a stranger with one signed webhook could combine as he likes.
    """
    scheme = scheme_of(settings.verification)
    identify, with_body = _identify(wanted, scheme)
    source = settings.source.encode() + b"\0"
    hashing: Callable[[bytes], _Hash] = sha256 if with_body else blake2b

    @lru_cache(maxsize=64)  # most webhooks of a source come the same way; a stranger who varies it makes nothing grow
    def begun(target: str) -> _Hash:
        """A hash of what they begin with alike: to copy it takes half as long as to begin another one."""
        return hashing(source + target.encode("utf-8", "surrogateescape") + b"\0")

    def by_id(headers: Mapping[str, str], target: str, body: bytes) -> bytes | None:
        assert identify is not None
        identity = identify(headers, body)
        if identity is None:
            return None
        digest = begun(target).copy()
        digest.update(identity.encode("utf-8", "surrogateescape"))
        # Cut afterwards: a digest made shorter would be another one than before an upgrade.
        return digest.digest()[:DIGEST_BYTES]

    def by_body(headers: Mapping[str, str], target: str, body: bytes) -> bytes | None:
        identity = "" if identify is None else identify(headers, body)
        if identity is None:
            return None
        digest = begun(target).copy()
        digest.update(identity.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(body)
        return digest.digest()[:DIGEST_BYTES]

    return by_body if with_body else by_id


def _identify(wanted: Deduplication, scheme: Scheme) -> tuple[_Identify | None, bool]:
    """How the id is found, and whether the body counts as well."""
    if wanted.key == "bodyHash":
        return None, True
    if wanted.key == "header":
        return _by_headers((wanted.header or "",)), False
    if wanted.key == "jsonPath":
        return _by_json(wanted.json_path or ""), False
    return _by_headers(scheme.delivery_id_headers), ID not in compile_template(scheme.signed).fields


def _by_headers(names: tuple[str, ...]) -> _Identify:
    wanted = tuple(istr(name) for name in names)
    if len(wanted) == 1:
        (only,) = wanted
        return lambda headers, _: headers.get(only) or None

    def identify(headers: Mapping[str, str], _: bytes) -> str | None:
        for name in wanted:
            value = headers.get(name)
            if value:
                return value
        return None

    return identify


def _by_json(path: str) -> _Identify:
    def identify(_: Mapping[str, str], body: bytes) -> str | None:
        try:
            value = dig(json.loads(body), path)
        except (ValueError, RecursionError):
            return None
        if isinstance(value, str):
            return value or None
        # An empty place tells nothing: null, true, a list or an object may stand in many webhooks.
        return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    return identify
