"""When an attempt may begin: not before the source's rate limit has a permit for it.

A message waits in the worker's hands, and RabbitMQ's patience with that is half an hour. So the worker takes few messages
ahead at a slow rate; and when none gets a permit for long, it gives them back and takes none until it has a permit in hand.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

# Seconds for which a message waits in a worker's hands. Well below RabbitMQ's patience, as a delivery may take long, too.
PATIENCE = 540.0
# Seconds of permits that wait in a worker's hands at most, as messages taken ahead.
_AHEAD = 60.0
# Seconds for which a permit is kept that was waited for without a message; if there is a message it comes at once.
_KEPT = 5.0


class Permits(Protocol):
    """Where permits come from."""

    async def take(self) -> bool:
        """Wait for a permit. False: there will be none."""


class Intake(Protocol):
    """What hands out messages."""

    async def stop_consuming(self) -> None: ...
    def resume_consuming(self) -> None: ...


def ahead(concurrency: int, rate: float) -> int:
    """How many messages are taken at a time where so many a second may be delivered: none that would wait for long."""
    return max(1, min(concurrency, int(rate * _AHEAD)))


class Admission:
    """Lets attempts begin, one for each permit."""

    def __init__(
        self,
        permits: Permits,
        intake: Callable[[], Intake],
        waited: Callable[[float], None],
        *,
        patience: float = PATIENCE,
    ) -> None:
        """`waited` hears how many seconds each message has waited."""
        self._permits = permits
        self._intake = intake
        self._waited = waited
        self._patience = patience
        self._stopped: asyncio.Task[None] | None = None  # no messages are taken once it has ended
        self._resting: asyncio.Task[None] | None = None
        self._kept_until = 0.0  # a permit is in hand until then

    @property
    def resting(self) -> bool:
        """Whether no messages are taken, because there is no permit for long."""
        return self._resting is not None

    async def __call__(self) -> bool:
        """Wait until an attempt may begin. False: the message is to be given back."""
        began = time.monotonic()
        if began < self._kept_until:
            self._kept_until = 0.0
            return True
        try:
            async with asyncio.timeout(self._patience):
                return await self._permits.take()
        except TimeoutError:
            await self._rest()
            return False
        finally:
            self._waited(time.monotonic() - began)

    async def close(self) -> None:
        """Stop resting."""
        if self._resting is not None:
            self._resting.cancel()
            await asyncio.gather(self._resting, return_exceptions=True)

    async def _rest(self) -> None:
        """Take no messages until there is a permit. Returns when none is handed out any more: what is given back now stays there."""
        if self._stopped is None or self._resting is None:
            self._stopped = asyncio.ensure_future(self._intake().stop_consuming())
            self._resting = asyncio.ensure_future(self._until_permitted())
        await asyncio.shield(self._stopped)

    async def _until_permitted(self) -> None:
        try:
            if await self._permits.take():
                self._kept_until = time.monotonic() + _KEPT
                self._intake().resume_consuming()
        finally:
            self._resting = None
