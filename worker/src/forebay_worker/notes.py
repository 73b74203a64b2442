"""Tells that this worker's circuit breaker is not closed, by notes in a queue that nobody reads.

Each note vanishes by itself, and the operator counts what lies in the broker's queues anyway: it learns of the breaker without
a further question, and a worker that is killed says nothing false for long.
"""

import asyncio
import time
from collections.abc import Callable

from forebay.amqp.publisher import Publisher
from forebay.envelope import AmqpMessage
from forebay.identity import IdSource
from forebay.topology import BREAKER_NOTE_S, Names
from forebay_worker.breaker import State

_EVERY_S = BREAKER_NOTE_S * 0.4  # one may get lost


class Notes:
    """The notes of one worker. Lives on one loop."""

    def __init__(self, publisher: Publisher, names: Names, state: Callable[[], State]) -> None:
        self._publisher = publisher
        self._exchange, self._queue = names.exchange, names.breaker_notes
        self._state = state
        self._ids = IdSource()
        self._next: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Tell now, and again until the breaker is closed."""
        if self._next is None:
            self._tell()

    def close(self) -> None:
        """Say nothing more: the worker ends."""
        if self._next is not None:
            self._next.cancel()

    def _tell(self) -> None:
        self._next = None
        if self._state() is State.CLOSED:
            return
        now_ms = int(time.time() * 1000)
        note = AmqpMessage(
            message_id=self._ids.next(now_ms), timestamp=now_ms // 1000, content_type=None, headers={}, body=b""
        )
        publish = self._publisher.encode(self._exchange, self._queue, note)
        self._publisher.send(publish, note.message_id.encode(), lambda _: None)
        self._next = asyncio.get_running_loop().call_later(_EVERY_S, self._tell)
