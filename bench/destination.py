"""A destination for benches that look at what arrives: it takes whole requests over kept connections, and tells each body."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

# Takes a webhook's body, in the time that the destination needs for it; the status and its words.
Take = Callable[[bytes], Awaitable[bytes]]


@asynccontextmanager
async def destination(take: Take) -> AsyncIterator[int]:
    """The port of a server that answers what `take` says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                body = await reader.readexactly(length(await reader.readuntil(b"\r\n\r\n")))
                status = await take(body)
                writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def length(head: bytes) -> int:
    """The Content-Length of a request or an answer; 0 if it has none."""
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)
