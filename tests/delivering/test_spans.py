"""Attempts as spans, seen through OpenTelemetry's own in-memory exporter."""

import asyncio

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from forebay.envelope import Envelope
from forebay.tracing import Tracing
from forebay_worker.outcome import Delivered, Outcome, Refused
from forebay_worker.traced import traced
from tests.support.envelopes import envelope

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Tracing:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracing(provider.get_tracer("test"))


class Destination:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.seen: list[Envelope] = []

    async def __call__(self, one: Envelope) -> Outcome:
        self.seen.append(one)
        return self.outcome


async def test_the_destination_is_told_the_span_of_the_attempt(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    destination = Destination(Delivered(200))
    await traced(destination, tracing, "q")(envelope(traceparent=PARENT))
    (span,) = exporter.get_finished_spans()
    assert span.context is not None
    assert destination.seen[0].traceparent == f"00-{PARENT[3:35]}-{span.context.span_id:016x}-01"
    assert span.status.is_ok or span.status.description is None


async def test_an_attempt_that_failed_is_a_span_that_failed(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    await traced(Destination(Refused(503, "HTTP 503")), tracing, "q")(envelope())
    (span,) = exporter.get_finished_spans()
    assert span.status.description == "HTTP 503"


@pytest.mark.parametrize("text", ["", "no trace", "00-zz-yy-01", "00-" + "0" * 32, PARENT + "-more"])
async def test_a_trace_that_is_none_does_not_stop_an_attempt(
    tracing: Tracing, exporter: InMemorySpanExporter, text: str
) -> None:
    await traced(Destination(Delivered(200)), tracing, "q")(envelope(traceparent=text))
    assert len(exporter.get_finished_spans()) == 1


async def test_a_cancelled_attempt_ends_its_span(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    async def never(_: Envelope) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    attempt = asyncio.ensure_future(traced(never, tracing, "q")(envelope()))
    await asyncio.sleep(0)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    (span,) = exporter.get_finished_spans()
    assert span.status.description == "the attempt was cancelled"
