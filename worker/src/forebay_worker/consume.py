"""The message path: decode, deliver, decide, settle; as many messages at a time as the concurrency, no more.

A slot handles one message after another while any wait. What waits is at most the reserve that the prefetch grants beyond
the concurrency, and goes back to the broker when the worker stops. A gate may bound how many are handled (`limit`): what
waits then is kept in hand, unacknowledged, because giving it back would count towards the queue's delivery limit.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from forebay.envelope import ANSWER_LENGTH, ERROR_LENGTH, Attempt, Claim, Envelope, UndecodableError, decode
from forebay_worker.outcome import Delivered, Dropped, Failed, Outcome, Refused
from forebay_worker.retry import Ack, Decision, Policy, decide
from forebay_worker.settle import Message

# Seconds before a message is given back that could not be handled at all, so that a fault of ours does not spin.
PAUSE_AFTER_FAULT = 1.0

Deliver = Callable[[Envelope], Awaitable[Outcome]]
# Waits until an attempt may begin; what it returns hears that the attempt is over. None: the message is to be given back.
Admit = Callable[[Message], Awaitable[Callable[[], None] | None]]
# Hears of each attempt as soon as it has ended: how, what follows, and how many seconds it took.
Ended = Callable[[Outcome, Decision, float], None]


class Witness(Protocol):
    """Who hears what became of each message: counts it, and writes the log's line."""

    def attempted(self, envelope: Envelope, outcome: Outcome, decision: Decision, seconds: float) -> None:
        """An attempt ended and was settled."""

    def undecodable(self, message: Message, error: str) -> None:
        """A message that is no envelope was dead-lettered."""

    def fault(self, error: Exception) -> None:
        """Something of our own went wrong with a message."""


class Settling(Protocol):
    """Carries out decisions."""

    async def settle(self, message: Message, envelope: Envelope, decision: Decision) -> Decision | None:
        """What was done with the message; None: it comes again."""

    async def bury_undecodable(self, message: Message, error: str) -> bool:
        """Dead-letter a message that is no envelope; whether that was done."""


class Waiting(Protocol):
    """What waits for a free slot."""

    def __len__(self) -> int: ...
    def append(self, message: Message, /) -> None: ...
    def popleft(self) -> Message: ...


class Consumption:
    """Handles the messages of one queue.

    `deliver_claimed` and `acknowledged` are for webhooks whose bodies are elsewhere: one attempt, and the end of them.
    """

    def __init__(
        self,
        deliver: Deliver,
        settler: Settling,
        policy: Policy,
        witness: Witness,
        *,
        concurrency: int,
        admit: Admit | None = None,
        deliver_claimed: Deliver,
        acknowledged: Callable[[Message, Claim], None] | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        """`waiting` is where messages are until a slot is free: in order, unless it is said otherwise."""
        self._deliver = deliver
        self._deliver_claimed = deliver_claimed
        self._acknowledged = acknowledged
        self._settler = settler
        self._policy = policy
        self._witness = witness
        self.ended: Ended | None = None  # set at most once, before the first message
        self._concurrency = concurrency
        self._admit = admit
        # Chosen once: where nothing paces the deliveries, they pay nothing for it.
        self._next = self._guarded if admit is None else self._admitted
        self._shut = 0  # slots that handle nothing at present
        self._waiting: Waiting = deque[Message]() if waiting is None else waiting
        self._slots: set[asyncio.Task[None]] = set()
        self._under_way: dict[int, Envelope] = {}  # by slot
        self._free = list(range(concurrency))
        self._stopping = False
        self._worked_off: Callable[[], None] | None = None

    @property
    def in_flight(self) -> int:
        """How many messages are being handled."""
        return self._concurrency - len(self._free)

    @property
    def in_hand(self) -> int:
        """How many messages wait here until a slot handles them."""
        return len(self._waiting)

    def oldest_age(self, now: float) -> float:
        """Seconds since the oldest webhook was received that is on its first attempt now; 0 if there is none."""
        first = [envelope.received_at for envelope in self._under_way.values() if not envelope.attempts_made]
        return max(0.0, now - min(first) / 1000) if first else 0.0

    def on_message(self, message: Message) -> None:
        """Take a message from the broker."""
        if self._stopping:
            message.give_back()
        elif len(self._free) > self._shut:
            self._begin(message)
        else:
            self._waiting.append(message)

    def limit(self, most: int) -> None:
        """Handle so many messages at a time, and no more than the concurrency. What is under way is not cut."""
        self._shut = max(0, self._concurrency - most)
        while self._waiting and len(self._free) > self._shut and not self._stopping:
            self._begin(self._waiting.popleft())

    def when_worked_off(self, then: Callable[[], None]) -> None:
        """Call once, when a slot ends and nothing waits in hand any more."""
        self._worked_off = then

    def give_back(self) -> None:
        """Hand what waits back to the broker."""
        while self._waiting:
            self._waiting.popleft().give_back()

    async def drain(self, within_s: float) -> int:
        """Give back what waits, finish what is under way, cancel the rest when the time is over. How many were cancelled."""
        self._stopping = True
        self.give_back()
        if not self._slots:
            return 0
        _, late = await asyncio.wait(tuple(self._slots), timeout=within_s)
        for slot in late:
            slot.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)

    def _begin(self, message: Message) -> None:
        slot = asyncio.ensure_future(self._slot(self._free.pop(), message))
        self._slots.add(slot)
        slot.add_done_callback(self._slots.discard)

    async def _slot(self, number: int, message: Message) -> None:
        try:
            await self._next(number, message)
            while self._waiting and len(self._free) >= self._shut:
                await self._next(number, self._waiting.popleft())
        finally:
            # In the same step as the last look at what waits: nothing can be left there by a slot that ends.
            self._under_way.pop(number, None)
            self._free.append(number)
            if self._worked_off is not None and not self._waiting:
                then, self._worked_off = self._worked_off, None
                then()

    async def _admitted(self, number: int, message: Message) -> None:
        assert self._admit is not None
        over = await self._admit(message)
        if over is None:
            message.give_back()
            return
        try:
            if len(self._free) < self._shut and not self._stopping:
                self._waiting.append(message)  # less may be handled by now: the permit is spent, the attempt is not
            else:
                await self._guarded(number, message)
        finally:
            over()

    async def _guarded(self, number: int, message: Message) -> None:
        try:
            await self._handle(number, message)
        except Exception as error:  # noqa: BLE001  # one message must not end the slot; it comes again, and is counted
            self._witness.fault(error)
            await asyncio.sleep(PAUSE_AFTER_FAULT)
            message.reject(requeue=True)

    async def _handle(self, number: int, message: Message) -> None:
        if message.stale:
            message.give_back()  # which the broker has done by itself: it hands it out again
            return
        try:
            envelope = decode(message.message_id, message.content_type, message.headers, message.body)
        except UndecodableError as error:
            await self._bury(message, str(error))
            return
        self._under_way[number] = envelope
        began = time.time()
        outcome = await self._attempt(envelope)
        ended = time.time()
        decision = decide(
            outcome,
            attempt=envelope.attempts_made + 1,
            age=ended - envelope.received_at / 1000,
            policy=self._policy,
            jitter=random.random(),  # noqa: S311  # jitter, not a secret
        )
        if self.ended is not None:
            self.ended(outcome, decision, ended - began)
        known = envelope if isinstance(decision, Ack) else envelope.failed(attempt_of(outcome, began, ended))
        done = await self._settler.settle(message, known, decision)
        if done is not None:
            if envelope.claim is not None and self._acknowledged is not None and isinstance(done, Ack):
                self._acknowledged(message, envelope.claim)
            self._witness.attempted(envelope, outcome, done, ended - began)

    async def _attempt(self, envelope: Envelope) -> Outcome:
        try:
            return await (self._deliver if envelope.claim is None else self._deliver_claimed)(envelope)
        except Exception as error:  # noqa: BLE001  # a fault of ours ends like one of the handler: retried, then dead
            self._witness.fault(error)
            return Failed(f"Forebay could not make the attempt: {type(error).__name__}: {error}")

    async def _bury(self, message: Message, error: str) -> None:
        if await self._settler.bury_undecodable(message, error):
            self._witness.undecodable(message, error)


def attempt_of(outcome: Outcome, began: float, ended: float) -> Attempt:
    """What an envelope remembers of an attempt that did not succeed."""
    return Attempt(
        at=int(began * 1000),
        ms=max(0, int((ended - began) * 1000)),
        error=error_of(outcome)[:ERROR_LENGTH],
        status=outcome.status if isinstance(outcome, Refused) else None,
        answer=outcome.answer[:ANSWER_LENGTH] if isinstance(outcome, Refused) else "",
    )


def error_of(outcome: Outcome) -> str:
    """What went wrong, for a person."""
    match outcome:
        case Delivered():
            return ""
        case Dropped(reason):
            return reason
        case _:
            return outcome.error
