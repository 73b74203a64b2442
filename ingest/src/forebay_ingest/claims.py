"""Webhooks that are too large for a queue (the claim check): their bodies go to object storage, references into the queue.

    received (on disk) → verified → stored → published → answered

Nobody's body is stored before its signature has been verified, and nothing is published before it is stored. A webhook
that is small never comes here.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from forebay.envelope import Claim, claim_key
from forebay.errors import SpecError
from forebay.settings import WHOLE_BYTES
from forebay.signatures.verify import Refused, Streamed, Verified, Verifier
from forebay.storage import Storage, StorageError
from forebay.telemetry import Log, Throttle
from forebay_ingest import answers
from forebay_ingest.answers import BROKER_REFUSALS, Refusal
from forebay_ingest.claim_measures import ClaimMeasures
from forebay_ingest.prepared import Received
from forebay_ingest.receive import Receiver, Respond, Verdict
from forebay_ingest.spool import Spool, Spooled
from forebay_ingest.waiting import WaitingRoom


class Claims:
    """The large webhooks of one source."""

    def __init__(
        self,
        receiver: Receiver,
        storage: Storage,
        spool: Spool,
        measures: ClaimMeasures,
        log: Log,
        *,
        room: WaitingRoom | None = None,
    ) -> None:
        """Raises SpecError if bodies would have to be looked into that do not fit into memory."""
        self.receiver = receiver
        self.spool = spool
        self._storage = storage
        self._room = room  # where webhooks wait for the provider's keys
        self._measures = measures
        self._log = log
        self._throttle = Throttle()
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = asyncio.Lock()  # one body at a time is whole in memory
        limit = receiver.settings.limits.body_bytes
        if receiver.needs_body and limit > WHOLE_BYTES:
            raise SpecError(
                f"limits.body_bytes is {limit}: bodies that a signature or a route has to look into are at most {WHOLE_BYTES}"
            )

    def begin(self, head: Any, block: bytes, client: bytes, flow: Callable[[], None]) -> "Intake | Refusal":
        """What takes a body piece by piece, or why it is refused. `flow` is called when more of it may come."""
        receiver, now = self.receiver, time.time()
        # Again: what may be a handshake was let through, and none is as large as this.
        refusal = receiver.check(head, None) or receiver.obstacle
        if refusal is not None:
            return refusal
        verdict = self._begin_verifying(head, now)
        if isinstance(verdict, Refused):
            return receiver.signature_refused(verdict)
        try:
            body = Spooled(self.spool, verdict if isinstance(verdict, Streamed) else None, flow)
        except OSError as error:
            return self.failed("spool", error)
        return Intake(self, body, verdict, Request(head, block, client, now))

    def start(self, intake: "Intake", respond: Respond) -> None:
        """Do what follows on a complete body, beside everything else; `respond` is called once."""
        self._spawn(self._guarded(intake, respond))

    def failed(self, cause: str, error: BaseException) -> Refusal:
        """Count and tell that a body could not be kept; what the sender hears."""
        self._measures.failed(cause)
        held_back = self._throttle.admit(cause)
        if held_back is not None:
            self._log.warning("claim.failed", cause=cause, error=str(error), held_back=held_back or None)
        return answers.STORAGE

    def _begin_verifying(self, head: Any, now: float) -> Streamed | Verified | Refused | None:
        """None where all of the body is needed."""
        receiver = self.receiver
        if receiver.verifies_whole:
            return None
        assert isinstance(receiver.verifier, Verifier), "the keys of all others are fetched, which takes the whole"
        return receiver.verifier.begin(head.raw_headers, now, receiver.line_of(head))

    async def _guarded(self, intake: "Intake", respond: Respond) -> None:
        refusal: Refusal | None = answers.UNHANDLED
        told: Respond | None = respond
        try:
            taken = await self._take_in(intake)
            if isinstance(taken, Refusal):
                refusal = taken
            else:
                # The hash stands for the body: a webhook of its size always comes here.
                told = await self.receiver.turn(intake.request.head, intake.body.sha256.encode(), respond)
                refusal = await self._store(intake, *taken, told) if told is not None else None
        except StorageError as error:
            refusal = self.failed(error.cause, error)
        except OSError as error:
            refusal = self.failed("spool", error)
        finally:
            intake.abandon()
            if refusal is not None and told is not None:
                told(refusal)

    async def _store(self, intake: "Intake", queue: str, received: Received, respond: Respond) -> Refusal | None:
        """Store and publish. A refusal, or None where the broker's confirm decides."""
        body, receiver = intake.body, self.receiver
        key = claim_key(receiver.settings.source, received.event_id.decode())
        await self._put(key, body)
        received.body, received.claim = b"", Claim(key=key, size=body.size, sha256=body.sha256)
        if (obstacle := receiver.obstacle) is not None:
            self._spawn(self._forget(key))
            return obstacle

        def published(verdict: Verdict) -> None:
            if verdict is BROKER_REFUSALS["unroutable"]:
                self._spawn(self._forget(key))  # of all other refusals the reference may be in the queue all the same
            respond(verdict)

        receiver.publish(queue, received, body.size, published)
        return None

    async def _take_in(self, intake: "Intake") -> tuple[str, Received] | Refusal:
        """The webhook's queue and what is known of it, if it comes from whom it should."""
        request, receiver = intake.request, self.receiver
        await intake.body.complete()
        async with self._looking:
            whole = await intake.body.whole() if receiver.needs_body else b""
            if self._room is not None and (refusal := await self._room.ready(request.head, whole)) is not None:
                return refusal
            verdict = intake.verdict(whole)
            if isinstance(verdict, Refused):
                return receiver.signature_refused(verdict)
            if receiver.too_fast():
                return answers.RATE_LIMITED
            return receiver.take_in(request.head, whole, request.block, request.client, int(request.now * 1000))

    async def _put(self, key: str, body: Spooled) -> None:
        began = time.perf_counter()
        await self._storage.put(key, body.path)
        seconds = time.perf_counter() - began
        self._measures.stored(body.size, seconds)
        if self._throttle.admit("stored") is not None:
            self._log.info("claim.stored", key=key, bytes=body.size, ms=round(seconds * 1000, 1))

    async def _forget(self, key: str) -> None:
        """Delete an object that nothing refers to; one that stays is for the bucket's lifecycle rule."""
        try:
            await self._storage.delete(key)
        except StorageError as error:
            self.failed("delete", error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@dataclass(frozen=True, slots=True)
class Request:
    """What is known of a request beside its body."""

    head: Any  # aiohttp's RawRequestMessage
    block: bytes
    client: bytes
    now: float  # when it was found to be large; its signature's age counts from here


class Intake:
    """One large webhook that is coming in."""

    __slots__ = ("_claims", "_verdict", "body", "request")

    def __init__(self, claims: Claims, body: Spooled, verdict: Streamed | Verified | None, request: Request) -> None:
        self.body = body
        self.request = request
        self._claims = claims
        self._verdict = verdict

    @property
    def full(self) -> bool:
        """Whether its sender has to wait."""
        return self.body.full

    @property
    def refusal(self) -> Refusal | None:
        """Why no more can be taken."""
        if self.body.error is not None:
            return self._claims.failed("spool", self.body.error)
        if self.body.size > self._claims.receiver.settings.limits.body_bytes:
            return answers.TOO_LARGE
        return answers.OVERLOADED if self._claims.spool.exhausted else None

    def take(self, piece: bytes) -> Refusal | None:
        """Take what comes next; why no more can be taken."""
        self.body.take(piece)
        return self.refusal

    def finish(self, respond: Respond) -> None:
        """The body is complete; `respond` is called once, when the verdict is known."""
        self._claims.start(self, respond)

    def abandon(self) -> None:
        """Nothing more comes of it."""
        self.body.close()

    def verdict(self, whole: bytes) -> Verified | Refused:
        """Whether it comes from whom it should; `whole` counts only where the verifier asks for all of the body."""
        if self._verdict is None:
            receiver, head = self._claims.receiver, self.request.head
            return receiver.verifier.verify(head.raw_headers, whole, self.request.now, receiver.line_of(head))
        return self._verdict.verdict() if isinstance(self._verdict, Streamed) else self._verdict
