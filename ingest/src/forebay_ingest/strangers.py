"""Who makes room when all connections are taken: the oldest of those from which no webhook was ever accepted.

Without it, whoever opens as many connections as there may be and says nothing keeps everybody else out. With it, a newcomer has as
long as a stranger needs to open all of them anew, and who has once shown a good signature keeps its place.
"""

from itertools import islice
from typing import Protocol

# So many of the oldest are asked at most: those whose webhook waits for the broker stay.
_ASKED = 16


class Guest(Protocol):
    """A connection."""

    def leave(self) -> bool:
        """Go, for somebody else's sake; False if its webhook is under way."""


class Strangers:
    """Connections from which no webhook was accepted yet, oldest first."""

    def __init__(self) -> None:
        self.displaced = 0
        self._guests: dict[Guest, None] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def add(self, guest: Guest) -> None:
        """One has come."""
        self._guests[guest] = None

    def discard(self, guest: Guest) -> None:
        """One has gone, or is no stranger any more."""
        self._guests.pop(guest, None)

    def make_room(self) -> bool:
        """Let one of them go. Whether one could."""
        for guest in list(islice(self._guests, _ASKED)):
            if guest.leave():
                self.discard(guest)
                self.displaced += 1
                return True
        return False
