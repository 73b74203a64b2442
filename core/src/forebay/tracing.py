"""OpenTelemetry spans, for those who ask for them: OTEL_EXPORTER_OTLP_ENDPOINT set and the `tracing` extra installed.

Without either there is no tracing and no cost; a webhook's `traceparent` is then carried through as it came. Everything else
is set by OpenTelemetry's own variables (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

import os
from collections.abc import Mapping
from typing import Any

from forebay.errors import SpecError

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Span:
    """One span under way."""

    def __init__(self, span: Any) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """What the next hop is told (https://www.w3.org/TR/trace-context/#traceparent-header)."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def end(self, error: str | None = None) -> None:
        """Close the span; an error marks it as failed."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415  # an extra

        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


class Tracing:
    """Makes spans of messaging (https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/)."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def publish(self, exchange: str, traceparent: str | None, attributes: Mapping[str, str | int]) -> Span:
        """Begin the span of a webhook's way into the queue.

        A stranger's trace is linked, not continued: else anybody could decide what is sampled here.
        """
        from opentelemetry.trace import Link, SpanKind  # noqa: PLC0415  # an extra

        origin = _context(traceparent)
        links = [] if origin is None else [Link(origin)]
        return self._begin(f"publish {exchange}", SpanKind.PRODUCER, attributes, links=links)

    def process(self, queue: str, traceparent: str | None, attributes: Mapping[str, str | int]) -> Span:
        """Begin the span of one delivery attempt, in the trace that the endpoint began."""
        from opentelemetry.trace import NonRecordingSpan, SpanKind, set_span_in_context  # noqa: PLC0415  # an extra

        origin = _context(traceparent)
        parent = None if origin is None else set_span_in_context(NonRecordingSpan(origin))
        return self._begin(f"process {queue}", SpanKind.CONSUMER, attributes, context=parent)

    def _begin(self, name: str, kind: Any, attributes: Mapping[str, str | int], **options: Any) -> Span:
        everywhere = {"messaging.system": "rabbitmq"}
        return Span(self._tracer.start_span(name, kind=kind, attributes={**everywhere, **attributes}, **options))


def from_environment(service: str, environ: Mapping[str, str] = os.environ) -> Tracing | None:
    """Tracing, if the environment asks for it. Raises SpecError if it does and the extra is not installed."""
    if not environ.get(ENDPOINT):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise SpecError(f"{ENDPOINT} is set, but OpenTelemetry is not installed; install forebay[tracing]") from error
    # A name given by OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES wins.
    named = "OTEL_SERVICE_NAME" in environ or "service.name" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if named else {"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider.get_tracer("forebay"))


def _context(traceparent: str | None) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415  # an extra

    if traceparent is None:
        return None
    _, trace, span, flags = traceparent.split("-")
    context = SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return context if context.is_valid else None
