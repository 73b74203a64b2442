"""How many reconciles may be at one broker: never so many that one which hangs leaves no place for the sources of others.

A broker takes another place while it holds fewer than are free: one alone gets half of them, and each further one half of what
is left. Whoever finds no place does not wait, which would take one as well: its key is woken when there is one.
"""

from collections.abc import Callable, Hashable

from forebay_operator.world import Key


class NoRoom(Exception):
    """The broker has as many reconciles at it as it may have now."""


class Room:
    """So many places for reconciles that ask something of a broker. For one event loop."""

    def __init__(self, places: int, wake: Callable[[Key], None]) -> None:
        self._places = places
        self._wake = wake
        self._inside: dict[Key, Hashable] = {}
        self._outside: dict[Hashable, dict[Key, None]] = {}  # who waits for a place at which broker, in order

    def enter(self, key: Key, broker: Hashable) -> None:
        """Take a place until `leave`. Raises NoRoom; the key is woken when there is one."""
        if not self._has_room(broker):
            self._outside.setdefault(broker, {})[key] = None
            raise NoRoom
        self._inside[key] = broker

    def leave(self, key: Key) -> None:
        """The reconcile of this key has ended, whether or not it had a place: one that waits goes on."""
        self._inside.pop(key, None)
        broker = next((one for one in self._outside if self._has_room(one)), None)
        if broker is None:
            return
        waiting = self._outside[broker]
        first = next(iter(waiting))
        del waiting[first]
        if not waiting:
            del self._outside[broker]
        self._wake(first)

    def _has_room(self, broker: Hashable) -> bool:
        held = sum(at == broker for at in self._inside.values())
        return held < self._places - len(self._inside)
