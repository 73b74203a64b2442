"""When an attempt may begin: not before it has a slot of `maxInFlight`, and a permit of the rate limit.

A message waits in the worker's hands, and RabbitMQ's patience with that is half an hour. So the worker takes few messages
ahead at a slow rate; and when none may begin for long, it gives them back and takes none until it has a permit in hand.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Protocol

from forebay_worker.rotation import lane_of
from forebay_worker.settle import Message

# Seconds for which a message waits in a worker's hands. Well below RabbitMQ's patience, as a delivery may take long, too.
PATIENCE = 540.0
# Seconds of permits that wait in a worker's hands at most, as messages taken ahead.
_AHEAD = 60.0
# Seconds for which is kept what was waited for without a message; if there is a message it comes at once.
_KEPT = 5.0

Over = Callable[[], None]


class Permits(Protocol):
    """Where permits come from. Each is for one attempt."""

    async def take(self, group: Hashable = None) -> bool:
        """Wait for a permit, in turn with other groups. False: there will be none."""


class Slots(Protocol):
    """Where slots come from. Each goes back when the attempt is over."""

    async def take(self, group: Hashable = None) -> Over | None:
        """Wait for a slot, in turn with other groups. None: there will be none."""


class Intake(Protocol):
    """What hands out messages."""

    async def stop_consuming(self) -> None: ...
    def resume_consuming(self) -> None: ...


def ahead(concurrency: int, rate: float) -> int:
    """How many messages are taken at a time where so many a second may be delivered: none that would wait for long."""
    return max(1, min(concurrency, int(rate * _AHEAD)))


class Admission:
    """Lets attempts begin, one for each slot and permit."""

    def __init__(
        self,
        slots: Slots | None,
        permits: Permits | None,
        intake: Callable[[], Intake],
        waited: Callable[[float], None],
        *,
        patience: float = PATIENCE,
    ) -> None:
        """`waited` hears how many seconds each message has waited."""
        self._slots = slots
        self._permits = permits
        self._intake = intake
        self._waited = waited
        self._patience = patience
        self._stopped: asyncio.Task[None] | None = None  # no messages are taken once it has ended
        self._resting: asyncio.Task[None] | None = None
        self._kept: Over | None = None  # what is in hand without a message

    @property
    def resting(self) -> bool:
        """Whether no messages are taken, because none may begin for long."""
        return self._resting is not None

    async def __call__(self, message: Message) -> Over | None:
        """Wait until an attempt may begin, in turn with other lanes; call what it returns when it is over. None: the message is to be given back."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return kept
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._patience):
                return await self._enter(lane_of(message))
        except TimeoutError:
            await self._rest()
            return None
        finally:
            self._waited(time.monotonic() - began)

    async def close(self) -> None:
        """Stop resting."""
        self._let_go()
        if self._resting is not None:
            self._resting.cancel()
            await asyncio.gather(self._resting, return_exceptions=True)

    async def _enter(self, lane: Hashable = None) -> Over | None:
        """A slot first: a permit that waited for one would be used later than it was counted."""
        over = _nothing if self._slots is None else await self._slots.take(lane)
        if over is None or self._permits is None:
            return over
        permitted = False
        try:
            permitted = await self._permits.take(lane)
        finally:
            if not permitted:
                over()
        return over if permitted else None

    async def _rest(self) -> None:
        """Take no messages until one may begin. Returns when none is handed out any more: what is given back now stays there."""
        if self._stopped is None or self._resting is None:
            self._stopped = asyncio.ensure_future(self._intake().stop_consuming())
            self._resting = asyncio.ensure_future(self._until_admitted())
        await asyncio.shield(self._stopped)

    async def _until_admitted(self) -> None:
        try:
            self._kept = await self._enter()
            if self._kept is not None:
                asyncio.get_running_loop().call_later(_KEPT, self._let_go)
                self._intake().resume_consuming()
        finally:
            self._resting = None

    def _let_go(self) -> None:
        """No message came for what is in hand: others had it."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            kept()


def _nothing() -> None:
    """An attempt without a slot is over."""
