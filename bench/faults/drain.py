"""The end of a run: wait until nothing is under way, read the dead letters, and see that the queues are empty."""

import asyncio
import contextlib

from bench.faults.dead_letters import enter_dead_letters, left, waiting
from bench.faults.stand import VHOST, Stand
from forebay.topology import DELAY_EXCHANGE, ORPHANS

QUIET_S = 2.5  # without a message in any queue and without a delivery
_COUNT_S = 1.5  # the broker counts its messages once a second


async def drain(stand: Stand, within_s: float = 120.0) -> dict[str, int]:
    """Let everything come out, end the processes, and enter the dead letters. What is left in the queues, by queue.

    The load must have ended. Gives up after `within_s`: what is left then is told.
    """
    await stand.destination.open()
    stand.destination.mood = "ok"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await _until_quiet(stand)
    await stand.run.stop()
    async with stand.management() as management:
        await enter_dead_letters(management, VHOST, stand.run.names.dead, stand.ledger)
        await asyncio.sleep(_COUNT_S)
        return await left(management, VHOST, stand.run.names.dead, _prefixes(stand))


async def _until_quiet(stand: Stand) -> None:
    since = stand.now
    async with stand.management() as management:
        while stand.now - max(since, stand.ledger.latest_delivery) < QUIET_S:
            if stand.buffered or await waiting(management, VHOST, stand.run.names.dead, _prefixes(stand)):
                since = stand.now
            await asyncio.sleep(0.3)


def _prefixes(stand: Stand) -> tuple[str, ...]:
    """Of the queues where webhooks of this stand's source can be."""
    return f"{stand.run.names.exchange}.", f"{DELAY_EXCHANGE}.", ORPHANS
