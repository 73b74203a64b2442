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
        if time.monotonic() - self._read_at > _REREAD:
            self._refresh()
        stamp = str(int(now)).encode()
        message = (webhook_id.encode(), b".", stamp, b".", body)
        signatures = b" ".join(b"v1," + mac.signature(message) for mac in self._macs)
        return (
            b"Webhook-Id: " + message[0] + b"\r\nWebhook-Timestamp: " + stamp
            + b"\r\nWebhook-Signature: " + signatures + b"\r\n"
        )  # fmt: skip

    def _refresh(self) -> None:
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
