"""Where webhooks go while the broker can not confirm them: into the storage, a segment at a time, and then comes the 2xx.

    published → not confirmed → stored → answered … the broker is back → published → confirmed → deleted

As long as anything of this replica waits there, new webhooks go there too, behind it: so they are queued in the order in which they
came. A source without an outage buffer has none of this; with one, a webhook that the broker confirms costs one call more.
"""

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from forebay.amqp.frames import OversizedError
from forebay.amqp.publisher import Publisher
from forebay.errors import SpecError
from forebay.runtime import Runtime
from forebay.settings import IngestSettings, OutageBuffer
from forebay.storage import Storage, StorageError
from forebay.telemetry import Log
from forebay_ingest import answers
from forebay_ingest.answers import BROKER_REFUSALS, Refusal
from forebay_ingest.emptying import Emptying, once_a_minute
from forebay_ingest.holdings import Holdings
from forebay_ingest.measures import Measures
from forebay_ingest.prepared import Received
from forebay_ingest.receive import Publish, Respond, Verdict
from forebay_ingest.segments import Kept
from forebay_ingest.shelter_measures import ShelterMeasures

# A segment is closed at so many webhooks, or bytes.
_SEGMENT_WEBHOOKS, _SEGMENT_BYTES = 1_000, 2 * 1024 * 1024
_POLL_S = 0.01
_PUT_S = 5.0  # for storing a segment; then 503
_FIRST_LOOK_S = 5.0  # what comes meanwhile waits for its answer
_BUSY = BROKER_REFUSALS["busy"]
# An unroutable webhook is no outage: the broker is there, and no queue is.
_OUTAGE = frozenset(refusal for cause, refusal in BROKER_REFUSALS.items() if cause != "unroutable")


class _Waiting(NamedTuple):
    """A webhook that is not answered yet."""

    queue: str
    received: Received
    size: int  # of its body, wherever that is
    respond: Respond
    publish: Publish

    @property
    def held(self) -> int:
        """Bytes that it takes in memory and in the storage."""
        return len(self.received.body) + len(self.received.header_block)


def shelter(
    settings: IngestSettings, runtime: Runtime, publisher: Publisher, measures: Measures, log: Log
) -> "Shelter | None":
    """The outage buffer that the settings ask for. Raises SpecError for a storage that can not be used."""
    given = settings.storage
    if settings.outage_buffer is None:
        return None
    if given is None:
        raise SpecError("outage_buffer: there is no storage to keep webhooks in")
    # Of its own: a large body that is being put must not hold up a segment; and somebody waits for its answer.
    storage = Storage(replace(given, put_s=min(given.put_s, _PUT_S)), runtime.read_secret)
    holdings = Holdings(settings.source, runtime.replica, storage, log)
    return Shelter(settings, holdings, publisher, measures, log)


class Shelter:
    """The outage buffer of one endpoint."""

    def __init__(
        self, settings: IngestSettings, holdings: Holdings, publisher: Publisher, measures: Measures, log: Log
    ) -> None:
        self._given, self._limits = settings.outage_buffer or OutageBuffer(), settings.limits
        self._holdings, self._publisher = holdings, publisher
        self._counts, self._measures = measures, ShelterMeasures(measures, settings.source, holdings, self._given)
        self._emptying = Emptying(settings, holdings, publisher, self._measures, log)
        self._log = log
        self._throttle = once_a_minute()
        # Whether new webhooks go into the storage. They do at first: an earlier life may have left some.
        self.diverting = True
        self._distrusted = False  # the broker has failed, and since then confirmed nothing of what was stored
        self._came_back: deque[_Waiting] = deque()  # published and not confirmed: they came before …
        self._waiting: deque[_Waiting] = deque()  # … those that were not published at all
        self._bytes = 0  # of both
        self._news = asyncio.Event()
        holdings.on_found = self._divert

    @property
    def obstacle(self) -> Refusal | None:
        """Why no more webhooks can be taken while the broker can not confirm."""
        oldest = self._holdings.oldest
        if self._holdings.bytes + self._bytes >= self._given.max_bytes:
            return answers.BUFFER_FULL
        if oldest is not None and time.time() - oldest / 1000 > self._given.max_age_s:
            return answers.BUFFER_FULL
        return None

    @property
    def unready(self) -> str | None:
        """Why webhooks should rather go to another replica."""
        if not self._holdings.looked.is_set():
            return "looks for what an earlier process has left in the outage buffer"
        link = self._publisher.link
        full = self.obstacle is not None and not link.up
        return f"the outage buffer is full, and there is no connection to the broker: {link.error}" if full else None

    def around(self, publish: Publish) -> Publish:
        """A way to publish that keeps what the broker does not confirm."""

        def sheltered(queue: str, received: Received, size: int, respond: Respond) -> None:
            if self.diverting:
                self._take(_Waiting(queue, received, size, respond, publish))
                return

            def settled(verdict: Verdict) -> None:
                if type(verdict) is bytes:
                    respond(verdict)
                else:
                    self._unconfirmed(verdict, _Waiting(queue, received, size, respond, publish))

            publish(queue, received, size, settled)

        return sheltered

    async def run(self) -> None:
        """Store, and publish what is stored, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._holdings.run())
            group.create_task(self._emptying.run(self._emptied))
            group.create_task(self._write())

    async def empty(self) -> None:
        """Return when nothing is left in the storage, or when the broker takes nothing."""
        while self._holdings.news.is_set() and self._publisher.obstacle is None:  # noqa: ASYNC110  # once in a life
            await asyncio.sleep(_POLL_S)

    async def release(self) -> None:
        """Let others take over at once what is left."""
        await self._holdings.release()

    # --------------------------------------------------------------------------------------------------------- taking

    def _unconfirmed(self, verdict: Verdict, one: _Waiting) -> None:
        if verdict not in _OUTAGE:
            one.respond(verdict)
        elif verdict is not _BUSY:
            self._distrusted = True
            self._hold(self._came_back, one)
        elif self._admits(one):
            self._hold(self._waiting, one)

    def _take(self, one: _Waiting) -> None:
        """Take a webhook that is not published at first; one that could never be is not taken."""
        try:
            self._emptying.frames(Kept(one.queue, one.received))
        except OversizedError:
            one.respond(answers.HEADERS_TOO_LARGE)
            return
        if self._admits(one):
            self._hold(self._waiting, one)

    def _admits(self, one: _Waiting) -> bool:
        """Whether one more may wait; it is told if not. As many as in flight, beside those that were."""
        refusal, limits = self.obstacle, self._limits
        if len(self._waiting) >= limits.in_flight or self._bytes + one.held > 2 * limits.in_flight_bytes:
            refusal = _BUSY
        if refusal is not None:
            one.respond(refusal)
        return refusal is None

    def _hold(self, queue: deque[_Waiting], one: _Waiting) -> None:
        queue.append(one)
        self._bytes += one.held
        self._divert()

    def _divert(self) -> None:
        self.diverting = True
        self._news.set()

    # -------------------------------------------------------------------------------------------------------- storing

    async def _write(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK_S):
                await self._holdings.looked.wait()
        while True:
            if not self._holdings.own:
                await self._all_decided()
            if self._may_release():
                self._release()
            if self._came_back or self._waiting:
                await self._store(self._batch())
            else:
                self._news.clear()
                await self._news.wait()

    async def _all_decided(self) -> None:
        """Until each publish has its outcome: what is under way came before all that waits here."""
        while self.diverting and self._publisher.in_flight > self._emptying.in_flight:  # noqa: ASYNC110  # only when an outage begins
            await asyncio.sleep(_POLL_S)

    def _may_release(self) -> bool:
        nothing_before = not (self._holdings.own or self._distrusted)
        return self.diverting and nothing_before and self._publisher.obstacle is None

    def _release(self) -> None:
        """Go back to publishing, with what waits first. What does not get through comes back here."""
        waiting = (*self._came_back, *self._waiting)
        self._came_back.clear()
        self._waiting.clear()
        self._bytes = 0
        self.diverting = False
        for one in waiting:
            self.around(one.publish)(one.queue, one.received, one.size, one.respond)

    def _batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        for queue in (self._came_back, self._waiting):
            while queue and len(batch) < _SEGMENT_WEBHOOKS and size < _SEGMENT_BYTES:
                batch.append(queue.popleft())
                size += batch[-1].held
        return batch

    async def _store(self, batch: list[_Waiting]) -> None:
        refusal: Refusal | None = None
        first = not self._holdings.own
        try:
            await self._holdings.keep([Kept(one.queue, one.received) for one in batch])
        except StorageError as error:
            refusal = self._failed(error)
        finally:
            self._bytes -= sum(one.held for one in batch)
        if first and refusal is None:
            self._log.warning("outage.buffering", reason=self._publisher.link.error)
        for one in batch:
            if refusal is None:
                self._counts.sheltered(one.queue, one.size)
                self._measures.buffered += 1
            one.respond(refusal or one.received.event_id)

    def _failed(self, error: StorageError) -> Refusal:
        self._measures.failed(error.cause)
        if self._throttle.admit(error.cause) is not None:
            self._log.warning("outage.unstored", cause=error.cause, error=str(error))
        self._distrusted = False  # nothing of this is in the storage, so nothing has to be published before
        return answers.STORAGE

    def _emptied(self) -> None:
        """All of our own is queued: the broker works."""
        self._distrusted = False
        self._news.set()
        self._log.info("outage.emptied", webhooks=self._measures.drained)
