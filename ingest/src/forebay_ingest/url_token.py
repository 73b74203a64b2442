"""A secret part of the endpoint's path: who does not know it finds nothing there.

It is the segment behind the source's path, and is taken out of a request's head before anything else reads it: no log, metric,
span, queue or destination ever sees it. Only a provider that signs the URL signs it too.
"""

import re
from collections.abc import Sequence
from hmac import compare_digest
from typing import Any, NamedTuple

from forebay.errors import SpecError
from forebay_ingest.head import target_of

_TOKEN = re.compile(rb"[A-Za-z0-9_-]{16,128}")


class Opened(NamedTuple):
    """A request's head as it would be without the token (of aiohttp's RawRequestMessage, what is read here)."""

    method: str
    path: str
    version: Any
    headers: Any
    raw_headers: tuple[tuple[bytes, bytes], ...]
    should_close: bool
    upgrade: bool
    chunked: bool
    below: str  # what followed the source's path, as it was sent


class UrlTokens:
    """The tokens of one source; each of them counts. Raises SpecError for one that could be guessed, or breaks the path."""

    def __init__(self, path: str, tokens: Sequence[bytes]) -> None:
        if not all(_TOKEN.fullmatch(token) for token in tokens):
            raise SpecError("a URL token is 16 to 128 letters, digits, - and _; make one with: openssl rand -hex 24")
        self._tokens = tuple(tokens)
        self._path, self._above = path, path.rstrip("/") + "/"

    def opened(self, head: Any) -> Opened | None:
        """The head without its token; None if there is none in its place, or another one."""
        target = target_of(head)
        path, mark, query = target.partition("?")
        if not path.startswith(self._above):
            return None
        token, slash, rest = path[len(self._above) :].partition("/")
        given = token.encode("utf-8", "surrogateescape")
        # All are compared, so that the time says nothing of which one it is like.
        if not sum(compare_digest(given, known) for known in self._tokens):
            return None
        return Opened(
            head.method, (self._above + rest if slash else self._path) + mark + query, head.version, head.headers,
            head.raw_headers, head.should_close, head.upgrade, head.chunked, target[len(self._path) :],
        )  # fmt: skip
