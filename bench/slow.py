"""A destination in a process of its own that takes a while for each webhook: its work does not delay whoever keeps the time.

    python -m bench.slow SECONDS

Prints its port, and when its standard input ends how many webhooks it has taken.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from subprocess import PIPE

from bench.destination import destination


@dataclass(slots=True)
class Elsewhere:
    """Such a destination, as who has started it sees it."""

    url: str
    taken: int = 0  # webhooks, known at the end


@asynccontextmanager
async def elsewhere(takes_s: float) -> AsyncIterator[Elsewhere]:
    """Run it within the block."""
    command = [sys.executable, "-m", "bench.slow", str(takes_s)]
    child = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    told = Elsewhere(f"http://127.0.0.1:{int(await child.stdout.readline())}/")
    try:
        yield told
    finally:
        child.stdin.close()
        last, _ = await child.communicate()
        told.taken = int(last)


async def main(takes_s: float) -> int:
    taken = 0

    async def take(_: bytes) -> bytes:
        nonlocal taken
        await asyncio.sleep(takes_s)
        taken += 1
        return b"200 OK"

    async with destination(take) as port:
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.read)
    return taken


if __name__ == "__main__":
    print(asyncio.run(main(float(sys.argv[1]))))
