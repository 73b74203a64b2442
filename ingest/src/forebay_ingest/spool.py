"""Bodies that are too large for memory, on disk while they come in: in files without a name, which go with the process.

Nothing of this is durable, and nothing needs to be: no webhook is answered 2xx for what stands here.
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from forebay.errors import SpecError
from forebay.signatures.verify import Streamed

# Bytes of a body that may wait to be written; then its sender has to wait.
_WAITING = 128 * 1024
# Writing and hashing are done in so many threads beside the loop.
_THREADS = 2


class Spool:
    """The bodies of one process. Raises SpecError if nothing can be written there."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit  # bytes of all bodies together
        self.held = 0
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="spool")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise SpecError(f"large bodies can not be kept in {folder} while they come in: {error.strerror}") from error

    @property
    def exhausted(self) -> bool:
        return self.held > self.limit


class Spooled:
    """One body. `flow` is called when more of it may come, and when it can not be written."""

    def __init__(self, spool: Spool, check: Streamed | None, flow: Callable[[], None]) -> None:
        """Raises OSError."""
        self.size = 0
        self.error: BaseException | None = None
        self._spool = spool
        self._check = check
        self._flow = flow
        self._digest = hashlib.sha256()
        self._file = tempfile.TemporaryFile(dir=spool.folder, buffering=0)  # noqa: SIM115 - until `close`
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._writing: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether its sender has to wait."""
        return self._waiting_bytes > _WAITING

    @property
    def path(self) -> Path:
        """Where it can be read, until `close`."""
        return Path(f"/proc/self/fd/{self._file.fileno()}")

    @property
    def sha256(self) -> str:
        """In hex; of a complete body."""
        return self._digest.hexdigest()

    def take(self, piece: bytes) -> None:
        """Take what comes next."""
        self.size += len(piece)
        self._spool.held += len(piece)
        self._waiting.append(piece)
        self._waiting_bytes += len(piece)
        if self._writing is None:
            self._write()

    async def complete(self) -> None:
        """Return when all of it is written. Raises OSError."""
        while self._writing is not None:
            await asyncio.wait((self._writing,))  # after which `_written` has run, and may have begun to write more
        if self.error is not None:
            raise self.error

    async def whole(self) -> bytes:
        """All of it; for bodies that fit into memory."""
        return await asyncio.to_thread(self.path.read_bytes)

    def close(self) -> None:
        """Let it go."""
        if not self._closed:
            self._closed = True
            self._spool.held -= self.size
            if self._writing is None:
                self._file.close()

    def _write(self) -> None:
        pieces, self._waiting = self._waiting, []
        self._waiting_bytes = 0
        self._writing = asyncio.get_running_loop().run_in_executor(self._spool.threads, self._append, pieces)
        self._writing.add_done_callback(self._written)

    def _append(self, pieces: list[bytes]) -> None:
        """In a thread of the spool's; one at a time for each body."""
        try:
            data = b"".join(pieces)
            self._digest.update(data)
            if self._check is not None:
                self._check.take(data)
            left = memoryview(data)
            while left:
                left = left[os.write(self._file.fileno(), left) :]
        finally:
            if self._closed:  # here, too: the loop may have ended before `_written`
                self._file.close()

    def _written(self, writing: asyncio.Future[None]) -> None:
        self._writing = None
        if writing.cancelled() or self._closed:
            self._file.close()
            return
        self.error = writing.exception()
        if self._waiting and self.error is None:
            self._write()
        self._flow()
