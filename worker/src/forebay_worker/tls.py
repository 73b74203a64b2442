"""TLS towards one server: whom to trust, and who the worker is. Follows its files when a Secret is rotated.

A kubelet puts another file in place of a rotated one, so before each new connection the files are looked at, and read again
if they are others. Open connections stay as they are; none lives longer than a few minutes.
"""

import contextlib
import ssl
from dataclasses import dataclass
from pathlib import Path

from forebay.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What TLS is made of; paths relative to FOREBAY_ROOT."""

    ca: str | None = None  # PEM; None: the system's
    certificate: str | None = None  # PEM, of the worker itself, with those between it and its CA
    key: str | None = None  # PEM, of the certificate
    insecure: bool = False  # trust anybody


class Tls:
    """Gives the context for the next connection. Raises SpecError for files that can not be used; later it keeps the last good ones."""

    def __init__(self, files: Files, root: Path) -> None:
        self._files = files
        self._root = root
        self._seen = self._look()
        self._context = self._made()

    def __call__(self) -> ssl.SSLContext:
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            with contextlib.suppress(SpecError):  # half of it is rotated, perhaps; what is known may still be good
                self._context = self._made()
        return self._context

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        """What changes when another file is in place of one."""
        return tuple(_identity(self._root / file) for file in (self._files.ca, *self._chain()) if file)

    def _chain(self) -> tuple[str, ...]:
        return tuple(file for file in (self._files.certificate, self._files.key) if file)

    def _made(self) -> ssl.SSLContext:
        context = self._trusting()
        context.set_alpn_protocols(["http/1.1"])
        if self._files.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._files.certificate:
            self._identify(context, self._root / self._files.certificate, self._files.key)
        return context

    def _trusting(self) -> ssl.SSLContext:
        file = self._files.ca and str(self._root / self._files.ca)
        try:
            return ssl.create_default_context(cafile=file or None)
        except (OSError, ssl.SSLError) as error:
            raise SpecError(f"destination.ca_file {file} is no file of PEM certificates: {error}") from error

    def _identify(self, context: ssl.SSLContext, certificate: Path, key: str | None) -> None:
        try:
            # Without an answer OpenSSL would ask for a passphrase at the terminal.
            context.load_cert_chain(certificate, key and self._root / key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            raise SpecError(
                f"destination.client_cert_file {certificate} with its key can not be used: {_sentence(error)};"
                " it takes PEM, with a key that belongs to it and has no passphrase"
            ) from None


def _identity(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _sentence(error: OSError) -> str:
    """OpenSSL's word for it; nothing of what stands in a file."""
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return (reason or "it is no PEM").replace("_", " ").lower()
