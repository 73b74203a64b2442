"""Object storage for bodies that are too large for a queue: put, read back checked, delete. S3, GCS, Azure, or a folder.

An object appears whole or not at all. The library behind it (obstore, 15 MB of compiled Rust) is imported when a storage
is opened, so that a process without one does not hold it. Credentials are read again every few seconds: they rotate.
"""

import asyncio
import ctypes
import hashlib
import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from configparser import ConfigParser, Error
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import RawIOBase
from pathlib import Path
from typing import Any, Literal

from forebay import settings
from forebay.envelope import Claim
from forebay.errors import SpecError, Unavailable

# Bytes that are read at a time, and of one part of an upload: the least that S3 takes.
PIECE, _PART = 256 * 1024, 5 * 1024 * 1024
# Seconds after which the credentials' file is read again.
_REREAD = 5.0
_OPEN_S = 30.0  # until a body that is asked for begins to come
# Below the time that a put has in all: a storage that answers 500 once in a while costs no webhook its 2xx.
_RETRIES: dict[str, Any] = {"max_retries": 3, "retry_timeout": timedelta(seconds=10)}
_SHOWN = 200
_M_ARENA_MAX = -8  # of mallopt(3)

Cause = Literal["missing", "wrong", "denied", "unreachable"]


class StorageError(Unavailable):
    """The storage did not do what it was asked for; `cause` is a stable word for metrics."""

    def __init__(self, cause: Cause, text: str) -> None:
        super().__init__(text)
        self.cause: Cause = cause


@dataclass(frozen=True, slots=True)
class Stored:
    """An object, as a listing tells of it."""

    key: str
    size: int
    at: datetime  # when it was put


class Storage:
    """One bucket. Raises SpecError for settings and credentials that can not work; reaches out only when asked for something."""

    def __init__(self, given: settings.Storage, read: Callable[[str], bytes]) -> None:
        self._given = given
        self._read = read
        self._obstore = _imported()
        self._credentials = self._read_credentials()
        self._opened: Any = _opened(given, self._credentials)
        self._read_at = time.monotonic()
        self._puts = asyncio.Semaphore(given.puts)

    async def put(self, key: str, body: Path | bytes) -> None:
        """Store a file, or bytes; when this returns, the object is durable and whole. Raises StorageError."""
        with _told(key):
            async with asyncio.timeout(self._given.put_s), self._puts:
                if self._given.provider == "File":
                    await asyncio.to_thread(_put_file, body, Path(self._given.bucket), key)
                else:
                    store = self._store()
                    await self._obstore.put_async(store, key, body, chunk_size=_PART, max_concurrency=1)

    async def get(self, claim: Claim) -> AsyncGenerator[bytes]:
        """A body, piece by piece. Its last piece comes only if the whole of it is what was put. Raises StorageError."""
        digest, size, held = hashlib.sha256(), 0, b""
        async with aclosing(self._pieces(claim)) as pieces:
            async for piece in pieces:
                if held:
                    yield held
                digest.update(piece)
                size += len(piece)
                held = piece
        if size != claim.size or digest.hexdigest() != claim.sha256:
            raise StorageError("wrong", f"{claim.key} is not what was stored: it has {size} bytes, or another SHA-256")
        yield held

    async def delete(self, key: str) -> None:
        """Let an object go; one that is gone already is no error. Raises StorageError."""
        try:
            with _told(key):
                await self._obstore.delete_async(self._store(), key)
        except StorageError as error:
            if error.cause != "missing":
                raise

    async def list(self, prefix: str) -> AsyncIterator[Stored]:
        """All objects whose keys begin so; it ends with a slash. Raises StorageError."""
        with _told(prefix):
            async for page in self._obstore.list(self._store(), prefix):
                for item in page:
                    yield Stored(item["path"], item["size"], item["last_modified"])

    async def _pieces(self, claim: Claim) -> AsyncGenerator[bytes]:
        with _told(claim.key):
            async with asyncio.timeout(_OPEN_S):
                found = await self._obstore.get_async(self._store(), claim.key)
            if found.meta["size"] != claim.size:
                raise StorageError("wrong", f"{claim.key} has {found.meta['size']} bytes, not {claim.size}")
            async for piece in found.stream(min_chunk_size=PIECE):
                yield bytes(piece)

    def _store(self) -> Any:
        """The library's own store, made anew when the credentials have changed."""
        if self._given.credentials_file and time.monotonic() - self._read_at > _REREAD:
            self._read_at = time.monotonic()
            with suppress(SpecError):  # being rotated, perhaps; the known ones may still be good
                self._take_up(self._read_credentials())
        return self._opened

    def _take_up(self, credentials: bytes) -> None:
        if credentials != self._credentials:
            self._opened = _opened(self._given, credentials)
            self._credentials = credentials

    def _read_credentials(self) -> bytes:
        return self._read(self._given.credentials_file) if self._given.credentials_file else b""


def _imported() -> Any:
    try:
        import obstore  # noqa: PLC0415 - see above
    except ImportError as error:
        raise SpecError("spec.storage needs the package obstore: install forebay[storage]") from error
    _share_memory()
    return obstore


def _share_memory() -> None:
    """Let all threads take from one pool: glibc gives each its own, and in each stays what a large body has left there.

    20 bodies at once took 101 MiB with a pool for each thread and 83 MiB with one. Other C libraries have no such call.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _opened(given: settings.Storage, credentials: bytes) -> Any:
    """The library's store. Raises SpecError for what it does not take."""
    from obstore import store  # noqa: PLC0415 - see above

    try:
        if given.provider == "File":
            return store.LocalStore(given.bucket, mkdir=True)
        kinds: dict[str, Any] = {"S3": store.S3Store, "GCS": store.GCSStore, "Azure": store.AzureStore}
        own = {name: value for name, value in _config(given, credentials).items() if value}
        return kinds[given.provider](given.bucket, **own, client_options=_client(given), retry_config=_RETRIES)
    except (store_error(), UnicodeDecodeError, OSError) as error:
        raise SpecError(f"storage {given.provider} {given.bucket!r} can not be used: {_sentence(error)}") from None


def _config(given: settings.Storage, credentials: bytes) -> dict[str, str | None]:
    """What the library calls these settings. It finds a workload's identity by itself where no credentials are given."""
    match given.provider:
        case "S3":
            return {"endpoint": given.endpoint, "region": given.region, **_s3(credentials)}
        case "GCS":
            return {"base_url": given.endpoint, "service_account_key": credentials.decode()}
        case _:
            return {"endpoint": given.endpoint, "account_name": given.account, **_azure(credentials)}


def _client(given: settings.Storage) -> dict[str, Any]:
    return {
        "allow_http": (given.endpoint or "").startswith("http://"),
        "timeout": timedelta(minutes=10),  # of a whole request; whoever asks has a shorter one
        "read_timeout": timedelta(seconds=30),
    }


def store_error() -> type[Exception]:
    """What every exception of the library is."""
    from obstore.exceptions import BaseError  # noqa: PLC0415 - see above

    return BaseError


def _s3(credentials: bytes) -> dict[str, str]:
    """From a credentials file as AWS's own tools write it: a profile with aws_access_key_id and aws_secret_access_key."""
    if not credentials:
        return {}
    parsed = ConfigParser(interpolation=None)
    try:
        parsed.read_string(credentials.decode())
        profile = parsed["default"] if "default" in parsed else parsed[parsed.sections()[0]]
        found = {
            "access_key_id": profile["aws_access_key_id"],
            "secret_access_key": profile["aws_secret_access_key"],
        }
    except (Error, UnicodeDecodeError, LookupError):
        # "from None": the cause would show the secret's characters
        text = "write [default], aws_access_key_id=… and aws_secret_access_key=…, as in ~/.aws/credentials"
        raise SpecError(f"the storage's credentials are no AWS credentials file: {text}") from None
    token = profile.get("aws_session_token")
    return {**found, "session_token": token} if token else found


def _azure(credentials: bytes) -> dict[str, str]:
    """The account's key, or a shared access signature, which holds "sig="."""
    text = credentials.decode()
    if not text:
        return {}
    return {"sas_key": text.removeprefix("?")} if "sig=" in text else {"account_key": text}


def _put_file(body: Path | bytes, bucket: Path, key: str) -> None:
    """Copy into a folder so that the object is there whole and durably, or not at all."""
    target = bucket / key
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}")
    try:
        with aside.open("wb", buffering=0) as copy:
            _write(body, copy) if isinstance(body, bytes) else _copy(body, copy)
            os.fsync(copy.fileno())
        aside.rename(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _sync_folders(target.parent, bucket)


def _write(body: bytes, to: RawIOBase) -> None:
    left = memoryview(body)
    while left:
        left = left[to.write(left) or 0 :]


def _copy(body: Path, to: RawIOBase) -> None:
    with body.open("rb") as source:
        size = os.fstat(source.fileno()).st_size
        sent = 0
        while sent < size:
            sent += os.sendfile(to.fileno(), source.fileno(), sent, size - sent)


def _sync_folders(folder: Path, bucket: Path) -> None:
    """The folder and those above it that may be new: a name is durable when its folder is."""
    for one in (folder, *folder.parents):
        number = os.open(one, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
        if one == bucket:
            return


@contextmanager
def _told(key: str) -> Iterator[None]:
    """Whatever the library, the disk or the clock raises, as a StorageError."""
    try:
        yield
    except TimeoutError as error:
        raise StorageError("unreachable", f"the storage took too long ({key})") from error
    except (store_error(), OSError) as error:
        raise StorageError(_cause(error), f"{_sentence(error)} ({key})") from error


def _cause(error: Exception) -> Cause:
    name = type(error).__name__
    if name == "NotFoundError" or isinstance(error, FileNotFoundError):
        return "missing"
    return "denied" if name in ("PermissionDeniedError", "UnauthenticatedError", "PermissionError") else "unreachable"


def _sentence(error: Exception) -> str:
    """The first line of what it says, without the query of a URL, in which a shared access signature can stand."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"\?[^\s\"')]*", "", lines[0])[:_SHOWN]
