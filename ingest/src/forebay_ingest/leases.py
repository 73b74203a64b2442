"""Whose segments are whose: a lease beside those of each replica, with the name of the process in it that works on them.

Nobody compares clocks: a lease is nobody's when it has not changed for a while as its observer counts. Should two believe that
they hold it, webhooks are delivered twice, and none is lost: nobody deletes what is not queued.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from hashlib import sha256

from forebay.envelope import Claim
from forebay.storage import Storage, StorageError
from forebay_ingest.segments import LEASE, folder

# How often a lease is written anew, and after how long without that it is nobody's. Seconds.
RENEW_S, LAPSE_S = 10.0, 45.0
# Between writing one's name into a lease that was nobody's and reading it again: another one may have done the same.
CLAIM_S = 1.0


class Leases:
    """Those of one source, as one of its replicas holds and sees them."""

    def __init__(self, source: str, replica: str, storage: Storage) -> None:
        self.held: set[str] = set()  # names of replicas, our own among them
        self._source, self._me = source, replica.encode()
        self._storage = storage
        self._writing = asyncio.Lock()
        self._seen: dict[str, tuple[datetime, float]] = {}  # others' leases as they are, and since when

    async def renew(self, replica: str, needed: Callable[[], bool] = lambda: True) -> None:
        """Write our name into a lease, or give it up if it is not needed any more by then."""
        async with self._writing:
            if not needed():
                await self._give_up(replica)
                return
            self.held.add(replica)
            with suppress(StorageError):  # it is tried again before it lapses
                await self._storage.put(self._key(replica), self._me)

    async def claim(self, replica: str, written: datetime | None, now: float) -> bool:
        """Take over a lease that is nobody's, so written as it was found at a time of a monotonic clock. Whether it is ours."""
        if not self._lapsed(replica, written, now):
            return False
        await self._storage.put(self._key(replica), self._me)
        await asyncio.sleep(CLAIM_S)
        if await self._is_ours(replica):
            self.held.add(replica)
            return True
        return False

    def forget_all_but(self, replicas: Collection[str]) -> None:
        """Keep nothing of those that are not there any more."""
        self._seen = {replica: seen for replica, seen in self._seen.items() if replica in replicas}

    async def release(self) -> None:
        """Let others take over at once."""
        async with self._writing:
            for replica in list(self.held):
                await self._give_up(replica)

    def _lapsed(self, replica: str, written: datetime | None, now: float) -> bool:
        if written is None:
            return True
        known, since = self._seen.get(replica, (None, now))
        self._seen[replica] = (written, now if known != written else since)
        return known == written and now - since >= LAPSE_S

    async def _is_ours(self, replica: str) -> bool:
        ours = Claim(key=self._key(replica), size=len(self._me), sha256=sha256(self._me).hexdigest())
        try:
            return b"".join([piece async for piece in self._storage.get(ours)]) == self._me
        except StorageError:
            return False

    async def _give_up(self, replica: str) -> None:
        self.held.discard(replica)
        with suppress(StorageError):  # then it lapses
            await self._storage.delete(self._key(replica))

    def _key(self, replica: str) -> str:
        return folder(self._source, replica) + LEASE
