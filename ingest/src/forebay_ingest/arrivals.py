"""What connections have heard in one turn of the loop: first all of it is read, then each webhook is received.

Not one after the other through both: between them the processor would fetch the code of either into its cache anew, each time.
"""

import asyncio
from typing import Protocol

from forebay_ingest.parsing import Whole, WholeReader

# As many are read and handled at once, without waiting for the end of the turn: of hundreds the broker has the first ones early.
_MANY = 32


class Hearing(Protocol):
    """A connection between two requests."""

    def heard(self, data: bytes, whole: Whole | None) -> None:
        """Go on with what has come: a whole request, or anything else."""

    def give_up(self) -> None:
        """End it: it could not go on."""


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
            try:
                connection.heard(data, whole)
            except Exception as error:  # noqa: BLE001  # those behind it have nothing to do with it
                self._loop.call_exception_handler({"message": "a request could not be handled", "exception": error})
                connection.give_up()
