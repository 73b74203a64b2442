"""One HTTP attempt: an envelope goes in, an Outcome comes out. Never raises for an answer, a timeout or no answer."""

import codecs
import re
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path

from forebay import addresses
from forebay.envelope import Envelope
from forebay.settings import Destination
from forebay.storage import Storage
from forebay_worker.dial import Dialer, NoAnswer, Origin
from forebay_worker.http_client import Answer, HttpClient
from forebay_worker.outcome import Buried, Delivered, Outcome, Refused, Unreachable
from forebay_worker.request import Credential, RequestWriter, Unsendable, Url, parse_url
from forebay_worker.retry import UNDELIVERABLE
from forebay_worker.tls import Files, Tls

# Characters of a refusal's body that go into the attempt's error text.
_TEXT_SHOWN = 200
# How a destination says that it wants no further attempt, as Svix reads it: https://docs.svix.com/receiving/delivery-control
_CONTROL, _ABORT = "Webhook-Delivery", "abort-message"
_SECONDS = re.compile(r"[0-9]{1,12}")


class HttpDelivery:
    """Delivers to one HTTP destination. Made on a running loop; raises SpecError for settings that can not work."""

    def __init__(
        self,
        destination: Destination,
        *,
        root: Path,
        read: Callable[[str], bytes],
        credential: Credential | None = None,
    ) -> None:
        url = parse_url(destination.url)
        self._writer = RequestWriter(destination, url, read, credential)
        self._client = HttpClient(
            dialer(url, destination, _files(destination), root),
            connect_timeout=destination.connect_timeout_s,
            timeout=destination.timeout_s,
        )

    async def __call__(self, envelope: Envelope) -> Outcome:
        try:
            method, head = self._writer.write(envelope)
            answer = await self._client.send(head, envelope.body, bodyless=method == "HEAD")
        except (NoAnswer, Unsendable) as error:
            return _unanswered(error)
        return Delivered(answer.status) if 200 <= answer.status < 300 else self._refused(answer)

    async def stream(self, envelope: Envelope, storage: Storage) -> Outcome:
        """The same for a webhook whose body is in the storage, and never all of it in memory. Raises StorageError."""
        assert envelope.claim is not None
        try:
            # A signature comes before the body: then it is fetched twice.
            signed = await self._writer.sign(envelope, storage.get(envelope.claim)) if self._writer.signs else b""
            method, head = self._writer.write(envelope, signed)
            pieces = await _begun(storage.get(envelope.claim))
            answer = await self._client.stream(head, pieces, bodyless=method == "HEAD")
        except (NoAnswer, Unsendable) as error:
            return _unanswered(error)
        return Delivered(answer.status) if 200 <= answer.status < 300 else self._refused(answer)

    def stuck(self) -> str | None:
        """Nothing here can hang beyond its timeout."""
        return None

    async def close(self) -> None:
        await self._client.close()

    def _refused(self, answer: Answer) -> Refused:
        if answer.status in (401, 403):
            self._writer.renew()  # the credential may have been rotated a moment ago
        answer.text = self._writer.without_credential(answer.text)
        return refused(answer, time.time())


async def _begun(pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The same pieces, the first of which is there: nobody is called for a body that can not be had."""
    first = await anext(pieces)

    async def all_of_them() -> AsyncGenerator[bytes]:
        async with aclosing(pieces):
            yield first
            async for piece in pieces:
                yield piece

    return all_of_them()


def _unanswered(error: NoAnswer | Unsendable) -> Outcome:
    if isinstance(error, NoAnswer):
        return Unreachable(str(error), error.cause)
    return Buried(UNDELIVERABLE, str(error))


def refused(answer: Answer, now: float) -> Refused:
    """The outcome of an answer that is no 2xx."""
    text = "" if "Content-Encoding" in answer.headers else readable(answer.text)
    line = " ".join(text.split())[:_TEXT_SHOWN]
    return Refused(
        answer.status,
        f"HTTP {answer.status}: {line}" if line else f"HTTP {answer.status}",
        retry_after(answer.headers.get("Retry-After"), now),
        answer=text,
        abort=answer.headers.get(_CONTROL, "").strip().lower() == _ABORT,
    )


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110 §10.2.3); None if it says nothing that can be read."""
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def dialer(url: Url, destination: Destination, files: Files, root: Path) -> Dialer:
    """The way to a server of the destination's, within its bounds. Raises SpecError for certificates that can not be used."""
    origin = Origin(host=url.host, port=url.port, tls=Tls(files, root) if url.secure else None)
    return Dialer(origin, _refusal(destination))


def _files(destination: Destination) -> Files:
    return Files(
        ca=destination.ca_file,
        certificate=destination.client_cert_file,
        key=destination.client_key_file,
        insecure=destination.insecure_skip_verify,
    )


def _refusal(destination: Destination) -> Callable[[str], str | None]:
    return partial(
        addresses.refusal, allow_private=destination.allow_private, allow_loopback=destination.allow_loopback
    )


def readable(body: bytes) -> str:
    """The beginning of a body as text that harms no screen; "" for one that is no text."""
    if b"\0" in body[:16]:  # no text begins so; one that merely holds a stray byte is worth reading
        return ""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(body)  # leaves out a character that was cut
    lines = text.replace("\r\n", "\n")
    return "".join(char if char.isprintable() or char in "\n\t" else " " for char in lines).strip()
