"""What dropping duplicates would cost with a Valkey or Redis instead: a GET before each publish, a SET after its confirm.

The cheapest client that we can think of: one connection by a Unix socket, commands of one turn of the loop in one write, replies that are only
counted. A real one parses, pools and reconnects. Part of `python -m bench.duplicates`; taken if the machine has redis-server or valkey-server.
"""

import asyncio
import hashlib
import shutil
import statistics
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import uvloop

from bench.rig import cpu_s

SERVERS = ("valkey-server", "redis-server")
WINDOW_S = b"86400"
_START_S = 10.0

DEFINITIONS = {
    "valkey.us_client": "CPU microseconds of the asking process for one new webhook: GET, and SET with an expiry after the confirm",
    "valkey.us_server": "CPU microseconds of the server for both",
    "valkey.mb_per_million": "the server's used_memory for a million ids of 16 bytes with an expiry, in 10^6 bytes",
    "valkey.round_trip_ms": "median time of the GET, for which the publish has to wait, with `at_once` webhooks under way",
}


def measure(calls: int, at_once: int) -> dict[str, Any] | None:
    """The figures; None if there is no server on this machine."""
    program = next((found for name in SERVERS if (found := shutil.which(name))), None)
    if program is None:
        return None
    with TemporaryDirectory(prefix="forebay-bench-") as folder, _server(program, Path(folder)) as (pid, sock):
        version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
        return {
            "server": version.split(" sha")[0].strip(),
            **uvloop.run(_measure(pid, sock, calls, at_once)),
            "at_once": at_once,
        }


@contextmanager
def _server(program: str, folder: Path) -> Iterator[tuple[int, Path]]:
    sock = folder / "s"
    command = [
        program,
        "--port",
        "0",
        "--unixsocket",
        str(sock),
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(folder),
    ]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + _START_S
        while not sock.exists():
            if time.monotonic() > end:
                raise SystemExit(f"bench: {program} does not listen")
            time.sleep(0.05)
        yield child.pid, sock
    finally:
        child.terminate()
        child.wait()


async def _measure(pid: int, sock: Path, calls: int, at_once: int) -> dict[str, Any]:
    _, link = await asyncio.get_running_loop().create_unix_connection(_Link, str(sock))
    before = await _used_bytes(sock)
    for start in range(0, 1_000_000, 1_000):
        await link.all([_set(digest) for digest in _digests(start, 1_000)])
    used = await _used_bytes(sock) - before
    ours, theirs, waits = time.process_time(), cpu_s(pid), list[float]()
    await _webhooks(link, deque(_digests(2_000_000, calls)), at_once, waits)
    return {
        "us_client": round(1e6 * (time.process_time() - ours) / calls, 2),
        "us_server": round(1e6 * (cpu_s(pid) - theirs) / calls, 2),
        "mb_per_million": round(used / 1e6, 1),
        "round_trip_ms": round(1e3 * statistics.median(waits), 3),
    }


async def _webhooks(link: "_Link", digests: deque[bytes], at_once: int, waits: list[float]) -> None:
    """New webhooks, so many under way at a time: asked for, published (at once, here), and told."""
    done, left = asyncio.Event(), len(digests)

    def begin() -> None:
        if not digests:
            return
        digest, asked = digests.popleft(), time.perf_counter()

        def answered() -> None:
            waits.append(time.perf_counter() - asked)
            link.send(_set(digest), told)

        link.send(_get(digest), answered)

    def told() -> None:
        nonlocal left
        left -= 1
        begin()
        if not left:
            done.set()

    for _ in range(at_once):
        begin()
    await done.wait()


class _Link(asyncio.Protocol):
    """A connection whose replies are all one line: +OK, or $-1 for what is not there."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Callable[[], object]] = deque()
        self._due = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if b"-ERR" in data:
            raise SystemExit(f"bench: {data!r}")
        for _ in range(data.count(b"\r\n")):
            self._waiting.popleft()()

    def send(self, command: bytes, answered: Callable[[], object]) -> None:
        if not self._due:
            self._loop.call_soon(self._flush)
        self._due += command
        self._waiting.append(answered)

    async def all(self, commands: list[bytes]) -> None:
        """Send these; return when all are answered."""
        done = asyncio.Event()
        for command in commands[:-1]:
            self.send(command, int)
        self.send(commands[-1], done.set)
        await done.wait()

    def _flush(self) -> None:
        assert self._transport is not None
        self._transport.write(bytes(self._due))
        self._due.clear()


def _get(digest: bytes) -> bytes:
    return b"*2\r\n$3\r\nGET\r\n$16\r\n%b\r\n" % digest


def _set(digest: bytes) -> bytes:
    return b"*5\r\n$3\r\nSET\r\n$16\r\n%b\r\n$1\r\n1\r\n$2\r\nEX\r\n$%d\r\n%b\r\n" % (digest, len(WINDOW_S), WINDOW_S)


def _digests(start: int, count: int) -> list[bytes]:
    return [hashlib.blake2b(n.to_bytes(8, "big"), digest_size=16).digest() for n in range(start, start + count)]


async def _used_bytes(sock: Path) -> int:
    reader, writer = await asyncio.open_unix_connection(str(sock))
    try:
        writer.write(b"INFO memory\r\n")
        text = (await reader.readuntil(b"used_memory_human")).decode()
        return int(text.split("used_memory:")[1].split()[0])
    finally:
        writer.close()
