"""A burst of connections is let in at once, under the loop that the endpoint runs on."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import uvloop

from tests.receiving.endpoint import Endpoint

BURST = 160


async def turns_until(happened: Callable[[], bool]) -> int:
    for turn in range(1000):
        if happened():
            return turn
        await asyncio.sleep(0)
    raise AssertionError("it did not happen within a thousand turns of the loop")


async def let_in(root: Path) -> int:
    async with Endpoint.open(root) as endpoint:
        burst = [socket.create_connection(("127.0.0.1", endpoint.port)) for _ in range(BURST)]
        turns = await turns_until(lambda: len(endpoint.ingest.connections) == BURST)
        for one in burst:
            one.close()
    return turns


def test_a_burst_is_let_in_within_few_turns_of_the_loop(tmp_path: Path) -> None:
    assert uvloop.run(let_in(tmp_path)) < BURST / 4
