"""Says in as few words as the protocol allows which deliveries are done. Reads nothing, writes nothing.

One `basic.ack` can stand for all deliveries up to a tag. A quorum queue keeps a record of each acknowledge, so one for many
saves the broker more than the worker.
"""

from forebay.amqp.frames import ack_frame


class Acknowledges:
    """The delivery tags of one channel (1, 2, 3 …) and which of them are settled."""

    def __init__(self) -> None:
        self._floor = 0  # every tag up to this one is settled, and the broker knows
        self._told: set[int] = set()  # settled above the floor, and the broker knows
        self._new: list[int] = []  # settled, and the broker is to hear of it

    def done(self, tag: int) -> int:
        """The delivery may be forgotten. Of how many the broker is to hear now."""
        self._new.append(tag)
        return len(self._new)

    def rejected(self, tag: int) -> None:
        """The broker hears of this one in another way."""
        self._told.add(tag)

    def frames(self) -> bytes:
        """The acknowledges that are due; asked for, they count as told."""
        new, self._new = self._new, []
        if not new:
            return b""
        told, floor, last = self._told, self._floor, 0
        fresh = set(new)
        while (tag := floor + 1) in fresh or tag in told:
            if tag in fresh:
                # Only a tag that the broker still waits for can stand for those before it.
                last = tag
                fresh.discard(tag)
            else:
                told.discard(tag)
            floor = tag
        self._floor = floor
        told |= fresh
        one_for_many = ack_frame(last, multiple=True) if last else b""
        return one_for_many + b"".join([ack_frame(tag) for tag in sorted(fresh)])
