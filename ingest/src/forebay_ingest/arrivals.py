"""What connections have heard in one turn of the loop: first all of it is read, then each webhook is received.

Not one after the other through both: between them the processor would fetch the code of either into its cache anew, each time.
"""

import asyncio
from typing import Protocol

from forebay_ingest.parsing import Whole, WholeReader

# Connections whose bytes do not wait for the end of the turn: by then it is the last of hundreds that has been heard, and the broker
# could have the first ones already.
_MANY = 32


class Hearing(Protocol):
    """A connection between two requests."""

    def heard(self, data: bytes, whole: Whole | None) -> None:
        """Go on with what has come: a whole request, or anything else. Never raises."""


class Arrivals:
    """Collects what comes."""

    def __init__(self, whole: WholeReader, loop: asyncio.AbstractEventLoop) -> None:
        self._read = whole.read
        self._loop = loop
        self._waiting: list[tuple[Hearing, bytes]] = []

    def add(self, connection: Hearing, data: bytes) -> None:
        """Have the connection hear of it within this turn of the loop. Until then it adds nothing more."""
        if not self._waiting:
            self._loop.call_soon(self._read_all)
        self._waiting.append((connection, data))
        if len(self._waiting) >= _MANY:
            self._read_all()

    def _read_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        read = [self._read(data) for _, data in waiting]
        for (connection, data), whole in zip(waiting, read, strict=True):
            connection.heard(data, whole)
