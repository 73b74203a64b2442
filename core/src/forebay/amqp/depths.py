"""How many messages wait in some queues, asked of the broker every few seconds by passive declares.

They go over a channel of their own on a connection that is there anyway: a queue that is gone closes that channel and
nothing else. Counts only what is ready; what a consumer holds is its own to tell.
"""

import asyncio
import math
from collections.abc import Iterable
from typing import Any

import pika.exceptions
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel

from forebay.amqp.link import Link, resolve

_CHANNEL = 2
_ANSWER_S = 5.0


class Depths:
    """Reads the depths of queues over a link's connection. What can not be read is NaN."""

    def __init__(self, link: Link, queues: Iterable[str], *, every_s: float = 5.0) -> None:
        self._link = link
        self._every_s = every_s
        self._depths = dict.fromkeys(queues, math.nan)

    def of(self, queue: str) -> float:
        """Messages that were ready in the queue when last asked."""
        return self._depths[queue]

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            for queue in self._depths:
                self._depths[queue] = await self._ask(queue)
            await asyncio.sleep(self._every_s)

    async def _ask(self, queue: str) -> float:
        connection = self._link.connection
        if connection is None or not connection.is_open:
            return math.nan
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await _ready(connection, queue)
        except (TimeoutError, pika.exceptions.AMQPError):
            return math.nan


async def _ready(connection: AsyncioConnection, queue: str) -> float:
    """One channel for one question: whatever becomes of it, the next one starts afresh."""
    answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def opened(channel: Channel) -> None:
        channel.queue_declare(queue, passive=True, callback=lambda frame: resolve(answer, _count(frame)))

    channel = connection.channel(_CHANNEL, on_open_callback=opened)
    channel.add_on_close_callback(lambda *_: resolve(answer, math.nan))
    try:
        return await answer
    finally:
        if channel.is_open:
            channel.close()
            await _closed(channel)


async def _closed(channel: Channel) -> None:
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    channel.add_on_close_callback(lambda *_: resolve(gone, None))
    await gone


def _count(frame: Any) -> float:
    return float(frame.method.message_count)
