"""Webhooks whose bodies are in object storage (the claim check): fetched for each attempt, let go when they are done.

A body that is missing or not what was stored is never delivered: the attempt failed, and is tried again like any other.
"""

import asyncio
import time
from collections import deque
from typing import NamedTuple, Protocol

from forebay.envelope import Claim, Envelope
from forebay.storage import Storage, StorageError
from forebay_worker.claim_measures import ClaimMeasures
from forebay_worker.outcome import Outcome, Unfetched

# Seconds between an acknowledgement and the deletion of the body. If the channel still lives then, the broker has heard of
# it: a connection that is dead and does not know it is found out by its heartbeat well before.
GRACE_S = 180.0
_LOOK_S = 5.0
# At once; a storage that hangs holds up nobody but the deletions.
_DELETE_S = 10.0


class Destination(Protocol):
    """Who gets the webhooks."""

    async def stream(self, envelope: Envelope, storage: Storage) -> Outcome:
        """Make one attempt with a body that is in the storage. Raises StorageError."""


class Message(Protocol):
    """A message that was acknowledged."""

    @property
    def stale(self) -> bool:
        """Whether its channel is gone, so that nobody knows whether the broker has heard of it."""


class Claims:
    """The large webhooks of one queue."""

    def __init__(self, destination: Destination, storage: Storage, measures: ClaimMeasures, *, delete: bool) -> None:
        self._destination = destination
        self._storage = storage
        self._measures = measures
        self._delete = delete
        self._acknowledged: deque[_Acknowledged] = deque()

    async def deliver(self, envelope: Envelope) -> Outcome:
        """Make one attempt with a body that is elsewhere."""
        try:
            return await self._destination.stream(envelope, self._storage)
        except StorageError as error:
            self._measures.failed(error.cause)
            return Unfetched(str(error))

    def acknowledged(self, message: Message, claim: Claim) -> None:
        """It is done with: nobody needs the body any more, once the broker knows."""
        if self._delete:
            self._acknowledged.append(_Acknowledged(time.monotonic(), message, claim.key))

    async def run(self) -> None:
        """Delete bodies that are done with, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            while self._acknowledged and time.monotonic() - self._acknowledged[0].at > GRACE_S:
                await self._let_go(self._acknowledged.popleft())

    async def _let_go(self, done: "_Acknowledged") -> None:
        if done.message.stale:
            return  # the broker may hand it out again; what is left is for the bucket's lifecycle rule
        try:
            async with asyncio.timeout(_DELETE_S):
                await self._storage.delete(done.key)
        except StorageError as error:
            self._measures.failed(error.cause)
        except TimeoutError:
            self._measures.failed("unreachable")
        else:
            self._measures.deleted()


class _Acknowledged(NamedTuple):
    at: float  # monotonic
    message: Message
    key: str


async def homeless(envelope: Envelope) -> Outcome:
    """The attempt of a worker that has no storage: what refers to one is not lost, and waits for a person in the end."""
    assert envelope.claim is not None
    return Unfetched(f"its body is at {envelope.claim.key}, and spec.storage does not say of which storage")
