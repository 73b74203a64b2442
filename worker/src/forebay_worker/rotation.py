"""What waits for a free slot, lane by lane in turn, so that one that is always full does not make the others wait."""

from forebay.envelope import QUEUE_HEADER
from forebay.turns import Turns
from forebay_worker.settle import Message

# Of the slots, the part that a lane beside the queue never takes: what comes into the queue finds one free.
SPARE = 5  # one in so many, and at least one


def share(concurrency: int) -> int:
    """How many messages of a lane beside the queue a worker has at a time, waiting ones included: all but its spare slots.

    A worker with a single slot has none to spare.
    """
    return max(1, concurrency - max(1, concurrency // SPARE))


class Rotation:
    """A queue that takes from each of its lanes in turn; within a lane in order."""

    def __init__(self) -> None:
        self._turns = Turns[Message]()

    def __len__(self) -> int:
        return len(self._turns)

    def append(self, message: Message) -> None:
        self._turns.append(message, lane_of(message))

    def popleft(self) -> Message:
        return self._turns.popleft()


def lane_of(message: Message) -> str:
    """Its queue or lane, as its headers say."""
    return str(message.headers.get(QUEUE_HEADER))
