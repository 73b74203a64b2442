"""An ingest on a loopback port for tests: all of it is real but the broker, in whose place the test speaks."""

import asyncio
import dataclasses
import hashlib
import hmac
import io
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, cast
from unittest.mock import patch

from forebay.runtime import Runtime
from forebay.settings import Answer, IngestLimits, IngestSettings, Route, Verification, dump
from forebay.telemetry import Log
from forebay_ingest import app, connection
from forebay_ingest.app import Ingest
from tests.publishing.local import LocalPublisher
from tests.receiving.wire import Reply, finals, replies
from tests.support.waiting import eventually, so

SECRET = b"It's a Secret to Everybody"
PATH = "/payments/github"
_LIMITS = {field.name for field in dataclasses.fields(IngestLimits)}
_ANSWER = {"status", "body", "content_type", "headers"}


@dataclasses.dataclass(slots=True)
class Endpoint:
    """The ingest, and what the broker was given."""

    ingest: Ingest
    port: int
    root: Path
    log: io.StringIO

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        root: Path,
        *,
        tick_s: float = 0.02,
        secret: bytes = SECRET,
        credentials: bytes = b"",
        replica: str = "one",
        **changes: Any,
    ) -> AsyncIterator[Self]:
        """Serve until the block ends; `changes` are of limits, of the answer, or of the settings themselves."""
        _write(root, secret, settings(**changes))
        (root / "secrets/storage").mkdir(exist_ok=True)
        (root / "secrets/storage/credentials").write_bytes(credentials)
        problems: list[Any] = []
        loop, log = asyncio.get_running_loop(), io.StringIO()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        with (
            patch.multiple(app, Publisher=LocalPublisher, _TICK_S=tick_s, _SECRETS_S=tick_s, _GRACE_S=tick_s),
            patch.object(connection, "_LINGER_S", 0.2),
        ):
            ingest = Ingest(Runtime(root=root, listen="127.0.0.1:0", replica=replica), Log({}, stream=log))
            address = (await ingest.start())["http"]
            work = asyncio.ensure_future(ingest.run())
            try:
                yield cls(ingest, int(address.rpartition(":")[2]), root, log)
            finally:
                await _end(ingest, work)
        assert not problems, problems
        assert "Traceback" not in log.getvalue()
        assert ingest.reading_bytes == 0

    @property
    def broker(self) -> LocalPublisher:
        return cast("LocalPublisher", self.ingest._publisher)

    def client(self) -> "Client":
        return Client(self.port)

    async def say(self, data: bytes) -> bytes:
        """Send this on a connection of its own, close our side, and return all that came until the end."""
        async with self.client() as client:
            await client.send(data)
            client.close_our_side()
            return await client.rest()

    def metric(self, name: str, **labels: str) -> float:
        return (
            self.ingest.registry.get_sample_value(name, {"namespace": "payments", "source": "github", **labels}) or 0.0
        )

    def rotate(self, secret: bytes) -> None:
        (self.root / "secrets/gh/secret").write_bytes(secret)


def settings(**changes: Any) -> IngestSettings:
    limits = {name: changes.pop(name) for name in _LIMITS & changes.keys()}
    answer = {name: changes.pop(name) for name in _ANSWER & changes.keys()}
    fields: dict[str, Any] = {
        "source": "payments/github",
        "routes": (Route(queue="default"),),
        "verification": Verification(provider="GitHub", secret_files=("secrets/gh/secret",)),
        "path": PATH,
        "limits": IngestLimits(**limits),
        "answer": Answer(**answer),
    }
    return IngestSettings(**{**fields, **changes})


OPEN = Verification(provider="None")


def _write(root: Path, secret: bytes, content: IngestSettings) -> None:
    (root / "config").mkdir(exist_ok=True)
    (root / "config/ingest.json").write_text(dump(content))
    (root / "secrets/gh").mkdir(parents=True, exist_ok=True)
    (root / "secrets/gh/secret").write_bytes(secret)


async def _end(ingest: Ingest, work: "asyncio.Future[None]") -> None:
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await ingest._listeners.close()
    for one in list(ingest.connections):
        if one._transport is not None:
            one._transport.abort()
    await eventually(so(lambda: not ingest.connections), every_s=0.002)


class Client:
    """A raw connection to the endpoint."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._sock = socket.socket()
        self._sock.setblocking(False)
        self.received = b""

    async def __aenter__(self) -> Self:
        try:
            await self._loop.sock_connect(self._sock, ("127.0.0.1", self._port))
        except BaseException:
            self._sock.close()
            raise
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sock.close()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    async def dribble(self, data: bytes, until: Callable[[], object] | None = None) -> None:
        """Send byte by byte, each as a segment of its own: the other side has read one before the next one leaves."""
        for byte in data:
            await self.send(bytes((byte,)))
            for _ in range(3):
                await asyncio.sleep(0)

    def close_our_side(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        """Close with a RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._sock.close()

    async def rest(self, within_s: float = 5.0) -> bytes:
        """All that comes until the other side closes. Raises TimeoutError if it does not."""
        async with asyncio.timeout(within_s):
            while data := await self._loop.sock_recv(self._sock, 65536):
                self.received += data
        taken, self.received = self.received, b""
        return taken

    async def answers(self, count: int = 1, within_s: float = 5.0) -> list[Reply]:
        """As many final answers; the connection stays as it is. Fails if more came."""
        async with asyncio.timeout(within_s):
            while not self._whole(count):
                data = await self._loop.sock_recv(self._sock, 65536)
                assert data, f"closed after {self.received!r}"
                self.received += data
        found = finals(self.received)
        assert len(found) == count
        self.received = b""
        return found

    def _whole(self, count: int) -> bool:
        if self.received.count(b"HTTP/1.1 ") < count:
            return False
        try:
            return len([reply for reply in replies(self.received) if reply.status >= 200]) >= count
        except AssertionError:
            return False


def signature(body: bytes, secret: bytes = SECRET) -> str:
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def request(
    body: bytes = b'{"zen": 1}',
    *headers: str,
    method: str = "POST",
    target: str = PATH,
    version: str = "1.1",
    secret: bytes | None = SECRET,
    framing: str | None = None,
) -> bytes:
    """The bytes of a webhook. `framing` replaces Content-Length; without a secret it is not signed."""
    lines = [f"{method} {target} HTTP/{version}", "Host: example", *headers]
    if secret is not None:
        lines.append(f"X-Hub-Signature-256: {signature(body, secret)}")
    lines.append(f"Content-Length: {len(body)}" if framing is None else framing)
    return "\r\n".join([line for line in lines if line]).encode("latin-1") + b"\r\n\r\n" + body


def head(*headers: str, **parts: Any) -> bytes:
    """The head alone of a request."""
    return request(b"", *headers, **{"framing": "", **parts})


def chunked(*parts: bytes, trailer: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailer + b"\r\n"
