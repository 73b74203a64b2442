"""Where a process lives: its folder, its addresses, how it logs. The same code runs in a pod and as a local process; this alone differs."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forebay.errors import SpecError

DEFAULT_ROOT = "/etc/forebay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The few things that differ between a pod and a local process, read from the environment."""

    root: Path = Path(DEFAULT_ROOT)  # FOREBAY_ROOT
    listen: str = "0.0.0.0:8080"  # FOREBAY_LISTEN; of the endpoint
    admin_listen: str = "0.0.0.0:9090"  # FOREBAY_ADMIN_LISTEN; /healthz /readyz /metrics
    log_format: str = "json"  # FOREBAY_LOG_FORMAT: json | text
    log_level: str = "info"  # FOREBAY_LOG_LEVEL: debug | info | warning | error
    ready_file: Path | None = None  # FOREBAY_READY_FILE; the bound addresses are written here as JSON
    # FOREBAY_REPLICA; of an endpoint. No other that lives has it, and one that is started again has the same.
    replica: str = field(default_factory=lambda: os.uname().nodename)

    def find_secret(self, file: str) -> bytes | None:
        """The same of a file that need not be there, or may hold nothing yet: then None."""
        return self.read_secret(file) or None if (self.root / file).exists() else None

    def read_secret(self, file: str) -> bytes:
        """The bytes of a Secret's file, without the newline an editor leaves at the end. Raises SpecError."""
        path = self.root / file
        try:
            return path.read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise SpecError(f"secret file {path} can not be read ({error.strerror}); is the Secret mounted?") from error


def runtime(environ: Mapping[str, str] = os.environ) -> Runtime:
    """The Runtime that FOREBAY_… variables describe. Raises SpecError that names every one that is wrong."""
    faults = [
        f"{name} is {value!r}; it takes {' or '.join(allowed)}"
        for name, allowed in _CHOICES.items()
        if (value := environ.get(name)) and value not in allowed
    ]
    faults += [
        f"{name} is {value!r}; it takes HOST:PORT"
        for name in ("FOREBAY_LISTEN", "FOREBAY_ADMIN_LISTEN")
        if (value := environ.get(name)) and not _ADDRESS.fullmatch(value)
    ]
    if (value := environ.get("FOREBAY_REPLICA")) and not _REPLICA.fullmatch(value):
        faults.append(f"FOREBAY_REPLICA is {value!r}; it takes a name of letters, digits, dots, - and _")
    if faults:
        raise SpecError("; ".join(faults))
    given = {name: environ[key] for key, name in _VARIABLES.items() if environ.get(key)}
    paths = {name: Path(given.pop(name)) for name in ("root", "ready_file") if name in given}
    return Runtime(**given, **paths)  # type: ignore[arg-type]  # the two dicts hold what their fields take


_PORT = r"[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_ADDRESS = re.compile(rf"(\[[0-9a-fA-F:.]*\]|[A-Za-z0-9._-]{{0,253}}):({_PORT})")
_REPLICA = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}")
_CHOICES = {
    "FOREBAY_LOG_FORMAT": ("json", "text"),
    "FOREBAY_LOG_LEVEL": ("debug", "info", "warning", "error"),
}
_VARIABLES = {
    "FOREBAY_ROOT": "root",
    "FOREBAY_LISTEN": "listen",
    "FOREBAY_ADMIN_LISTEN": "admin_listen",
    "FOREBAY_LOG_FORMAT": "log_format",
    "FOREBAY_LOG_LEVEL": "log_level",
    "FOREBAY_READY_FILE": "ready_file",
    "FOREBAY_REPLICA": "replica",
}
