"""Lets one webhook of a key be delivered at a time, in the order in which the broker hands them out.

A lane is consumed by one worker at a time. Of what the broker hands out ahead, webhooks of other keys go on while one is tried
again: it keeps its place, unacknowledged, and those of its key wait behind it. Nothing of a lane is ever given back one by
one: it would come again behind what is here already. When the connection ends the broker takes all of it back at once, in order.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from forebay.envelope import KEY_HEADER, Envelope, encode
from forebay_worker.gate import Slots
from forebay_worker.retry import DeadLetter, Decision, RetryIn
from forebay_worker.settle import Message, Settler

# How many messages of a lane the broker hands out ahead. All workers must have the same: what a worker with fewer leaves behind
# of another's would come before what it has taken itself.
WINDOW = 16
# Seconds between two attempts at a webhook that holds its key.
HOLD_S = 60
# Seconds until one is handed on again that nobody wanted: the worker takes nothing at present, or ends.
KEPT_S = 1.0


class Turn:
    """A message of a lane, until it is its key's turn and then until it is settled (a `forebay_worker.settle.Message`)."""

    __slots__ = ("_message", "_over", "_sequence", "headers", "held", "key", "rests", "waits_for")

    def __init__(self, message: Message, key: str, sequence: "Sequence") -> None:
        self._message = message
        self._sequence = sequence
        self._over = False
        self.key = key
        self.headers: Mapping[str, Any] = message.headers  # with what is known of attempts since it came
        self.held = False  # whether it would be a dead letter if others were not to wait for it
        self.rests = False  # whether it is to be tried again
        self.waits_for: Turn | None = None  # the one that rests, of which was told that this one waits behind it

    @property
    def message_id(self) -> str | None:
        return self._message.message_id

    @property
    def content_type(self) -> str | None:
        return self._message.content_type

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def stale(self) -> bool:
        return self._message.stale

    def ack(self) -> None:
        self._message.ack()
        self.end()

    def give_back(self) -> None:
        """Keep it all the same, in its place: what is given back comes again behind what is here already."""
        if self.stale:
            self.end()
        else:
            self._sequence.keep(self)

    def reject(self, *, requeue: bool = True) -> None:
        """Have another go at it, in its place; or let the broker dead-letter it."""
        if requeue and not self.stale:
            self._sequence.go_on(self)
            return
        if not requeue:
            self._message.reject(requeue=False)
        self.end()

    def end(self) -> None:
        """It is the next one's turn."""
        if not self._over:
            self._over = True
            self._sequence.next_after(self)


# Hears of a webhook that waits behind an earlier one of its key, by its id, which is tried again; None: it waits no longer.
Told = Callable[[Message, str | None], None]


class Sequence:
    """Hands messages on, each when no other of its key is under way; those without a key at once."""

    def __init__(self, hand_on: Callable[[Message], None], told: Told = lambda *_: None) -> None:
        self._hand_on = hand_on
        self._told = told
        self._lines: dict[
            str, deque[Turn]
        ] = {}  # of each key: first the one that is under way or rests, behind it who waits
        self._resting: dict[Turn, asyncio.TimerHandle] = {}  # until their next attempts

    @property
    def resting(self) -> int:
        """How many keys wait for the next attempt at one of their webhooks."""
        return len(self._resting)

    @property
    def held(self) -> int:
        """How many of them wait until somebody does something."""
        return sum(turn.held for turn in self._resting)

    def on_message(self, message: Message) -> None:
        """Take a message from the broker."""
        key = message.headers.get(KEY_HEADER)
        if not isinstance(key, str):
            self._hand_on(message)
            return
        self._forget_stale()
        turn = Turn(message, key, self)
        line = self._lines.get(key)
        if line is None:
            self._lines[key] = deque([turn])
            self._hand_on(turn)
        else:
            line.append(turn)
            if line[0].rests:
                self._tell(turn, line[0])

    def keep(self, turn: Turn) -> None:
        """Hand it on again in a moment: nobody wants it now."""
        self._resting[turn] = asyncio.get_running_loop().call_later(KEPT_S, self.go_on, turn)

    def rest(self, turn: Turn, envelope: Envelope, seconds: float, *, held: bool) -> None:
        """Try it again after so many seconds; its key waits. `envelope` knows of the attempts so far."""
        turn.headers, turn.held, turn.rests = encode(envelope).headers, held, True
        self._resting[turn] = asyncio.get_running_loop().call_later(seconds, self.go_on, turn)
        for one in islice(self._lines[turn.key], 1, None):
            self._tell(one, turn)

    def go_on(self, turn: Turn) -> None:
        """Have another attempt at it."""
        self._resting.pop(turn, None)
        turn.rests = False
        if turn.stale:
            turn.end()
        else:
            self._hand_on(turn)

    def next_after(self, turn: Turn) -> None:
        """It is settled, or comes again: the next of its key goes on."""
        line = self._lines[turn.key]
        line.popleft()
        while line and line[0].stale:
            line.popleft()
        if not line:
            del self._lines[turn.key]
            return
        if line[0].waits_for is not None:
            self._told(line[0], None)
        self._hand_on(line[0])

    def _tell(self, turn: Turn, first: Turn) -> None:
        """That it waits, once for each that it waits for."""
        if turn.waits_for is not first and not turn.stale:
            turn.waits_for = first
            self._told(turn, first.message_id)

    def _forget_stale(self) -> None:
        """After a loss of the connection all of them come again, and must not wait for what they were before."""
        while self._resting and (first := next(iter(self._resting))).stale:
            self._resting.pop(first).cancel()
            first.end()


@dataclass(frozen=True, slots=True)
class OrderedSlots:
    """The slots as the gate sees them: what is in hand of lanes is always there, and nothing need wait until it is worked off."""

    slots: Slots

    @property
    def in_hand(self) -> int:
        return 0

    def limit(self, most: int) -> None:
        self.slots.limit(most)

    def when_worked_off(self, then: Callable[[], None]) -> None:
        self.slots.when_worked_off(then)

    def give_back(self) -> None:
        self.slots.give_back()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedSettler:
    """Settles messages of which none may overtake another of its key: what is tried again keeps its place."""

    settler: Settler
    sequence: Sequence
    hold: bool  # whether what would be a dead letter keeps its place too

    async def settle(self, message: Message, envelope: Envelope, decision: Decision) -> Decision | None:
        if not isinstance(message, Turn):
            return await self.settler.settle(message, envelope, decision)
        match decision:
            case RetryIn(seconds):
                self.sequence.rest(message, envelope, seconds, held=False)
                return RetryIn(seconds, in_place=True)
            case DeadLetter() if self.hold:
                self.sequence.rest(message, envelope, HOLD_S, held=True)
                return RetryIn(HOLD_S, in_place=True, held=True)
        done = await self.settler.settle(message, envelope, decision)
        if done is None:
            _let_go(message)
        return done

    async def bury_undecodable(self, message: Message, error: str) -> bool:
        done = await self.settler.bury_undecodable(message, error)
        if not done:
            _let_go(message)
        return done


def _let_go(message: Message) -> None:
    """It was not settled. Where its channel is gone the broker hands it out again; else it has been rejected and goes on."""
    if isinstance(message, Turn) and message.stale:
        message.end()
