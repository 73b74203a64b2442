"""Publishes what is in the outage buffer when the broker is back, oldest first, and deletes it once all of it is confirmed.

A kill in between publishes the segments under way a second time. Nothing is deleted before the broker's confirm.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from forebay.amqp.frames import OversizedError
from forebay.amqp.link import resolve
from forebay.amqp.publisher import Outcome, Publisher
from forebay.settings import IngestSettings
from forebay.storage import StorageError
from forebay.telemetry import Log, Throttle
from forebay.topology import DEFAULT_QUEUE
from forebay_ingest.holdings import Holdings
from forebay_ingest.prepared import Prepared
from forebay_ingest.segments import Kept, Segment, UnreadableError
from forebay_ingest.shelter_measures import ShelterMeasures

# Segments that are read at once, and their bytes: of a source with few webhooks each holds one or two.
_SEGMENTS, _BYTES = 16, 8 * 1024 * 1024
_POLL_S, _AGAIN_S = 0.05, 0.5


def once_a_minute() -> Throttle:
    """For what goes on as long as an outage does."""
    return Throttle(1, clock=lambda: time.monotonic() / 60)


class Emptying:
    """Empties the holdings of one replica."""

    def __init__(
        self, settings: IngestSettings, holdings: Holdings, publisher: Publisher, measures: ShelterMeasures, log: Log
    ) -> None:
        self._holdings, self._publisher, self._prepared = holdings, publisher, Prepared(settings)
        self.in_flight = 0  # of what the publisher has in flight
        self._at_once = max(1, settings.limits.in_flight // 4)  # the rest is for webhooks that come in meanwhile
        self._queues, self._places = frozenset(settings.queues), frozenset(settings.places)
        self._measures = measures
        self._log = log
        self._throttle = once_a_minute()

    async def run(self, emptied: Callable[[], None]) -> None:
        """Until cancelled. `emptied` hears when nothing of this replica's own is left."""
        while True:
            await self._holdings.news.wait()
            if self._publisher.obstacle is not None:
                await asyncio.sleep(_POLL_S)
                continue
            ours = bool(self._holdings.own)
            try:
                await self._queue(self._holdings.next(_SEGMENTS, _BYTES))
            except StorageError as error:
                self._measures.failed(error.cause)
                self._tell(error.cause, str(error))
                await asyncio.sleep(_AGAIN_S)
            if ours and not self._holdings.own:
                emptied()

    async def _queue(self, segments: list[Segment]) -> None:
        """Publish segments, and let go of them. Raises StorageError if one can not be read now."""
        read = await asyncio.gather(*map(self._read, segments))
        await self._publish([one for webhooks in read for one in webhooks or ()])
        self._measures.drained += sum(len(webhooks or ()) for webhooks in read)
        done = [one for one, webhooks in zip(segments, read, strict=True) if webhooks is not None]
        await asyncio.gather(*map(self._holdings.drop, done))

    async def _read(self, one: Segment) -> list[Kept] | None:
        """The webhooks of a segment; none of one that is gone: somebody else had it. None if it is of no use."""
        try:
            webhooks = await self._holdings.read(one)
            for kept in webhooks:
                self.frames(kept)
        except StorageError as error:
            if error.cause == "missing":
                self._measures.failed("missing")
                self._log.warning("outage.missing", key=one.key, webhooks=one.webhooks)
                return []
            if error.cause != "wrong":
                raise
            self._set_aside(one, "wrong", str(error))
            return None
        except (UnreadableError, OversizedError) as error:
            self._set_aside(one, "unreadable", str(error))
            return None
        return webhooks

    def _set_aside(self, one: Segment, cause: str, why: str) -> None:
        self._holdings.set_aside(one)
        self._measures.failed(cause)
        self._log.error("outage.unusable", key=one.key, webhooks=one.webhooks, error=why)

    async def _publish(self, webhooks: Sequence[Kept]) -> None:
        """Until each is confirmed. One goes first: a broker that hangs or is full again gets few of them twice."""
        await self._confirmed(webhooks[:1])
        for begin in range(1, len(webhooks), self._at_once):
            await self._confirmed(webhooks[begin : begin + self._at_once])

    async def _confirmed(self, left: Sequence[Kept]) -> None:
        while left:
            outcomes = await asyncio.gather(*map(self._send, left))
            pairs = list(zip(left, outcomes, strict=True))
            left = [one for one, outcome in pairs if outcome is not Outcome.CONFIRMED]
            if len(left) == len(pairs):
                self._tell(outcomes[0].value, "the broker did not confirm")
                await asyncio.sleep(_AGAIN_S)
                while self._publisher.obstacle is not None:  # noqa: ASYNC110  # as in `run`: only in an outage
                    await asyncio.sleep(_POLL_S)

    def _send(self, kept: Kept) -> asyncio.Future[Outcome]:
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(one: Outcome) -> None:
            self.in_flight -= 1
            resolve(outcome, one)

        self.in_flight += 1
        self._publisher.send(self.frames(kept), kept.received.event_id, done)
        return outcome

    def frames(self, kept: Kept) -> bytes:
        """The publish of a webhook. Raises OversizedError if its headers are too large for the broker's frames."""
        return self._prepared.publish(self._place(kept), kept.received, self._publisher.frame_max)

    def _place(self, kept: Kept) -> str:
        """The lane or queue of a webhook, of those that there are now."""
        lane = kept.received.lane
        if lane in self._places:
            return lane
        return kept.queue if kept.queue in self._queues else DEFAULT_QUEUE

    def _tell(self, cause: str, why: str) -> None:
        if self._throttle.admit(cause) is not None:
            self._log.warning("outage.waits", cause=cause, error=why, webhooks=self._holdings.webhooks)
