"""Access tokens by OAuth 2.0 client credentials (RFC 6749 §4.4) for a destination that asks for one.

A token is fetched when the first webhook needs it, kept, and renewed in good time while deliveries go on with the old one; one
request is under way at a time, whoever waits for it. A destination that answers 401 gets a new token at once. While the
token endpoint fails it is asked more and more seldom, and what has no token meanwhile is a failed attempt.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode

from forebay.errors import SpecError
from forebay.settings import OAuth2
from forebay_worker.dial import NoAnswer
from forebay_worker.http_client import Answer, HttpClient
from forebay_worker.request import VALUE, Url

# Bytes of a token's answer that are read: tokens that carry claims take some KiB.
ANSWER_KEPT = 32 * 1024
# Seconds that a request to the token endpoint may take.
TIMEOUT = 10.0
# The share of its life after which a token is renewed, and the seconds before its end in which it is not used any more.
_RENEW_AFTER, _MARGIN = 0.8, 10.0
# Seconds that a token lives if nobody says so (`expires_in` is only recommended), and at most.
_USUAL_LIFE, _LONGEST_LIFE = 300.0, 86_400.0
# Seconds between two requests after a failure: the first, doubling up to the last.
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 30.0
# Seconds in which a token that was just fetched is not fetched anew because the destination refuses it.
_SETTLED = 10.0


class NoTokenError(Exception):
    """There is no token; the text says why, and holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token. Times on a monotonic clock."""

    value: bytes
    since: float
    renew_at: float
    ends_at: float


class Tokens:
    """The token of one destination. `told` hears of each request to the token endpoint: None, or what went wrong.

    It is also the credential that the request's head asks for its line. Raises SpecError if a Secret's file is missing.
    """

    names = frozenset(("authorization",))

    def __init__(
        self,
        settings: OAuth2,
        url: Url,
        client: HttpClient,
        read: Callable[[str], bytes],
        told: Callable[[str | None], None],
    ) -> None:
        self._settings, self._url, self._client, self._read, self._told = settings, url, client, read, told
        self._token: Token | None = None
        self.secret = b""  # of the last token, also where it was refused meanwhile
        self._fetching: asyncio.Task[None] | None = None
        self._failure = ""
        self._pause, self._not_before = _FIRST_PAUSE, 0.0
        self._login()

    def line(self) -> bytes:
        """The header line; whoever asks has called `fresh` before."""
        return b"Authorization: Bearer " + self.secret + b"\r\n"

    def forget(self) -> None:
        """A refusal of the token is for `replaced` to judge."""

    async def fresh(self) -> Token:
        """A token that is good for now. Raises NoTokenError."""
        now, token = time.monotonic(), self._token
        if token is None or now >= token.ends_at:
            return await self._fetched()
        if now >= token.renew_at and now >= self._not_before:
            _ = self._begun()  # deliveries go on with the old one
        return token

    async def replaced(self, refused: Token) -> bool:
        """Whether there is another token than the one that the destination has refused. Raises NoTokenError."""
        if self._token is refused:
            if time.monotonic() - refused.since < _SETTLED:
                return False  # a new one is no better
            self._token = None
        if self._token is None:
            await self._fetched()
        return True

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self._client.close()

    async def _fetched(self) -> Token:
        """The token of a request that began no earlier than the one that is under way."""
        before = self._token
        if self._fetching is None and time.monotonic() < self._not_before:
            raise NoTokenError(self._failure)
        await asyncio.shield(self._begun())
        if self._token is None or self._token is before:
            raise NoTokenError(self._failure)
        return self._token

    def _begun(self) -> "asyncio.Future[None]":
        """The request that is under way; a new one if there is none."""
        if self._fetching is None:
            self._fetching = asyncio.ensure_future(self._fetch())
            self._fetching.add_done_callback(self._ended)
        return self._fetching

    def _ended(self, _: "asyncio.Task[None]") -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        try:
            head, body, hidden = self._request()
            answer = await self._client.send(head, body)
            self._token = _token(answer, hidden, time.monotonic())
            self.secret = self._token.value
        except (NoAnswer, SpecError, NoTokenError) as error:
            self._failure = f"no token from {self._url.authority}: {error}"
            self._not_before = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LAST_PAUSE)
            self._told(self._failure)
        else:
            self._pause, self._not_before = _FIRST_PAUSE, 0.0
            self._told(None)

    def _login(self) -> tuple[bytes, bytes]:
        """Client id and secret, as they stand in their files now. Raises SpecError."""
        settings = self._settings
        client = self._read(settings.client_id_file) if settings.client_id_file else (settings.client_id or "").encode()
        secret = self._read(settings.secret_file)
        for value, what in ((client, settings.client_id_file or "client_id"), (secret, settings.secret_file)):
            if not value:
                raise SpecError(
                    f"destination.oauth2: {what} is empty; it takes what the token endpoint knows the worker by"
                )
        return client, secret

    def _request(self) -> tuple[bytes, bytes, tuple[str, ...]]:
        """The head and the body of a request for a token (RFC 6749 §4.4.2), with the client's login (§2.3.1).

        And every form of the secret, longest first: an endpoint may repeat what it was sent.
        """
        client, secret = self._login()
        form = {"grant_type": b"client_credentials"}
        form |= {"scope": " ".join(self._settings.scopes).encode()} if self._settings.scopes else {}
        form |= {"audience": self._settings.audience.encode()} if self._settings.audience else {}
        # Encoded before they are put together, so that a colon in the id does not end it.
        pair = base64.b64encode(f"{quote_plus(client)}:{quote_plus(secret)}".encode())
        hidden = (pair.decode(), quote_plus(secret), secret.decode("utf-8", "replace"))
        login = b""
        if self._settings.login == "Body":
            form |= {"client_id": client, "client_secret": secret}
        else:
            login = b"Authorization: Basic " + pair + b"\r\n"
        body = urlencode(form).encode()
        head = (
            f"POST {self._url.target} HTTP/1.1\r\nHost: {self._url.authority}\r\nAccept: application/json\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        ).encode()
        return head + login + b"\r\n", body, hidden


def _token(answer: Answer, hidden: Iterable[str], now: float) -> Token:
    """The token in an answer (RFC 6749 §5.1). Raises NoTokenError with what the endpoint says instead (§5.2)."""
    try:
        said = json.loads(answer.text)
    except (ValueError, RecursionError):
        said = None
    said = said if isinstance(said, dict) else {}
    if not 200 <= answer.status < 300:
        raise NoTokenError(f"HTTP {answer.status}{_complaint(said, hidden)}")
    value, kind = said.get("access_token"), said.get("token_type", "Bearer")
    if not isinstance(value, str) or not value or VALUE.fullmatch(value) is None:
        raise NoTokenError(
            "its answer has no access_token that a header can carry; is destination.auth.oauth2.tokenUrl right?"
        )
    if str(kind).lower() != "bearer":
        raise NoTokenError(f"its token is of type {str(kind)[:40]!r}, and only Bearer is known here")
    life = _life(said.get("expires_in"))
    return Token(
        value=value.encode("latin-1"),
        since=now,
        renew_at=now + life * _RENEW_AFTER,
        ends_at=now + life - min(_MARGIN, life * (1 - _RENEW_AFTER) / 2),
    )


def _complaint(said: dict[str, Any], hidden: Iterable[str]) -> str:
    """The error code and its description, on one line."""
    text = ": ".join([str(said[name]) for name in ("error", "error_description") if said.get(name)])
    for secret in hidden:
        text = text.replace(secret, "[credential]")
    text = " ".join(text.split())
    return f": {''.join(c if c.isprintable() else '?' for c in text)[:200]}" if text else ""


def _life(expires_in: Any) -> float:
    """Seconds; some servers write the number as text."""
    try:
        life = float(expires_in)
    except (TypeError, ValueError, OverflowError):
        return _USUAL_LIFE
    return min(max(life, 1.0), _LONGEST_LIFE) if life == life else _USUAL_LIFE  # noqa: PLR0124  # NaN alone is not itself
