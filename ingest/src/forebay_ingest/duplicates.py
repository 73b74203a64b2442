"""Answers a webhook that came before like the first, and publishes it no second time.

The direction in which this may fail is fixed: a webhook is delivered twice rather than not at all. It counts as seen only
after the broker has confirmed its first copy. One that comes while the first is under way waits for the first's confirm,
and is published itself if there is none.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from forebay.amqp.link import resolve
from forebay.settings import Answer, IngestLimits
from forebay.signatures.replies import Reply
from forebay_ingest import answers
from forebay_ingest.receive import Respond, Verdict
from forebay_ingest.sameness import Sameness

# What publishes a webhook and tells its verdict.
Publish = Callable[[Respond], None]


class Memory(Protocol):
    """What was seen, here and by the other replicas."""

    def known(self, digest: bytes, /) -> bool:
        """Whether it was seen."""

    def confirmed(self, digest: bytes, /) -> None:
        """The webhook is safe in its queue: tell the others."""


class _Waiting(NamedTuple):
    respond: Respond
    publish: Publish
    size: int


class Duplicates:
    """Stands between verifying and publishing. `dropped` and `unidentified` count webhooks."""

    def __init__(self, sameness: Sameness, memory: Memory, answer: Answer, limits: IngestLimits) -> None:
        self.dropped = 0
        self.unidentified = 0  # nothing to tell them by, so they were delivered
        self._sameness = sameness
        self._known, self._confirmed = memory.known, memory.confirmed
        self._limits = limits
        kind = (("Content-Type", answer.content_type),) if answer.body else ()
        headers = (*kind, *answer.headers, ("X-Forebay-Duplicate", "true"))
        self._answer = Reply(answer.status, headers, answer.body.encode())
        # What waits for the first copy's verdict; None where nothing does, as for almost all.
        self._under_way: dict[bytes, deque[_Waiting] | None] = {}
        self._waiting_bytes = 0

    def pass_on(self, headers: Mapping[str, str], target: str, body: bytes, respond: Respond, publish: Publish) -> None:
        """Publish a webhook that is new; `respond` hears its verdict or that of the copy that came before."""
        digest = self._sameness(headers, target, body)
        if digest is None:
            self.unidentified += 1
            publish(respond)
        elif self._known(digest):
            self._drop(respond)
        elif digest in self._under_way:
            self._wait(digest, _Waiting(respond, publish, len(body)))
        else:
            self._under_way[digest] = None
            self._publish(digest, respond, publish)

    async def turn(self, headers: Mapping[str, str], target: str, body: bytes, respond: Respond) -> Respond | None:
        """Wait until a webhook may be published. Whom to tell its verdict then; None if `respond` has heard one."""
        turn: asyncio.Future[Respond | None] = asyncio.get_running_loop().create_future()

        def answered(verdict: Verdict) -> None:
            respond(verdict)
            resolve(turn, None)

        self.pass_on(headers, target, body, answered, lambda mine: resolve(turn, mine))
        return await turn

    def _publish(self, digest: bytes, respond: Respond, publish: Publish) -> None:
        def settled(verdict: Verdict) -> None:
            if type(verdict) is bytes:
                self._confirmed(digest)
                respond(verdict)
                waiting = self._under_way.pop(digest)
                if waiting is not None:
                    self._release(waiting)
            else:
                respond(verdict)
                self._next(digest)

        try:
            publish(settled)
        except Exception:
            if digest in self._under_way:  # or it had its verdict before it failed
                self._next(digest)
            raise

    def _wait(self, digest: bytes, one: _Waiting) -> None:
        """A body that waits is bounded like one that was published: it may have to be."""
        waiting = self._under_way[digest] or deque()
        if self._waiting_bytes + one.size > self._limits.in_flight_bytes or len(waiting) >= self._limits.in_flight:
            one.respond(answers.BROKER_REFUSALS["busy"])
            return
        self._waiting_bytes += one.size
        waiting.append(one)
        self._under_way[digest] = waiting

    def _release(self, waiting: deque[_Waiting]) -> None:
        """The first copy is safe, and with it all that wait."""
        for one in waiting:
            self._waiting_bytes -= one.size
            self._drop(one.respond)

    def _next(self, digest: bytes) -> None:
        """The copy that was published is not known to be safe: another one is tried, in a turn of its own."""
        waiting = self._under_way[digest]
        if not waiting:
            del self._under_way[digest]
            return
        one = waiting.popleft()
        self._waiting_bytes -= one.size
        # Not at once: with a broker that is down, a thousand that wait would be a thousand calls deep.
        asyncio.get_running_loop().call_soon(self._again, digest, one)

    def _again(self, digest: bytes, one: _Waiting) -> None:
        try:
            self._publish(digest, one.respond, one.publish)
        except Exception:
            one.respond(answers.UNHANDLED)
            raise  # to the loop's handler

    def _drop(self, respond: Respond) -> None:
        self.dropped += 1
        respond(self._answer)
