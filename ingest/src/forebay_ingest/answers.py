"""Every answer the endpoint can give, as bytes. An accepted webhook's answer is all but ready before it comes.

Refusals carry a problem document (RFC 9457) that says what to do and nothing about the inside.
"""

import json
import time
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from forebay.errors import SpecError
from forebay.settings import Answer, is_endpoints
from forebay.signatures.replies import Reply

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused: a stable word for metrics and logs, the status, a sentence for the sender."""

    cause: str
    status: int
    detail: str
    retry: bool = False  # whether Retry-After invites a later try
    close: bool = False  # the connection can not go on: what follows on it may be the rest of this request


NOT_FOUND = Refusal("not-found", 404, "No webhook source answers at this path.")
METHOD = Refusal("method", 405, "This source does not take this method.")
CONTENT_TYPE = Refusal("content-type", 415, "This source does not take this content type.", close=True)
TOO_LARGE = Refusal("too-large", 413, "The body is larger than this source takes.", close=True)
HEADERS_TOO_LARGE = Refusal("headers-too-large", 431, "The headers are larger than this source takes.", close=True)
BAD_REQUEST = Refusal("bad-request", 400, "This is not a request that HTTP/1.1 allows.", close=True)
SLOW = Refusal("slow", 408, "The request took too long to arrive.", close=True)
CLIENT = Refusal("client", 403, "This source takes no webhooks from this address.", close=True)
RATE_LIMITED = Refusal("rate-limited", 429, "This is faster than this source takes webhooks.", retry=True)
SIGNATURE = Refusal("signature", 401, "The signature does not verify.")
VERIFY_TOKEN = Refusal("verify-token", 403, "The verify token is not the one of this source.")
CHALLENGE = Refusal("challenge", 400, "The challenge is not a short text of letters, digits and a few signs.")
CAPTURE = Refusal("capture", 409, "Nothing of this kind is awaited at this moment, or it has just come.")

# Ours to mend, so every one of them tells the provider to come back.
SUSPENDED = Refusal("suspended", 503, "This source is suspended.", retry=True)
OVERLOADED = Refusal("overloaded", 503, "Too much is being received at this moment.", retry=True, close=True)
CONNECTIONS = Refusal("connections", 503, "Too many connections are open.", retry=True, close=True)
KEYS = Refusal("keys", 503, "The provider's keys could not be fetched.", retry=True)
CONFIRMATION = Refusal("confirmation", 503, "The subscription could not be confirmed.", retry=True)
UNHANDLED = Refusal("unhandled", 503, "The webhook could not be taken.", retry=True, close=True)

_STORE = "The webhook could not be stored safely."
STORAGE = Refusal("storage", 503, _STORE, retry=True)
BUFFER_FULL = Refusal("buffer-full", 503, _STORE, retry=True)
BROKER_REFUSALS = {
    cause: Refusal(cause, 503, _STORE, retry=True)
    for cause in ("unroutable", "refused", "timeout", "disconnected", "blocked", "down", "busy")
}

# Every refusal there is: each is counted from 0 on, so that the first of its kind is an increase.
REFUSALS = (
    NOT_FOUND, METHOD, CONTENT_TYPE, TOO_LARGE, HEADERS_TOO_LARGE, BAD_REQUEST, SLOW, SIGNATURE,
    VERIFY_TOKEN, CHALLENGE, CAPTURE, CLIENT, RATE_LIMITED,
    SUSPENDED, OVERLOADED, CONNECTIONS, KEYS, CONFIRMATION, UNHANDLED, STORAGE, BUFFER_FULL,
    *BROKER_REFUSALS.values(),
)  # fmt: skip


class Answers:
    """Makes answers; `tick` must be called about once a second to keep the date right (RFC 9110 §6.6.1).

    Raises SpecError for headers of the accepted answer that would break it.
    """

    def __init__(self, accepted: Answer, *, retry_after_s: int, allow: tuple[str, ...]) -> None:
        self._retry_after = f"Retry-After: {retry_after_s}\r\n"
        self._allow = f"Allow: {', '.join(allow)}\r\n"
        self._body = b"" if accepted.status == HTTPStatus.NO_CONTENT else accepted.body.encode()
        self._head = _status_line(accepted.status) + _accepted_head(accepted, len(self._body))
        self._date = ""
        self._before_id = b""
        self._refused: dict[tuple[str, bool, bool], bytes] = {}  # made once a tick: refusing must cost less than asking
        self.tick(time.time())

    def tick(self, now: float) -> None:
        """Take over the time."""
        self._date = f"Date: {formatdate(now, usegmt=True)}\r\n"
        self._before_id = (self._head + self._date + "X-Forebay-Id: ").encode("latin-1")
        self._refused.clear()

    def accepted(self, event_id: bytes, *, close: bool) -> bytes:
        """The 2xx of a webhook that is safe."""
        if close:
            return self._before_id + event_id + b"\r\nConnection: close\r\n\r\n" + self._body
        return self._before_id + event_id + b"\r\n\r\n" + self._body

    def replied(self, reply: Reply, *, close: bool, head_only: bool = False) -> bytes:
        """The answer of a handshake."""
        headers = list(reply.headers)
        if reply.status != HTTPStatus.NO_CONTENT:
            headers.insert(0, ("Content-Length", str(len(reply.body))))
        if close:
            headers.append(("Connection", "close"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        head = (_status_line(reply.status) + self._date + lines + "\r\n").encode("latin-1")
        return head if head_only else head + reply.body

    def refused(self, refusal: Refusal, *, close: bool, head_only: bool = False) -> bytes:
        """The honest no. `head_only` is for answers to HEAD, which have no body."""
        which = (refusal.cause, close, head_only)
        answer = self._refused.get(which)
        if answer is None:
            answer = self._refused[which] = self._refusal(refusal, close=close, head_only=head_only)
        return answer

    def _refusal(self, refusal: Refusal, *, close: bool, head_only: bool) -> bytes:
        title = HTTPStatus(refusal.status).phrase
        problem = {
            "type": f"https://forebay.dev/problems/{refusal.cause}",
            "title": title,
            "status": refusal.status,
            "detail": refusal.detail,
        }
        body = json.dumps(problem).encode() + b"\n"
        head = (
            f"HTTP/1.1 {refusal.status} {title}\r\n{self._date}"
            f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
            + (self._allow if refusal.status == HTTPStatus.METHOD_NOT_ALLOWED else "")
            + (self._retry_after if refusal.retry else "")
            + ("Connection: close\r\n" if close else "")
            + "\r\n"
        )
        return head.encode() if head_only else head.encode() + body


def _status_line(status: int) -> str:
    # A status without a registered phrase (299) has none; the space before it stays (RFC 9112 §4).
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    return f"HTTP/1.1 {status} {phrase}\r\n"


def _accepted_head(accepted: Answer, length: int) -> str:
    for name, _ in accepted.headers:
        if is_endpoints(name):
            raise SpecError(f"answer.headers: {name} is written by the endpoint itself; leave it out")
    headers = list(accepted.headers)
    if length:
        headers.insert(0, ("Content-Type", accepted.content_type))
    for name, value in headers:
        if not (name + value).isprintable() or not (name + value).isascii():
            raise SpecError(f"answer: header {name} takes printable ASCII text on one line")
    if accepted.status != HTTPStatus.NO_CONTENT:  # RFC 9110 §8.6: no Content-Length in a 204
        headers.insert(0, ("Content-Length", str(length)))
    return "".join(f"{name}: {value}\r\n" for name, value in headers)
