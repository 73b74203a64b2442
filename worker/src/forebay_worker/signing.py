"""A signature of our own on each delivery, by Standard Webhooks: the destination knows that it comes from here, unchanged.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: over the id, which is the same for
every attempt, the time of this attempt, and the body. Each secret signs, so that the destination can take up a new one at its leisure.
"""

import time
from collections.abc import Callable

from forebay.errors import SpecError
from forebay.signatures.mac import Mac
from forebay.signatures.presets import preset

HEADERS = frozenset(("webhook-id", "webhook-timestamp", "webhook-signature"))
# Seconds after which the secrets' files are read again.
_REREAD = 5.0


class Signing:
    """One signature under way."""

    def __init__(self, macs: tuple[Mac, ...], webhook_id: bytes, stamp: bytes) -> None:
        self._webhook_id = webhook_id
        self._stamp = stamp
        self._macs = [mac.begun((webhook_id, b".", stamp, b".")) for mac in macs]

    def take(self, piece: bytes) -> None:
        """Take what comes next of the body."""
        for mac in self._macs:
            mac.take(piece)

    def lines(self) -> bytes:
        """The header lines, when the body is complete."""
        return _lines(self._webhook_id, self._stamp, [mac.signature(()) for mac in self._macs])


def _lines(webhook_id: bytes, stamp: bytes, signatures: list[bytes]) -> bytes:
    return (
        b"Webhook-Id: " + webhook_id + b"\r\nWebhook-Timestamp: " + stamp
        + b"\r\nWebhook-Signature: " + b" ".join([b"v1," + one for one in signatures]) + b"\r\n"
    )  # fmt: skip


class Signer:
    """Signs with the secrets in some files. Raises SpecError for one that can not be used; later it keeps the last good ones."""

    def __init__(self, files: tuple[str, ...], read: Callable[[str], bytes]) -> None:
        self._files = files
        self._read = read
        self._scheme = preset("StandardWebhooks").scheme
        self._macs = self._keyed()
        self._read_at = time.monotonic()

    def lines(self, webhook_id: str, body: bytes, now: float) -> bytes:
        """The header lines of an attempt that is made now (seconds since 1970)."""
        self._look()
        stamp = str(int(now)).encode()
        message = (webhook_id.encode(), b".", stamp, b".", body)
        return _lines(message[0], stamp, [mac.signature(message) for mac in self._macs])

    def begin(self, webhook_id: str, now: float) -> "Signing":
        """The same for a body that comes in pieces."""
        self._look()
        return Signing(self._macs, webhook_id.encode(), str(int(now)).encode())

    def _look(self) -> None:
        if time.monotonic() - self._read_at <= _REREAD:
            return
        self._read_at = time.monotonic()
        try:
            self._macs = self._keyed()
        except SpecError:
            return  # being rotated, perhaps; the known secrets may still be good

    def _keyed(self) -> tuple[Mac, ...]:
        return tuple(self._mac(file) for file in self._files)

    def _mac(self, file: str) -> Mac:
        try:
            return Mac(self._scheme, self._read(file))
        except SpecError as error:
            raise SpecError(f"destination.signing_files: {file} {error}; it takes whsec_ and base64") from None
