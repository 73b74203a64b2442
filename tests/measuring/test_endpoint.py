"""The benches' sender keeps its connection, and is not stopped by an endpoint that has closed it meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.destination import length
from bench.endpoint import Endpoint, request


@asynccontextmanager
async def closing(after: int, heard: list[bytes]) -> AsyncIterator[str]:
    """The address of an endpoint that closes each connection after so many answers, without a word."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):
            for _ in range(after):
                heard.append(await reader.readexactly(length(await reader.readuntil(b"\r\n\r\n"))))
                writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield "127.0.0.1:{1}".format(*server.sockets[0].getsockname())
        await asyncio.sleep(0.1)  # what the sender has closed ends here too


async def test_a_webhook_that_found_its_connection_closed_is_sent_again_and_counted() -> None:
    heard = list[bytes]()
    async with closing(2, heard) as address:
        with contextlib.closing(Endpoint(address)) as endpoint:
            for number in range(5):
                assert await endpoint.accepted(request("/hook", "shop", str(number)))
    assert heard == [b"0", b"1", b"2", b"3", b"4"]
    assert endpoint.repeated == 2


async def test_one_that_is_never_answered_ends_the_bench() -> None:
    async with closing(0, []) as address:
        with contextlib.closing(Endpoint(address)) as endpoint, pytest.raises((OSError, asyncio.IncompleteReadError)):
            await endpoint.accepted(request("/hook", "shop", "0"))
