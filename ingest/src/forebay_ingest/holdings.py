"""What the outage buffer has in the storage: this replica's own segments, and those left by one that is gone.

Each replica's are in a folder with its name, and beside them its lease.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from forebay.identity import IdSource
from forebay.storage import Storage, StorageError
from forebay.telemetry import Log
from forebay_ingest.leases import RENEW_S, Leases
from forebay_ingest.segments import LEASE, Kept, Segment, folder, is_segment, pack, segment, unpack

# How often somebody looks for what is left, and how long a listing may take.
LOOK_S, _LIST_S = 30.0, 20.0


@dataclass(slots=True)
class _Found:
    """What a listing has of one replica."""

    lease: datetime | None = None  # when it was written last
    segments: list[Segment] = field(default_factory=list)
    halves: list[str] = field(default_factory=list)  # keys of what a kill has left in a folder, half written


class Holdings:
    """The segments of one replica of a source ("namespace/name")."""

    def __init__(self, source: str, replica: str, storage: Storage, log: Log) -> None:
        self.own: deque[Segment] = deque()  # oldest first
        self.inherited: deque[Segment] = deque()  # those of one replica after those of another
        self.webhooks = self.bytes = 0  # of both
        self.taken_over = 0  # webhooks of other replicas, ever
        self.news = asyncio.Event()  # there are some
        self.looked = asyncio.Event()  # what an earlier life has left is known, or can not be
        self.on_found: Callable[[], None] = lambda: None  # there are some of our own that we did not know of
        self._source, self._replica = source, replica
        self._storage = storage
        self._leases = Leases(source, replica, storage)
        self._log = log
        self._ids = IdSource()
        self._last_ms = 0
        # Keys that are no news when a listing shows them:
        self._held: set[str] = set()
        self._putting: set[str] = set()
        self._going: set[str] = set()  # done with, and not deleted yet
        self._gone: set[str] = set()  # deleted since the last listing began
        self._spoiled: set[str] = set()  # of no use, and kept for a person

    @property
    def oldest(self) -> int | None:
        """When the oldest segment was made, in ms since 1970."""
        return min((queue[0].made for queue in (self.own, self.inherited) if queue), default=None)

    def next(self, count: int, size: int) -> list[Segment]:
        """The oldest segments, so many and so many bytes at most, but one at least: our own before inherited ones."""
        found: list[Segment] = []
        for one in self.own or self.inherited:
            size -= one.size
            if found and (len(found) == count or size < 0):
                break
            found.append(one)
        return found

    async def keep(self, webhooks: list[Kept]) -> None:
        """Store webhooks; when this returns they are durable. Raises StorageError."""
        content = pack(webhooks)
        self._last_ms = max(self._last_ms + 1, int(time.time() * 1000))
        made = segment(self._source, self._replica, self._ids.next(self._last_ms), content, len(webhooks))
        self._putting.add(made.key)
        try:
            renewal = () if self.own else (self._leases.renew(self._replica),)
            await asyncio.gather(self._storage.put(made.key, content), *renewal)
        finally:
            self._putting.discard(made.key)  # one that failed may be there all the same; it is found then
        self._add(self.own, [made])

    async def read(self, one: Segment) -> list[Kept]:
        """What is in a segment. Raises StorageError, or UnreadableError."""
        return unpack(b"".join([piece async for piece in self._storage.get(one.content)]))

    async def drop(self, one: Segment) -> None:
        """Delete a segment whose webhooks are in their queues."""
        self._remove(one)
        self._going.add(one.key)
        await self._delete(one.key)

    def set_aside(self, one: Segment) -> None:
        """Leave a segment for a person to look at."""
        self._remove(one)
        self._spoiled.add(one.key)

    async def run(self) -> None:
        """Renew leases, and look for what is left, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_again())
            group.create_task(self._renew_again())

    async def release(self) -> None:
        """Let others take over at once what is left."""
        await self._leases.release()

    # ------------------------------------------------------------------------------------------------------- looking

    async def look(self) -> None:
        """Take up what is there and nobody works on. Raises StorageError, TimeoutError."""
        self._gone.clear()
        async with asyncio.timeout(_LIST_S):
            found = await self._list()
        own = found.pop(self._replica, _Found())
        if self._add(self.own, own.segments):
            self.on_found()
        if not self.looked.is_set():  # nobody writes yet
            await self._sweep(own)
        self.looked.set()
        self._leases.forget_all_but(found)
        for replica, there in found.items():
            if replica in self._leases.held:
                self._inherit(replica, there.segments)
            elif await self._leases.claim(replica, there.lease, time.monotonic()):
                self._inherit(replica, there.segments)
                await self._sweep(there)

    def _inherit(self, replica: str, segments: list[Segment]) -> None:
        added = self._add(self.inherited, segments)
        if added:
            self.taken_over += added
            self._log.warning("outage.inherited", replica=replica, webhooks=added)

    async def _sweep(self, there: _Found) -> None:
        for key in there.halves:
            await self._delete(key)

    async def _list(self) -> dict[str, _Found]:
        found: dict[str, _Found] = {}
        async for stored in self._storage.list(folder(self._source)):
            replica, _, name = stored.key.removeprefix(folder(self._source)).rpartition("/")
            there = found.setdefault(replica, _Found())
            if name == LEASE:
                there.lease = stored.at
            elif is_segment(name):
                there.segments.append(Segment(stored.key, stored.size))
            elif name.startswith("."):
                there.halves.append(stored.key)
        return found

    async def _look_again(self) -> None:
        while True:
            try:
                await self.look()
            except (StorageError, TimeoutError) as error:
                self._log.warning("outage.unseen", error=str(error) or "the storage took too long")
            self.looked.set()
            await asyncio.sleep(LOOK_S * random.uniform(0.8, 1.2))  # noqa: S311  # jitter, not a secret

    async def _renew_again(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            for replica in list(self._leases.held):
                await self._leases.renew(replica, partial(self._works_on, replica))
            for key in list(self._going):
                await self._delete(key)

    def _works_on(self, replica: str) -> bool:
        if replica == self._replica:
            return bool(self.own or self._putting)
        begin = folder(self._source, replica)
        return any(one.key.startswith(begin) for one in self.inherited)

    # -------------------------------------------------------------------------------------------------------- keeping

    def _add(self, queue: deque[Segment], segments: list[Segment]) -> int:
        """Take up those that are news. How many webhooks are in them."""
        known = (self._held, self._putting, self._going, self._gone, self._spoiled)
        new = [one for one in segments if not any(one.key in keys for keys in known)]
        if not new:
            return 0
        ordered = not queue or queue[-1].key < min(one.key for one in new)
        queue.extend(sorted(new, key=lambda one: one.key))
        if not ordered:
            merged = sorted(queue, key=lambda one: one.key)
            queue.clear()
            queue.extend(merged)
        self._held |= {one.key for one in new}
        self._last_ms = max(self._last_ms, *(one.made for one in new))
        self.bytes += sum(one.size for one in new)
        added = sum(one.webhooks for one in new)
        self.webhooks += added
        self.news.set()
        return added

    def _remove(self, one: Segment) -> None:
        (self.own if one in self.own else self.inherited).remove(one)
        self._held.discard(one.key)
        self.webhooks -= one.webhooks
        self.bytes -= one.size
        if not self.own and not self.inherited:
            self.news.clear()

    async def _delete(self, key: str) -> None:
        """What can not be deleted now is tried again."""
        try:
            await self._storage.delete(key)
        except StorageError as error:
            self._log.warning("outage.left", key=key, error=str(error))
            return
        self._gone.add(key)
        self._going.discard(key)
