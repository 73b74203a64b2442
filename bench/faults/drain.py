"""The end of a run: wait until nothing is under way, read the dead letters, and see that the queues are empty."""

import asyncio
import contextlib
from typing import Any
from urllib.parse import quote

from bench.faults import webhooks
from bench.faults.ledger import Ledger
from bench.faults.stand import VHOST, Stand
from forebay.errors import Unavailable
from forebay.management import Management

QUIET_S = 2.5  # without a message in any queue and without a delivery
_COUNT_S = 1.5  # the broker counts its messages once a second
_BATCH = 500


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
        await _read_dead_letters(management, stand.run.names.dead, stand.ledger)
        await asyncio.sleep(_COUNT_S)
        return {queue.name: queue.messages for queue in await management.queues(VHOST) if queue.messages}


async def _until_quiet(stand: Stand) -> None:
    since = stand.now
    async with stand.management() as management:
        while stand.now - max(since, stand.ledger.latest_delivery) < QUIET_S:
            if await _messages(management, stand.run.names.dead):
                since = stand.now
            await asyncio.sleep(0.3)


async def _messages(management: Management, dead: str) -> int:
    """In all queues but that of the dead letters; one that can not be counted now is not empty."""
    with contextlib.suppress(Unavailable):
        return sum(queue.messages for queue in await management.queues(VHOST) if queue.name != dead)
    return 1


async def _read_dead_letters(management: Management, queue: str, ledger: Ledger) -> None:
    path = f"queues/{quote(VHOST, safe='')}/{quote(queue, safe='')}/get"
    want = {"count": _BATCH, "ackmode": "ack_requeue_false", "encoding": "auto"}
    while found := await management.post(path, want):
        for letter in found:
            _enter(letter, ledger)


def _enter(letter: dict[str, Any], ledger: Ledger) -> None:
    properties = letter["properties"]
    reason = properties.get("headers", {}).get("forebay-reason", "by the broker")
    number = webhooks.number_of(ledger.run, letter["payload"].encode())
    if number is None:
        ledger.foreign += 1
    else:
        ledger.bury(number, reason, properties.get("message_id", ""))
