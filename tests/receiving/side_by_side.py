"""The same bytes to the endpoint and to aiohttp's own server, over a pair of sockets each: what either said of them."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from forebay.envelope import decode
from forebay_ingest.connection import Connection
from tests.receiving.endpoint import OPEN, Endpoint

METHODS = ("POST", "PUT", "PATCH", "GET", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT")
BODY_LIMIT = 4096

Factory = Callable[[], asyncio.Protocol]


@dataclass(frozen=True, slots=True)
class Said:
    """Classes of the final answers ("2xx"), and whether the connection would take another request."""

    classes: tuple[str, ...]
    open: bool


@dataclass(slots=True)
class Pair:
    """Both servers."""

    endpoint: Endpoint
    reference: web.Server

    async def ours(self, segments: Sequence[bytes]) -> Said:
        loop = asyncio.get_running_loop()
        return await converse(lambda: Connection(self.endpoint.ingest, loop), segments)

    def taken(self) -> list[tuple[str, list[tuple[str, str]], bytes]]:
        """Target, headers and body of each webhook that was published since this was last asked."""
        published = self.endpoint.broker.published
        self.endpoint.broker.written.clear()
        found = [decode(one.properties.message_id, None, one.properties.headers, one.body) for one in published]
        return [(envelope.target, envelope.headers, envelope.body) for envelope in found]

    async def theirs(self, segments: Sequence[bytes]) -> Said:
        return await converse(self.reference, segments)


@asynccontextmanager
async def both(root: Path) -> AsyncIterator[Pair]:
    """Both servers take every method at every path, and bodies of BODY_LIMIT."""

    async def accept(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(status=202)

    def make(*arguments: Any) -> web.BaseRequest:
        kept: dict[str, Any] = {"loop": asyncio.get_running_loop(), "client_max_size": BODY_LIMIT}
        return web.BaseRequest(*arguments, **kept)

    reference = web.Server(accept, request_factory=make, auto_decompress=False, lingering_time=0, access_log=None)
    limits: dict[str, Any] = {"body_bytes": BODY_LIMIT, "header_bytes": 8190}
    async with Endpoint.open(root, path="/", methods=METHODS, verification=OPEN, **limits) as endpoint:
        yield Pair(endpoint, reference)
        await reference.shutdown(0)


async def converse(factory: Factory, segments: Sequence[bytes]) -> Said:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    transport, _ = await loop.connect_accepted_socket(factory, theirs)
    received, ended = bytearray(), False
    try:
        for segment in (*segments, b""):
            ended = ended or not _send(ours, segment)
            ended = await _settle(ours, received, turns=5 if segment else 30) or ended
    finally:
        ours.close()
        transport.abort()
        await asyncio.sleep(0)
    return Said(tuple(_classes(bytes(received))), not ended)


def _send(sock: socket.socket, data: bytes) -> bool:
    try:
        return sock.send(data) == len(data)
    except OSError:
        return False


async def _settle(sock: socket.socket, received: bytearray, turns: int) -> bool:
    """Let the loop turn until nothing has come for a while. Whether the other side has ended."""
    quiet = 0
    while quiet < turns:
        await asyncio.sleep(0)
        quiet += 1
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            continue
        except OSError:
            return True
        if not data:
            return True
        received += data
        quiet = 0
    return False


def _classes(data: bytes) -> list[str]:
    """No body here looks like the beginning of an answer."""
    found = [f"{digit.decode()}xx" for digit in re.findall(rb"HTTP/[0-9]\.[0-9] ([1-5])[0-9]{2} [A-Z]", data)]
    return [kind for kind in found if kind != "1xx"]
