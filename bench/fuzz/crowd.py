"""Connections that do nothing, or do it slowly: each kind is kept at its number, anew whenever the endpoint has closed one."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, cast

_BATCH, _BATCH_S = 12, 0.005  # connections begun at once, and the pause before: over a line they do not come in heaps
_DRIP_S = 1.0
_BIND_ADDRESS_NO_PORT = 24  # linux/in.h
_ADDRESSES = 200  # of 127.0.1.0/24, which connections come from in turn: one has too few ports
_DEAF = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2_000


@dataclass(slots=True)
class Tally:
    """What became of one kind."""

    opened: int = 0
    refused: int = 0  # could not connect
    most_open: int = 0
    longest_s: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)  # the status of the last answer, "none" without one

    def told(self) -> dict[str, Any]:
        return {
            "opened": self.opened,
            "refused": self.refused,
            "most_open": self.most_open,
            "longest_s": round(self.longest_s, 2),
            "answers": dict(self.answers),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What such a connection sends."""

    first: bytes = b""
    drip: bytes = b""  # once a second
    reads: bool = True


def kinds(path: str) -> dict[str, Kind]:
    """All there are."""
    post = b"POST %b HTTP/1.1\r\nHost: x\r\n" % path.encode()
    return {
        "silent": Kind(),
        "idle": Kind(first=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),  # after an answer
        "slow head": Kind(first=post, drip=b"X-A: b\r\n"),
        "slow body": Kind(first=post + b"Content-Length: 100000\r\n\r\n", drip=b"x"),
        "slow chunks": Kind(first=post + b"Transfer-Encoding: chunked\r\n\r\n", drip=b"1\r\nx\r\n"),
        "hoard": Kind(first=post + b"Content-Length: 1000000\r\n\r\n" + b"x" * 999_999),
        "deaf": Kind(first=_DEAF, reads=False),
    }


def bound(address: str) -> socket.socket:
    """A socket that connects from this address. Its port is chosen when it connects: to find one that nobody at all has
    takes the kernel milliseconds where there are thousands, and holds up everybody's connections.
    """
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    sock.bind((address, 0))
    return sock


class Crowd:
    """So many connections of each kind, within the block of `kept`."""

    def __init__(self, address: tuple[str, int], path: str, wanted: dict[str, int]) -> None:
        known = kinds(path)
        self.tallies = {name: Tally() for name in wanted}
        self._dice = Random(0)
        self._address = address
        self._sources = count()
        self._groups = [_Group(known[name], number, self.tallies[name]) for name, number in wanted.items()]

    @contextlib.asynccontextmanager
    async def kept(self) -> Any:
        tasks = [asyncio.create_task(work) for work in (self._fill(), self._drip())]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for group in self._groups:
                group.abort()

    async def _fill(self) -> None:
        while True:
            await asyncio.sleep(_BATCH_S)
            missing = [group for group in self._groups for _ in range(group.missing)]
            chosen = self._dice.sample(missing, min(len(missing), _BATCH))  # each kind comes in proportion
            await asyncio.gather(*(self._connect(group) for group in chosen))

    async def _connect(self, group: "_Group") -> None:
        loop = asyncio.get_running_loop()
        sock = bound(f"127.0.1.{1 + next(self._sources) % _ADDRESSES}")
        try:
            await loop.sock_connect(sock, self._address)
            await loop.create_connection(lambda: _Connection(group, loop.time), sock=sock)
        except OSError:
            sock.close()
            group.tally.refused += 1

    async def _drip(self) -> None:
        while True:
            await asyncio.sleep(_DRIP_S)
            for group in self._groups:
                group.drip()


class _Group:
    """All connections of one kind."""

    def __init__(self, kind: Kind, wanted: int, tally: Tally) -> None:
        self.kind = kind
        self.tally = tally
        self._wanted = wanted
        self._open: set[_Connection] = set()

    @property
    def missing(self) -> int:
        return self._wanted - len(self._open)

    def joined(self, one: "_Connection") -> None:
        self._open.add(one)
        self.tally.opened += 1
        self.tally.most_open = max(self.tally.most_open, len(self._open))

    def left(self, one: "_Connection", lived_s: float, answer: str) -> None:
        self._open.discard(one)
        self.tally.longest_s = max(self.tally.longest_s, lived_s)
        self.tally.answers[answer] += 1

    def drip(self) -> None:
        if self.kind.drip:
            for one in self._open:
                one.send(self.kind.drip)

    def abort(self) -> None:
        """End them all; those that the endpoint did not end have lived for so long at least."""
        for one in list(self._open):
            self.tally.longest_s = max(self.tally.longest_s, one.age_s)
            one.abort()


class _Connection(asyncio.Protocol):
    def __init__(self, group: _Group, clock: Callable[[], float]) -> None:
        self._group = group
        self._clock = clock
        self._began = clock()
        self._answer = "none"
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._group.joined(self)
        if not self._group.kind.reads:
            self._transport.pause_reading()
        self._transport.write(self._group.kind.first)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 "):
            self._answer = data[9:12].decode("latin-1")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # however it went
        self._group.left(self, self.age_s, self._answer)

    @property
    def age_s(self) -> float:
        return self._clock() - self._began

    def send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
