"""The ledger: every webhook that was sent, how it was answered, and where it came out. Keeps memory only: no I/O, no clock.

Times are seconds of one monotonic clock, which the callers read. A webhook is a number; each is sent once,
unless copies are sent: then the first 2xx of any copy counts, and each copy that is taken in anew has an id of its own.
"""

import enum
import math
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class Answer(enum.IntEnum):
    """What the sender knows of a webhook."""

    NONE = 0  # nothing yet
    ACKED = 1  # a 2xx
    REFUSED = 2  # any other status
    UNKNOWN = 3  # the connection was lost, or the answer took too long


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time in which no 2xx could be true: whatever was sent and answered within it was answered falsely by a 2xx."""

    cause: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One webhook's line."""

    number: int
    phase: str  # in which it was sent
    first_sent: float
    sent: float  # of copies: the last one before there was a 2xx
    answered: float  # 0 while there is no answer
    answer: Answer
    deliveries: int  # how often the destination took it
    dead: int  # how often it lies among the dead letters
    came: float  # when the first attempt at it reached the destination; inf if none did
    ended: float  # when the destination first took it, or refused it for good; inf if it did neither
    event_id: str  # Forebay's, from the 2xx or the delivery
    cause: str  # of a refusal, as its problem document names it; or what happened instead of an answer


class Ledger:
    """Grows with each webhook by about a hundred bytes."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.phase = "start"  # what is being done to the system now
        self._phases: dict[str, int] = {}  # name -> its place in the order of appearance
        self.windows: list[Window] = []
        self.answers: Counter[Answer] = Counter()
        self.refused: Counter[int] = Counter()  # by status
        self.impolite = 0  # refusals for our own reasons without Retry-After
        self.unreachable: Counter[str] = Counter()  # times that a sender found nobody to connect to, by why
        self.foreign = 0  # deliveries that are no webhook of this run, or not byte for byte one
        self.misnamed = 0  # webhooks whose X-Forebay-Id was not always the same
        self.reasons: Counter[str] = Counter()  # of dead letters
        self.repeats: Counter[str] = (
            Counter()
        )  # deliveries and dead letters beyond the first, by the phase they came in
        self.copies = 0  # sent, beyond the first of each webhook
        self.dropped = 0  # of those, answered as duplicates
        self.latest_delivery = 0.0
        self.newest_ack = 0.0  # when the youngest webhook was sent that has got a 2xx
        self.taken = 0  # deliveries that the destination took
        self.attempts = array("d")  # when each attempt reached the destination
        self.attempts_in: Counter[str] = Counter()  # by the phase they came in
        self.at_once: Counter[str] = Counter()  # the most attempts that were under way at a time, by phase
        self._phase = array("H")
        self._sent, self._answered = array("d"), array("d")
        self._answer = bytearray()
        self._deliveries, self._dead = array("H"), array("H")
        self._came, self._ended = array("d"), array("d")
        self._event_ids: list[str] = []
        self._copied: dict[int, float] = {}  # when each was sent first
        self._causes: dict[int, str] = {}  # of those that have one

    def __len__(self) -> int:
        return len(self._sent)

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Name what happens within the block; what is sent in it carries the name."""
        before, self.phase = self.phase, phase
        try:
            yield
        finally:
            self.phase = before

    # ------------------------------------------------------------------------------------------- what the sender says

    def send(self, now: float) -> int:
        """The number of the webhook that is being sent now."""
        self._phase.append(self._phases.setdefault(self.phase, len(self._phases)))
        self._sent.append(now)
        self._answered.append(0.0)
        self._answer.append(Answer.NONE)
        self._deliveries.append(0)
        self._dead.append(0)
        self._came.append(math.inf)
        self._ended.append(math.inf)
        self._event_ids.append("")
        return len(self._sent) - 1

    def send_again(self, number: int, now: float) -> None:
        """A copy of a webhook is being sent now."""
        self.copies += 1
        self._copied.setdefault(number, self._sent[number])
        if not self.acked(number):
            self._sent[number] = now

    def acked(self, number: int) -> bool:
        return self._answer[number] == Answer.ACKED

    def ack_copy(self, number: int, now: float) -> None:
        """A copy was answered 2xx as a duplicate: the webhook is safe, if that is true."""
        self.dropped += 1
        if not self.acked(number):
            # It says that an earlier copy is safe, at a time when nothing new may be stored.
            self._sent[number] = self._copied[number]
        self._settle(number, now, Answer.ACKED)

    def ack(self, number: int, now: float, event_id: str) -> None:
        self._settle(number, now, Answer.ACKED)
        self.newest_ack = max(self.newest_ack, self._sent[number])
        self._name(number, event_id)

    def refuse(self, number: int, now: float, status: int, cause: str, *, retry_after: bool) -> None:
        self._settle(number, now, Answer.REFUSED)
        self._causes[number] = cause
        self.refused[status] += 1
        self.impolite += status in (429, 503) and not retry_after

    def lose_sight(self, number: int, now: float, what: str) -> None:
        """No answer came: nobody knows whether it was taken."""
        self._settle(number, now, Answer.UNKNOWN)
        self._causes[number] = what

    # ------------------------------------------------------------------------------------------- where it came out

    def come(self, number: int | None, now: float, at_once: int) -> None:
        """An attempt has reached the destination, where so many are under way now, at a webhook of this run or none."""
        self.attempts.append(now)
        self.attempts_in[self.phase] += 1
        self.at_once[self.phase] = max(self.at_once[self.phase], at_once)
        if number is not None and number < len(self):
            self._came[number] = min(self._came[number], now)

    def end(self, number: int, now: float) -> None:
        """The destination is done with it: nobody has to try it again."""
        if number < len(self):
            self._ended[number] = min(self._ended[number], now)

    def deliver(self, number: int, now: float, event_id: str) -> None:
        """The destination took it."""
        self.end(number, now)
        self.taken += 1
        self.latest_delivery = now
        if not self._exists(number):
            return
        self.repeats[self.phase] += self._deliveries[number] > 0
        self._deliveries[number] += 1
        self._name(number, event_id)

    def bury(self, number: int, reason: str, event_id: str) -> None:
        """It lies among the dead letters."""
        self.reasons[reason] += 1
        if not self._exists(number):
            return
        self._dead[number] += 1
        self._name(number, event_id)

    # ------------------------------------------------------------------------------------------- reading it

    @property
    def said(self) -> set[str]:
        """Every cause that a refusal or a missing answer has had."""
        return set(self._causes.values())

    def entries(self) -> Iterator[Entry]:
        names = list(self._phases)
        for number in range(len(self)):
            yield Entry(
                number=number,
                phase=names[self._phase[number]],
                first_sent=self._copied.get(number, self._sent[number]),
                sent=self._sent[number],
                answered=self._answered[number],
                answer=Answer(self._answer[number]),
                deliveries=self._deliveries[number],
                dead=self._dead[number],
                came=self._came[number],
                ended=self._ended[number],
                event_id=self._event_ids[number],
                cause=self._causes.get(number, ""),
            )

    def _settle(self, number: int, now: float, answer: Answer) -> None:
        if self._answer[number] == Answer.ACKED:
            return  # what is said of a copy takes no 2xx back
        if number in self._copied:
            self.answers[Answer(self._answer[number])] -= 1
        self._answered[number] = now
        self._answer[number] = answer
        self.answers[answer] += 1

    def _name(self, number: int, event_id: str) -> None:
        """A webhook is sent once, so it has one id, in its 2xx, in each delivery and as a dead letter."""
        known = self._event_ids[number]
        if not event_id or (known and known != event_id and number not in self._copied):
            self.misnamed += 1
        self._event_ids[number] = known or event_id

    def _exists(self, number: int) -> bool:
        if number < len(self):
            return True
        self.foreign += 1
        return False
