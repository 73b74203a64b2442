"""What waits for a free slot, lane by lane in turn, so that one that is always full does not make the others wait."""

from collections import deque

from forebay_worker.settle import Message


class Rotation:
    """A queue that takes from each of its lanes in turn; within a lane in order."""

    def __init__(self) -> None:
        self._lanes: dict[object, deque[Message]] = {}  # those in which something waits; the first one is next

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def append(self, message: Message) -> None:
        self._lanes.setdefault(message.headers.get("forebay-queue"), deque()).append(message)

    def popleft(self) -> Message:
        lane = next(iter(self._lanes))
        waiting = self._lanes.pop(lane)
        message = waiting.popleft()
        if waiting:
            self._lanes[lane] = waiting
        return message
