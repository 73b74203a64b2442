"""A TCP proxy in front of a broker that can hold back what the broker says."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Connection:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    holding: bool = False
    held: bytearray = field(default_factory=bytearray)
    ended: bool = False  # the client has closed it

    def hold(self) -> None:
        """From now on keep what the broker says."""
        self.holding = True

    def let_go(self) -> int:
        """Pass on what was kept, and what follows. How many bytes it was; 0 if nobody is there to hear it."""
        self.holding = False
        size = 0 if self.client.is_closing() else len(self.held)
        self.client.write(bytes(self.held))
        self.held.clear()
        return size


@dataclass(slots=True)
class Proxy:
    """The proxy: where it listens, and its connections in the order in which they came."""

    port: int = 0
    connections: list[Connection] = field(default_factory=list)


@asynccontextmanager
async def proxy(port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """In front of this port of 127.0.0.1; with `tls` it takes TLS off."""
    state, tasks = Proxy(), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        connection = Connection(writer)
        state.connections.append(connection)
        try:
            await asyncio.gather(_pass_on(reader, up_writer, connection), _hold_back(up_reader, connection))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            up_writer.close()
            writer.close()
            tasks.discard(task)

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


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: Connection) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    finally:
        connection.ended = True
        writer.close()


async def _hold_back(reader: asyncio.StreamReader, connection: Connection) -> None:
    while data := await reader.read(65536):
        if connection.holding:
            connection.held += data
        else:
            connection.client.write(data)
    connection.client.close()
