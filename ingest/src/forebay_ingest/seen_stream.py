"""What all replicas of an endpoint have taken in: each tells the others over a RabbitMQ stream, and a new one reads it all.

A digest is told some milliseconds after its webhook was confirmed, together with others. What gets lost on the way (a replica
that is killed, a stream that is deleted) is not known as seen, and may be delivered twice.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from forebay.amqp.consumer import Consumer, Message
from forebay.amqp.publisher import Outcome, Publisher
from forebay.envelope import AmqpMessage
from forebay.identity import IdSource
from forebay.settings import Deduplication, IngestSettings
from forebay.telemetry import Log
from forebay.topology import Names
from forebay_ingest.seen import DIGEST_BYTES, Seen

# Between the confirm of a webhook and telling of it.
_TELL_S = 0.03
_AGAIN_S = 1.0  # after the broker did not take it
_BATCH_BYTES = 64 * 1024
_DUE_BYTES = 64 * _BATCH_BYTES  # kept for a broker that is away; beyond it the oldest are told to nobody
# A replica that has not read everything by then takes its webhooks all the same.
CATCH_UP_S = 20.0
# After a lost connection the stream is read again from so long before, whatever the clocks of broker and replicas say.
_OVERLAP_S = 60.0
_PREFETCH = 256
_FORGET_S = 1.0


class SeenStream:
    """The memory of one replica (a `forebay_ingest.duplicates.Memory`), kept in step with the others'."""

    def __init__(self, settings: IngestSettings, wanted: Deduplication, url: Callable[[], str], log: Log) -> None:
        names = Names.of(settings.source)
        self.seen = Seen(wanted.window_s, wanted.max_ids)
        self.known = self.seen.__contains__  # without a call in between: each webhook asks
        self.caught_up = False
        self._note = self.seen.note
        self._window_s = wanted.window_s
        self._exchange, self._stream = names.exchange, names.seen
        self._log = log
        self._ids = IdSource()
        self._me = os.urandom(8).hex()  # what we told ourselves is in our memory already
        self._due = bytearray()
        self._telling = False
        self._read_to = 0.0
        self._began = time.monotonic()
        # Links of their own: what befalls the stream must not befall a webhook.
        about = f"forebay-ingest {settings.source} seen"
        self._publisher = Publisher(url, name=about, log=log)
        self._consumer = Consumer(
            url, name=about, queue=names.seen, prefetch=_PREFETCH, on_message=self._read, arguments=self._from_where,
            log=log,
        )  # fmt: skip

    def confirmed(self, digest: bytes) -> None:
        """Remember it, and tell the others soon."""
        self._note(digest)
        if not self._telling:
            self._tell_in(_TELL_S)

    @property
    def shared(self) -> bool:
        """Whether the others hear of what comes here, and we of what comes to them."""
        return self._consumer.consuming and self._publisher.obstacle is None

    @property
    def unready(self) -> str | None:
        """Why webhooks should rather go to another replica: for a while after the start, until all of the stream is read."""
        if self.caught_up or time.monotonic() - self._began > CATCH_UP_S:
            return None
        return f"reads what came before: {self.seen.count} webhooks so far"

    async def run(self) -> None:
        """Tell and listen until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publisher.run())
            group.create_task(self._consumer.run())
            group.create_task(self._forget())
            group.create_task(self._catch_up())

    async def drain(self, within_s: float = 1.0) -> None:
        """Tell what is left to be told."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._telling or self._publisher.in_flight:  # noqa: ASYNC110  # an event would cost each webhook
                    await asyncio.sleep(0.01)

    # ---------------------------------------------------------------------------------------------------------- telling

    def _tell_in(self, seconds: float) -> None:
        self._telling = True
        asyncio.get_running_loop().call_later(seconds, self._tell)

    def _tell(self) -> None:
        self._telling = False
        self._due += self.seen.settle(time.time())
        while self._due and not self._telling:
            batch, self._due = bytes(self._due[:_BATCH_BYTES]), self._due[_BATCH_BYTES:]
            self._send(batch)

    def _send(self, batch: bytes) -> None:
        now_ms = int(time.time() * 1000)
        message = AmqpMessage(
            message_id=self._ids.next(now_ms),
            timestamp=now_ms // 1000,
            content_type="application/octet-stream",
            headers={"forebay-from": self._me, "forebay-at": now_ms},
            body=batch,
        )
        frames = self._publisher.encode(self._exchange, self._stream, message)

        def told(outcome: Outcome) -> None:
            if outcome is Outcome.UNROUTABLE:
                self._caught_up()  # there is no stream: nobody to tell, and nothing to read
            elif outcome is not Outcome.CONFIRMED:
                self._due = (bytearray(batch) + self._due)[-_DUE_BYTES:]
                if not self._telling:
                    self._tell_in(_AGAIN_S)

        self._publisher.send(frames, message.message_id.encode(), told)

    # -------------------------------------------------------------------------------------------------------- listening

    def _from_where(self) -> dict[str, Any]:
        since = self._read_to - _OVERLAP_S if self._read_to else time.time() - self._window_s
        return {"x-stream-offset": datetime.fromtimestamp(since, UTC)}

    def _read(self, message: Message) -> None:
        message.ack()
        at, body = message.headers.get("forebay-at"), message.body
        if not isinstance(at, int) or len(body) % DIGEST_BYTES:
            return
        self._read_to = max(self._read_to, at / 1000)
        if message.headers.get("forebay-from") == self._me:
            self._caught_up()
        elif at / 1000 > time.time() - self._window_s:
            self.seen.add_all(body, at / 1000)

    async def _catch_up(self) -> None:
        """Say something of our own: who reads it has read all that was said before."""
        while not self.caught_up:
            if self._publisher.obstacle is None:
                self._send(b"")
                await asyncio.sleep(_AGAIN_S)
            await asyncio.sleep(0.02)

    def _caught_up(self) -> None:
        if not self.caught_up:
            self.caught_up = True
            seconds = round(time.monotonic() - self._began, 3)
            self._log.info("seen.read", webhooks=self.seen.count, seconds=seconds)

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(_FORGET_S)
            self.seen.forget(time.time())
