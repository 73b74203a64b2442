"""A destination that answers exactly the bytes a test tells it to, over a real socket."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Request:
    """What came in, raw."""

    head: bytes
    body: bytes
    connection: int  # from 1
    nth: int  # on this connection, from 1
    reader: asyncio.StreamReader

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines) if name]

    def header(self, name: str) -> str | None:
        values = [value for known, value in self.headers if known == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Destination:
    """The server, and all it has seen."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open: int = 0


def says(*pieces: bytes) -> Answer:
    """An answer of these bytes, each piece sent on its own."""

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return answer


def then_closes(answer: Answer) -> Answer:
    """The answer, and then the end of the connection."""

    async def closing(request: Request, writer: asyncio.StreamWriter) -> None:
        await answer(request, writer)
        writer.close()

    return closing


async def resets(_: Request, writer: asyncio.StreamWriter) -> None:
    """No answer but a RST."""
    writer.transport.abort()


async def is_silent(request: Request, writer: asyncio.StreamWriter) -> None:
    """No answer at all, until the client goes away."""
    await request.reader.read()
    writer.close()


def in_turn(*answers: Answer) -> Answer:
    """The first answer to the first request, and so on; the last one repeats."""
    left = list(answers)

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, writer)

    return answer


@asynccontextmanager
async def destination(answer: Answer, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Destination]:
    """Serve until the block ends."""
    state, tasks = Destination(), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        state.connections += 1
        state.open += 1
        number, nth = state.connections, 0
        try:
            while not writer.is_closing():
                nth += 1
                request = await _read(reader, number, nth)
                state.requests.append(request)
                await answer(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            state.open -= 1
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader, connection: int, nth: int) -> Request:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    body = await reader.readexactly(int(lengths[0])) if lengths else b""
    return Request(head, body, connection, nth, reader)
