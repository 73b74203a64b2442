"""The request path: check, verify, route, publish, answer. Everything a webhook meets between the socket and the queue.

`check` decides on the head alone, before a body is read; `receive` has the whole request. The answer follows from the
broker's confirm: nothing here says 2xx before.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aiohttp import hdrs
from multidict import istr

from forebay.amqp.frames import OversizedError
from forebay.amqp.publisher import Outcome, Publisher
from forebay.identity import IdSource
from forebay.settings import IngestSettings
from forebay.signatures.configured import scheme_of
from forebay.signatures.elsewhere import Line
from forebay.signatures.replies import Reply
from forebay.signatures.verify import Refused, Verifies
from forebay.telemetry import Log, Throttle, traceparent
from forebay.topology import Names
from forebay.tracing import Span, Tracing
from forebay_ingest import answers
from forebay_ingest.answers import BROKER_REFUSALS, Refusal
from forebay_ingest.head import block_of, media_type, target_of
from forebay_ingest.lanes import Spread, spread
from forebay_ingest.measures import Measures
from forebay_ingest.prepared import Prepared, Received
from forebay_ingest.rates import Bucket
from forebay_ingest.routing import KEPT, Router

_TRACEPARENT = istr("traceparent")
_CONFIRMED = Outcome.CONFIRMED  # by a name of the module's: see connection.py


# The webhook's id: it is safe in its queue; or why it is not; or what a handshake is answered.
Verdict = bytes | Refusal | Reply
Respond = Callable[[Verdict], None]
# Publishes a webhook for a queue whose body, here or in the storage, has so many bytes.
Publish = Callable[[str, Received, int, Respond], None]


class Duplicates(Protocol):
    """What keeps webhooks back that came before (duplicates.py)."""

    def pass_on(
        self,
        headers: Mapping[str, str],
        target: str,
        body: bytes,
        respond: Respond,
        publish: Callable[[Respond], None],
        /,
    ) -> None: ...

    async def turn(
        self, headers: Mapping[str, str], target: str, body: bytes, respond: Respond, /
    ) -> Respond | None: ...


class Shelters(Protocol):
    """What keeps webhooks that the broker does not confirm (shelter.py)."""

    @property
    def obstacle(self) -> Refusal | None: ...

    def around(self, publish: Publish, /) -> Publish: ...


class Receiver:
    """Takes the webhooks of one source. `verifier` may be exchanged while it works (a rotated secret)."""

    def __init__(
        self,
        settings: IngestSettings,
        verifier: Verifies,
        publisher: Publisher,
        measures: Measures,
        log: Log,
        *,
        duplicates: Duplicates | None = None,
        shelter: Shelters | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        scheme = scheme_of(settings.verification)
        self.verifier = verifier
        self.settings = settings
        self._publisher = publisher
        self._measures = measures
        self._log = log
        self._throttle = Throttle()
        self._duplicates = duplicates
        self._shelter = shelter
        # Chosen here: a source without a shelter pays for none.
        self.publish: Publish = shelter.around(self._publish) if shelter else self._publish
        self._pace = Bucket(settings.rate_limit) if settings.rate_limit else None
        self._tracing = tracing
        self._exchange = Names.of(settings.source).exchange
        self._ids = IdSource()
        self._router = Router(settings.routes, scheme.event_type, self._spread())
        self.verifies_whole = not scheme.streams  # a signature needs all of the body at hand
        self.needs_body = self.verifies_whole or self._router.reads_body
        self._prepared = Prepared(settings)
        self._delivery_id_headers = tuple(istr(name) for name in scheme.delivery_id_headers)
        self._path = settings.path
        self._below = settings.path.rstrip("/") + "/"
        self._methods = frozenset(settings.methods)
        self._content_types = frozenset(kind.lower() for kind in settings.content_types)

    def check(self, head: Any, length: int | None) -> Refusal | None:
        """What a request's head (aiohttp's RawRequestMessage) and its Content-Length already decide."""
        if head.path != self._path:
            path = target_of(head).partition("?")[0]
            if path != self._path and not path.startswith(self._below):
                return answers.NOT_FOUND
        if head.method not in self._methods:
            return answers.METHOD
        if self._content_types and media_type(head.headers) not in self._content_types:
            return answers.CONTENT_TYPE
        if self.settings.suspended:
            return answers.SUSPENDED
        if length is not None and length > self.settings.limits.body_bytes:
            return answers.TOO_LARGE
        return None

    def receive(self, head: Any, body: bytes, block: bytes, client: bytes, respond: Respond) -> None:
        """Verify and publish a whole request; `respond` is called once, when the verdict is known.

        `block` is the headers as they were sent, empty if they have to be put together again.
        """
        now, verifier = time.time(), self.verifier
        line = self.line_of(head) if verifier.looks_at_line else None
        verdict = verifier.verify(head.raw_headers, body, now, line)
        if type(verdict) is Refused:
            respond(self.signature_refused(verdict))
            return
        if self._pace is not None and self.too_fast():
            respond(answers.RATE_LIMITED)
            return
        queue, received = self.take_in(head, body, block, client, int(now * 1000))
        if self._duplicates is None:
            self.publish(queue, received, len(body), respond)
        else:
            self._duplicates.pass_on(
                head.headers, received.target, body, respond,
                lambda respond: self.publish(queue, received, len(body), respond),
            )  # fmt: skip

    def too_fast(self) -> bool:
        """Whether a webhook that verifies is one too many. Only these count: a stranger uses up nothing of the provider's."""
        return self._pace is not None and not self._pace.admit(time.monotonic())

    async def turn(self, head: Any, body: bytes, respond: Respond) -> Respond | None:
        """Wait until a webhook may be published; whom to tell of it, None if it came before and is answered.

        `body` may be anything that stands for it, if it is always the same.
        """
        if self._duplicates is None:
            return respond
        return await self._duplicates.turn(head.headers, target_of(head), body, respond)

    def signature_refused(self, verdict: Refused) -> Refusal:
        """Count a signature that does not verify; what its sender hears."""
        self._measures.signature_refused(verdict.reason)
        return answers.SIGNATURE

    def _publish(self, queue: str, received: Received, size: int, respond: Respond) -> None:
        """Publish a webhook; the confirm decides the answer."""
        event_id, span, started = received.event_id, self._begin_span(received, size), time.perf_counter()

        def settled(outcome: Outcome) -> None:
            if span is not None:
                span.end(None if outcome is _CONFIRMED else outcome.value)
            if outcome is _CONFIRMED:
                self._measures.accepted(queue, size, time.perf_counter() - started)
                respond(event_id)
            else:
                respond(BROKER_REFUSALS[outcome.value])

        try:
            publish = self._prepared.publish(received.lane or queue, received, self._publisher.frame_max)
        except OversizedError:
            if span is not None:
                span.end(answers.HEADERS_TOO_LARGE.cause)
            respond(answers.HEADERS_TOO_LARGE)
            return
        self._publisher.send(publish, event_id, settled)

    @property
    def obstacle(self) -> Refusal | None:
        """Why a publish would fail at once."""
        if self._shelter is not None:
            return self._shelter.obstacle
        obstacle = self._publisher.obstacle
        return None if obstacle is None else BROKER_REFUSALS[obstacle.value]

    def take_in(self, head: Any, body: bytes, block: bytes, client: bytes, now_ms: int) -> tuple[str, Received]:
        """The webhook's queue, and what is known of it."""
        headers, target = head.headers, target_of(head)
        suffix = "" if target == self._path else target.partition("?")[0][len(self._path) :]
        queue, lane, key, event_type = self._router.route(headers, suffix, body)
        received = Received(
            event_id=self._ids.next(now_ms).encode(),
            method=head.method,
            target=target,
            received_at=now_ms,
            client=client,
            header_block=block or block_of(head),
            content_type=headers.get(hdrs.CONTENT_TYPE),
            delivery_id=self._delivery_id(headers),
            event_type=event_type,
            traceparent=_trace(headers),
            body=body,
            lane=lane,
            key=key,
        )
        return queue, received

    def line_of(self, head: Any) -> Line:
        """The request's line with the URL as the provider knows it: what follows our own path follows the public URL."""
        below = head.below if self.settings.url_token_files else target_of(head)[len(self._path) :]
        return Line(head.method, (self.settings.public_url or "") + below)

    def refused(self, refusal: Refusal, client: bytes) -> None:
        """Count and tell a refusal; every answer but 2xx passes here once."""
        self._measures.refused(refusal.cause, refusal.status)
        held_back = self._throttle.admit(refusal.cause)
        if held_back is not None:
            self._log.info(
                "request.refused",
                cause=refusal.cause,
                status=refusal.status,
                client=client.decode("latin-1"),
                held_back=held_back or None,
            )

    def hung_up(self) -> None:
        """Count a sender that left before its answer."""
        self._measures.hung_up()

    def _spread(self) -> Spread | None:
        if self.settings.lanes is None:
            return None
        self._measures.with_lanes()
        return spread(self.settings.lanes, self.settings.queues, self._measures, time.monotonic)

    def _begin_span(self, received: Received, size: int) -> Span | None:
        """With tracing on, the webhook travels under our span instead of the sender's."""
        if self._tracing is None:
            return None
        attributes: dict[str, str | int] = {
            "messaging.message.id": received.event_id.decode(),
            "messaging.message.body.size": size,
        }
        span = self._tracing.publish(self._exchange, received.traceparent, attributes)
        received.traceparent = span.traceparent
        return span

    def _delivery_id(self, headers: Any) -> str | None:
        for name in self._delivery_id_headers:
            value: str | None = headers.get(name)
            if value is not None:
                return value[:KEPT]
        return None


def _trace(headers: Any) -> str | None:
    value = headers.get(_TRACEPARENT)
    return None if value is None else traceparent(value.encode("utf-8", "surrogateescape"))
