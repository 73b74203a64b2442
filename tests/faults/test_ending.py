"""An ingest that is told to end answers whoever has reached it: nobody who got through to its socket meets a reset."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bench.faults import webhooks
from bench.faults.stand import Shape, Stand, stand, started
from forebay_cli.rabbitmq import PrivateBroker
from tests.support.waiting import eventually

pytestmark = pytest.mark.faults


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivateBroker]:
    async with started(tmp_path_factory.mktemp("ending")) as running:
        yield running


async def status(reader: asyncio.StreamReader) -> bytes:
    return (await reader.readuntil(b"\r\n\r\n"))[9:12]


def request(made: Stand, number: int) -> bytes:
    return webhooks.request(made.ledger.run, number, made.source.path)


async def test_a_request_that_waits_in_the_kernel_when_the_listener_closes_is_answered(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    async with stand(broker, tmp_path, Shape(ingests=1, workers=1), seed=1) as made:
        replica, (endpoint,) = made.run.ingests[0], made.endpoints()
        pid = replica.pid
        assert pid is not None
        connected = [await asyncio.open_connection(*endpoint) for _ in range(5)]
        replica.kill(signal.SIGTERM)
        await eventually(lambda: answers_close(*endpoint, request(made, 99)), within_s=5)
        # Stopped until the time to serve on is over, so that it has everything to do at once when it wakes.
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(1)
            connected += [await asyncio.open_connection(*endpoint) for _ in range(5)]
            for number, (_, writer) in enumerate(connected):
                writer.write(request(made, number))
        finally:
            os.kill(pid, signal.SIGCONT)
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*(status(reader) for reader, _ in connected), return_exceptions=True)
        for _, writer in connected:
            writer.close()
        assert answers == [b"202"] * 10


async def test_a_request_that_comes_just_after_the_listener_has_closed_is_answered(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    async with stand(broker, tmp_path, Shape(ingests=1, workers=1), seed=1) as made:
        replica, (endpoint,) = made.run.ingests[0], made.endpoints()
        replica.kill(signal.SIGTERM)
        links: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

        async def refused() -> bool:
            try:
                links.append(await asyncio.open_connection(*endpoint))
            except ConnectionRefusedError:
                return True
            return False

        await eventually(refused, within_s=5, every_s=0.02)
        reader, writer = links[-1]
        writer.write(request(made, 0))
        async with asyncio.timeout(10):
            assert await status(reader) == b"202"
        for _, link in links:
            link.close()


async def answers_close(host: str, port: int, content: bytes) -> bool:
    """Whether an answer ends its connection: the process has begun to drain."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(content)
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return b"connection: close" in head.lower()
