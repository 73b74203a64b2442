"""The request a destination gets: its head as prepared bytes around the original headers. Reads nothing but rotated secrets.

What is the same for every webhook is encoded once. A name or value that could begin a line of its own never gets into a head:
static headers are refused at the start, original ones are cut at every CR and LF and lose what is no header then.
"""

import base64
import re
import time
from collections.abc import AsyncIterable, Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Protocol
from urllib.parse import quote, urlsplit

from forebay.envelope import Envelope
from forebay.errors import SpecError
from forebay.placeholders import templated
from forebay.settings import Auth, Destination
from forebay_worker.signing import HEADERS as SIGNED_HEADERS
from forebay_worker.signing import Signer
from forebay_worker.target import PATH_SAFE, QUERY_SAFE, Target, Unfit

# Written by Forebay itself, for each webhook; a stranger's would be believed.
_OWN = frozenset(
    (
        "idempotency-key", "traceparent", "x-forebay-id", "x-forebay-source", "x-forebay-attempt",
        "x-forebay-received-at", "x-forebay-event-type", "x-forebay-target", "x-forebay-replayed-from",
    )
)  # fmt: skip
# Original headers that are not passed on; the reference has the same table.
LEFT_OUT = _OWN | frozenset(
    (
        # of the connection they came on (RFC 9110 §7.6.1)
        "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization",
        "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
        # of the request that is made anew
        "host", "content-length", "expect", "accept-encoding",
        # about the way to the endpoint, and meant for it
        "cookie", "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix",
        "x-forwarded-proto", "x-forwarded-scheme", "x-forwarded-server", "x-real-ip", "x-request-start",
    )
)  # fmt: skip
# Headers that decide where a request ends: nobody but the client writes them.
_FRAMING = frozenset(
    ("connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_HEADER_NAME = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):")
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?")
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
# Names seen are remembered with their verdict; strangers choose names, so the memory has a bound.
_REMEMBERED = 1_000
# Seconds after which a credential's file is read again.
_REREAD = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """A destination's URL, taken apart."""

    secure: bool
    host: str
    port: int
    authority: str  # for the Host header
    target: str  # path and query


def parse_url(text: str, setting: str = "destination.url") -> Url:
    """Take a URL apart; `setting` is where it stands. Raises SpecError with the remedy."""
    try:
        parts = urlsplit(text.strip())
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise SpecError(f"{setting} {text!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise SpecError(f"{setting} {text!r} takes http://HOST[:PORT]/PATH or https://…")
    if parts.username is not None:
        raise SpecError(f"{setting} holds credentials; put them into a Secret and name it in destination.auth")
    secure = parts.scheme == "https"
    name = _host(host)
    if name is None:
        raise SpecError(f"{setting} {text!r} has a host that is neither a name nor an address")
    usual = 443 if secure else 80
    shown = f"[{name}]" if ":" in name else name
    path = quote(parts.path or "/", safe=PATH_SAFE)
    query = quote(parts.query, safe=QUERY_SAFE)
    return Url(
        secure=secure,
        host=name,
        port=port or usual,
        authority=shown if port in (None, usual) else f"{shown}:{port}",
        target=f"{path}?{query}" if query else path,
    )


def _host(text: str) -> str | None:
    try:
        if ":" in text:
            return str(IPv6Address(text))
        name = text.encode("idna").decode("ascii")
    except ValueError:
        return None
    return name if _NAME.fullmatch(name) else None


class Unsendable(Exception):
    """An envelope that can not be made into a request; the text says why."""


class Credential(Protocol):
    """Proves to the destination who the worker is."""

    @property
    def names(self) -> AbstractSet[str]:
        """The headers it takes for itself, in lower case."""

    @property
    def secret(self) -> bytes:
        """What of the line nobody may read."""

    def line(self) -> bytes:
        """The header line of the next request."""

    def forget(self) -> None:
        """The destination does not like the present one."""


class RequestWriter:
    """Writes the heads of requests to one destination. `read` reads a Secret's file, again every few seconds."""

    def __init__(
        self, destination: Destination, url: Url, read: Callable[[str], bytes], credential: Credential | None = None
    ) -> None:
        self._destination = destination
        self._method = _fixed_method(destination.method)
        self._auth = credential or _Fixed(destination.auth, read)
        self._signer = Signer(destination.signing_files, read) if destination.signing_files else None
        signed = SIGNED_HEADERS if self._signer else frozenset()
        static = {name.lower() for name, _ in destination.headers} | self._auth.names | signed
        self._target = Target(destination.url, destination.source_path) if templated(destination.url) else None
        self._start = self._constant(url, static)
        self._left_out = LEFT_OUT | static
        self._verdicts: dict[bytes, bool] = {}
        self._received = (-1, "")

    @property
    def signs(self) -> bool:
        """Whether a request's head depends on its body."""
        return self._signer is not None

    def write(self, envelope: Envelope, signed: bytes | None = None) -> tuple[str, bytes]:
        """The method and the head of the next attempt's request. Raises Unsendable.

        `signed` is from `sign`, for a body that is not in the envelope.
        """
        method = self._method or _checked_method(envelope.method)
        head = b"".join((
            method.encode(), self._start if self._target is None else self._begun(self._target, envelope), self._auth.line(), self._passed_on(envelope.header_block),
            signed if signed is not None else self._signed(self._signer, envelope) if self._signer else b"",
            self._own(envelope, method).encode("latin-1", "replace"),
        ))  # fmt: skip
        return method, head

    def renew(self) -> None:
        """Read the credential again before the next request: the destination does not like the present one."""
        self._auth.forget()

    def without_credential(self, text: bytes) -> bytes:
        """An answer's text without the credential, for a destination that repeats what it was sent."""
        secret = self._auth.secret
        if not secret:
            return text
        text = text.replace(secret, b"[credential]")
        # What was kept of the answer may end amid it.
        cut = next((n for n in range(min(len(secret), len(text)), 3, -1) if text.endswith(secret[:n])), 0)
        return text[:-cut] + b"[credential]" if cut else text

    async def sign(self, envelope: Envelope, pieces: AsyncIterable[bytes]) -> bytes:
        """The signature's header lines, if requests are signed, over a body that comes in pieces. Raises Unsendable."""
        if self._signer is None:
            return b""
        signing = self._signer.begin(_signable(envelope.id), time.time())
        async for piece in pieces:
            signing.take(piece)
        return signing.lines()

    def _signed(self, signer: Signer, envelope: Envelope) -> bytes:
        return signer.lines(_signable(envelope.id), envelope.body, time.time())

    def _constant(self, url: Url, static: set[str]) -> bytes:
        for name, value in self._destination.headers:
            _check_header(name, value)
        host = [] if "host" in static else [f"Host: {url.authority}"]
        first = f" {url.target} HTTP/1.1" if self._target is None else " HTTP/1.1"
        lines = [first, *host, *(f"{name}: {value}" for name, value in self._destination.headers)]
        return "".join(f"{line}\r\n" for line in lines).encode("latin-1")

    def _begun(self, target: Target, envelope: Envelope) -> bytes:
        try:
            return b" " + target.of(envelope).encode() + self._start
        except Unfit as error:
            raise Unsendable(str(error)) from error

    def _own(self, envelope: Envelope, method: str) -> str:
        size = len(envelope.body) if envelope.claim is None else envelope.claim.size
        length = f"Content-Length: {size}\r\n" if size or method not in ("GET", "HEAD", "DELETE", "OPTIONS") else ""
        lines = (
            f"{length}Idempotency-Key: {_clean(envelope.id)}\r\n"
            f"X-Forebay-Id: {_clean(envelope.id)}\r\n"
            f"X-Forebay-Source: {_clean(envelope.source)}\r\n"
            f"X-Forebay-Attempt: {envelope.attempts_made + 1}\r\n"
            f"X-Forebay-Received-At: {self._time(envelope.received_at)}\r\n"
            f"X-Forebay-Target: {_clean(envelope.target)}\r\n"
        )
        optional = (
            ("X-Forebay-Event-Type", envelope.event_type),
            ("X-Forebay-Replayed-From", envelope.replayed_from),
            ("traceparent", envelope.traceparent),
        )
        return lines + "".join([f"{name}: {_clean(value)}\r\n" for name, value in optional if value]) + "\r\n"

    def _time(self, ms: int) -> str:
        second, rest = divmod(ms, 1000)
        if self._received[0] != second:  # webhooks of one second come together
            self._received = (second, _shown_second(second))
        return f"{self._received[1]}.{rest:03d}Z"

    def _passed_on(self, block: bytes) -> bytes:
        """The original headers that are passed on, as they came."""
        lines = block.splitlines()  # at every CR and LF, not only at the pairs
        verdicts = self._verdicts
        try:
            kept = [line for line in lines if verdicts[line[: line.find(b":") + 1]]]
        except KeyError:
            self._learn(lines)
            return self._passed_on(block)
        if b"\0" in block:
            kept = [line for line in kept if b"\0" not in line]
        nominated = _nominated(block) if b"onnection:" in block else ()
        if nominated:
            kept = [line for line in kept if line.partition(b":")[0].lower() not in nominated]
        return b"\r\n".join((*kept, b"")) if kept else b""

    def _learn(self, lines: Iterable[bytes]) -> None:
        if len(self._verdicts) > _REMEMBERED:
            self._verdicts.clear()
        for line in lines:
            name = line[: line.find(b":") + 1]
            match = _HEADER_NAME.fullmatch(name)
            self._verdicts[name] = match is not None and match[1].decode().lower() not in self._left_out


class _Fixed:
    """The line that proves who the worker is; its file is read again when it may have been rotated."""

    def __init__(self, auth: Auth, read: Callable[[str], bytes]) -> None:
        self._auth = auth
        self._read = read
        self._value = b""
        self._read_at = 0.0
        self.secret = b""
        self.names: set[str] = set()
        if auth.kind != "None":
            name = auth.header if auth.kind == "APIKey" else "Authorization"
            _check_header(name, "")
            self.names = {name.lower()}
            self._name = name.encode()
            self._refresh()  # a missing file stops the start, a file that goes missing later does not stop the work

    def line(self) -> bytes:
        if self._auth.kind != "None" and time.monotonic() - self._read_at > _REREAD:
            try:
                self._refresh()
            except SpecError:
                self._read_at = time.monotonic()  # being rotated, perhaps; the known value may still be good
        return self._value

    def forget(self) -> None:
        self._read_at = 0.0

    def _refresh(self) -> None:
        encoded = self._encoded()
        value = encoded.decode("latin-1")
        if VALUE.fullmatch(value) is None:
            raise SpecError(f"{self._auth.file} holds characters that no header can carry (a line break, perhaps)")
        self._value = self._name + b": " + encoded + b"\r\n"
        self.secret = encoded.removeprefix(b"Bearer ").removeprefix(b"Basic ")
        self._read_at = time.monotonic()

    def _encoded(self) -> bytes:
        auth = self._auth
        if auth.file is None:
            raise SpecError(f"destination.auth.file is missing; {auth.kind} takes its credential from a Secret's file")
        secret = self._read(auth.file)
        if not secret:
            raise SpecError(f"{auth.file} is empty; it should hold the {auth.kind} credential of the destination")
        match auth.kind:
            case "Bearer":
                return b"Bearer " + secret
            case "Basic":
                user = self._read(auth.username_file) if auth.username_file else (auth.username or "").encode()
                return b"Basic " + base64.b64encode(user + b":" + secret)
            case _:
                return secret


def _signable(webhook_id: str) -> str:
    """What is signed is what stands in the header: an id that no header can carry has no signature."""
    if not (webhook_id.isascii() and webhook_id.isprintable()):
        raise Unsendable("its id has characters that no header can carry, so that it can not be signed")
    return webhook_id


def _fixed_method(method: str | None) -> str | None:
    try:
        return method and _checked_method(method)
    except Unsendable as error:
        raise SpecError(f"destination.method: {error}; it takes POST, PUT, PATCH or another one in capitals") from error


def _checked_method(method: str) -> str:
    if _METHOD.fullmatch(method) is None or method == "CONNECT":
        raise Unsendable(f"{method[:40]!r} is no method a destination can be called with")
    return method


def _check_header(name: str, value: str) -> None:
    if _TOKEN.fullmatch(name) is None or VALUE.fullmatch(value) is None:
        raise SpecError(f"destination header {name!r} has characters that HTTP does not allow in a header")
    if name.lower() in _FRAMING:
        raise SpecError(f"destination header {name!r} is set by the client itself; leave it out")
    if name.lower() in _OWN:
        raise SpecError(f"destination header {name!r} is set by Forebay for each webhook; leave it out or rename it")


def _clean(value: str) -> str:
    """A value for a header line: what could end the line becomes a question mark."""
    return value if value.isprintable() else re.sub(r"[^\t\x20-\x7e\x80-\xff]", "?", value)


def _nominated(block: bytes) -> frozenset[bytes]:
    """Headers that the original Connection header calls its own (RFC 9110 §7.6.1)."""
    values = [line.partition(b":")[2] for line in block.splitlines() if line.lower().startswith(b"connection:")]
    return frozenset(name.strip().lower() for name in b",".join(values).split(b",")) - {b"", b"close", b"keep-alive"}


def _shown_second(second: int) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    except (OverflowError, ValueError, OSError):
        return "1970-01-01T00:00:00"
