"""A webhook's way as spans, seen through OpenTelemetry's own in-memory exporter."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from forebay.telemetry import traceparent
from forebay.tracing import Tracing, from_environment

STRANGER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Tracing:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracing(provider.get_tracer("test"))


def test_a_strangers_trace_is_linked_and_not_continued(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    tracing.publish("forebay.ns.name", STRANGER, {}).end()
    (span,) = exporter.get_finished_spans()
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" not in STRANGER
    assert [f"{link.context.trace_id:032x}" for link in span.links] == ["4bf92f3577b34da6a3ce929d0e0e4736"]
    assert (span.name, span.kind) == ("publish forebay.ns.name", SpanKind.PRODUCER)


def test_an_attempt_belongs_to_the_trace_that_the_endpoint_began(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    published = tracing.publish("forebay.ns.name", None, {"messaging.message.id": "1"})
    tracing.process("forebay.ns.name.default", published.traceparent, {}).end()
    published.end()
    attempt, publish = exporter.get_finished_spans()
    assert attempt.context is not None
    assert publish.context is not None
    assert attempt.context.trace_id == publish.context.trace_id
    assert attempt.parent is not None
    assert attempt.parent.span_id == publish.context.span_id


def test_a_failed_attempt_is_marked_with_its_error(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    tracing.process("queue", None, {}).end("destination answered 500")
    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "destination answered 500")


def test_what_is_told_to_the_next_hop_is_a_traceparent(tracing: Tracing) -> None:
    span = tracing.publish("x", None, {})
    assert traceparent(span.traceparent.encode()) == span.traceparent


def test_an_all_zero_trace_is_no_trace(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    tracing.publish("x", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", {}).end()
    assert exporter.get_finished_spans()[0].links == ()


def test_without_an_endpoint_there_is_no_tracing() -> None:
    assert from_environment("forebay-ingest", {}) is None
