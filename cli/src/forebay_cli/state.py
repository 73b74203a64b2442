"""What is noted down about sources that run on this machine, so that the other commands find them.

HOME/NAMESPACE.NAME/dev.json     where the running source is; its broker login stands in it, so it is for us alone
HOME/NAMESPACE.NAME/dev.lock     held as long as it runs: a crash releases it too
HOME/NAMESPACE.NAME/suspend      what `forebay pause` wishes of it
HOME/NAMESPACE.NAME/source.json  the source itself
HOME/NAMESPACE.NAME/secrets/     signing secrets, NAME/KEY each
HOME/NAMESPACE.NAME/logs/        what its processes print
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from forebay.errors import SpecError
from forebay.settings import dump, load
from forebay.suspend import Suspend
from forebay.topology import DEFAULT_QUEUE
from forebay_cli.private import make_private_folder, write_private


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProcess:
    name: str
    state: str  # starting | ready | restarting | stopped
    pid: int | None = None
    admin: str | None = None  # HOST:PORT
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A source that `forebay dev` runs at present."""

    source: str  # "namespace/name"
    pid: int  # of forebay dev
    urls: tuple[str, ...]
    broker: str = field(repr=False)  # AMQP URI, with a login that may do everything with the source's queues
    management: str  # URL of the management API, without a login
    private: bool  # whether the broker is its own
    vhost: str = "/"
    queues: tuple[str, ...] = (DEFAULT_QUEUE,)  # short names
    logs: str = ""
    processes: tuple[RunningProcess, ...] = ()
    suspend: Suspend = "None"  # as it is followed at present


class Notes:
    """The folder of one source."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Have the source for ourselves. Raises SpecError if it runs already."""
        make_private_folder(self.folder)
        with (self.folder / "dev.lock").open("a+") as lock:
            if not _lock(lock):
                raise SpecError(f"{self.folder.name} runs already; stop it with Ctrl-C where it does, or use it")
            try:
                yield
            finally:
                for name in ("dev.json", "suspend"):
                    (self.folder / name).unlink(missing_ok=True)

    def save(self, running: Running) -> None:
        self._write("dev.json", dump(running))

    def wish(self, suspend: str) -> None:
        """Ask the running source to rest so."""
        self._write("suspend", suspend)

    def wished(self) -> str | None:
        """What it was last asked, None if nothing since it runs."""
        try:
            return (self.folder / "suspend").read_text(encoding="utf-8")
        except OSError:
            return None

    def save_source(self, source: Mapping[str, object]) -> None:
        self._write("source.json", json.dumps(source, indent=2))

    def running(self) -> Running | None:
        """The source, if it runs now."""
        try:
            with (self.folder / "dev.lock").open() as lock:
                return None if _lock(lock) else load(Running, self.folder / "dev.json")
        except (OSError, SpecError):
            return None  # it never ran, or is about to start or to end

    def secret_file(self, name: str, key: str) -> Path:
        return self.folder / "secrets" / name / key

    def _write(self, name: str, text: str) -> None:
        """All at once: a reader never sees half of it."""
        partial = self.folder / f".{name}.partial"
        write_private(partial, text.encode())
        partial.replace(self.folder / name)


class Home:
    """The folder with the notes on all sources of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def notes(self, source: str) -> Notes:
        """The notes on "namespace/name"; neither part can hold a dot."""
        return Notes(self.folder / source.replace("/", "."))

    def running(self) -> list[Running]:
        """Every source that runs now."""
        folders = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        return [running for folder in folders if (running := Notes(folder).running())]

    def only(self, source: str | None = None) -> Running | None:
        """The running source that is meant, by its name with or without namespace; None if none runs.

        Raises SpecError if it could be several.
        """
        found = [r for r in self.running() if source in (None, r.source, r.source.partition("/")[2])]
        if len(found) > 1:
            names = ", ".join(running.source for running in found)
            raise SpecError(f"several sources run here: {names}; say which with --source")
        return found[0] if found else None


def default_home(environ: Mapping[str, str]) -> Path:
    """The folder that the XDG Base Directory specification says."""
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "forebay"


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
