"""A destination whose attempts are OpenTelemetry spans: each in the trace of its webhook, and the destination's parent."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from forebay.envelope import Envelope
from forebay.telemetry import traceparent
from forebay.tracing import Tracing
from forebay_worker.consume import Deliver, error_of
from forebay_worker.outcome import Delivered, Dropped, Outcome


def traced(deliver: Callable[[Envelope], Awaitable[Outcome]], tracing: Tracing, queue: str) -> Deliver:
    """The same delivery with a span around each attempt."""

    async def attempt(envelope: Envelope) -> Outcome:
        span = tracing.process(queue, _parent(envelope), _attributes(envelope))
        error: str | None = "the attempt was cancelled"
        try:
            outcome = await deliver(replace(envelope, traceparent=span.traceparent))
            error = None if isinstance(outcome, (Delivered, Dropped)) else error_of(outcome)
        finally:
            span.end(error)
        return outcome

    return attempt


def _parent(envelope: Envelope) -> str | None:
    """A stranger's message can hold any text where the parent should be."""
    return traceparent(envelope.traceparent.encode()) if envelope.traceparent else None


def _attributes(envelope: Envelope) -> dict[str, str | int]:
    return {
        "messaging.message.id": envelope.id,
        "messaging.message.body.size": envelope.size,
        "forebay.source": envelope.source,
        "forebay.attempt": envelope.attempt,
    }
