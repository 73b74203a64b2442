"""The operator's own metrics, and those of the queues that hold whether or not a pod runs.

These have the names and labels that workers tell them by: who asks takes the greatest. `namespace` is the source's, not the
operator's own, so Prometheus has to be told to keep it (`honorLabels`).
"""

from collections import Counter as Counts
from collections.abc import Iterable
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from forebay.topology import DEAD_QUEUE, ORPHANS, Names, queue_of
from forebay_operator.context import Context

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Waiting(Protocol):
    """A queue, as far as metrics look at it."""

    def __len__(self) -> int:
        """How many keys wait."""

    def oldest_s(self) -> float:
        """Seconds for which the first of them has waited."""


class Measures:
    """What is counted while reconciling."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "forebay_operator_reconcile_seconds",
            "Time of one reconcile.",
            ["result"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.errors = Counter(
            "forebay_operator_reconcile_errors",
            "Reconciles that failed, by kind of error.",
            ["kind"],
            registry=self.registry,
        )
        self.events = Counter(
            "forebay_operator_watch_events", "Events seen, by kind of object.", ["kind"], registry=self.registry
        )
        self.leading = Gauge(
            "forebay_operator_leading", "1 while this process acts, 0 while it waits.", registry=self.registry
        )


class Facts(Collector):
    """Tells what the operator has in memory when it is asked, so that what is gone vanishes from the metrics too."""

    def __init__(self, context: Context, waiting: Waiting) -> None:
        self._context = context
        self._waiting = waiting

    @override
    def collect(self) -> Iterable[Metric]:
        yield from self._operator()
        yield from self._queues()
        yield from self._brokers()

    def _operator(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "forebay_operator_queue_length", "Sources that wait for a reconcile.", value=len(self._waiting)
        )
        yield GaugeMetricFamily(
            "forebay_operator_queue_oldest_seconds",
            "Time the first of them has waited.",
            value=self._waiting.oldest_s(),
        )
        sources = GaugeMetricFamily("forebay_sources", "Sources, by whether they are ready.", labels=["ready"])
        ready = sum(_is_ready(source.body) for source in self._context.world.sources.values())
        sources.add_metric(["true"], ready)
        sources.add_metric(["false"], len(self._context.world.sources) - ready)
        yield sources
        calls = CounterMetricFamily(
            "forebay_operator_api_calls", "Requests to the API server.", labels=["verb", "code"]
        )
        for (verb, status), count in sorted(self._context.cluster.calls.items()):
            calls.add_metric([verb, str(status)], count)
        yield calls

    def _queues(self) -> Iterable[Metric]:
        messages = GaugeMetricFamily(
            "forebay_queue_messages",
            "Webhooks in a queue, as the broker last said.",
            labels=["namespace", "source", "queue"],
        )
        dead = GaugeMetricFamily(
            "forebay_dead_letter_queue_messages",
            "Dead letters of a source, as the broker last said.",
            labels=["namespace", "source"],
        )
        for key, place in self._context.places.items():
            broker = self._context.brokers.known(place)
            if broker is None or key not in self._context.world.sources:
                continue
            prefix, waiting = f"{Names(*key).exchange}.", Counts[str]()
            for name in broker.queues_below(prefix):
                queue, depth = name.removeprefix(prefix), broker.depths[name]
                if queue == DEAD_QUEUE:
                    dead.add_metric(list(key), depth.messages)
                else:
                    waiting[queue_of(queue)] += depth.messages
            for queue, count in waiting.items():
                messages.add_metric([*key, queue], count)
        yield messages
        yield dead

    def _brokers(self) -> Iterable[Metric]:
        orphans = GaugeMetricFamily(
            "forebay_orphans", "Webhooks that came back from a delay to a source that is gone.", labels=["broker"]
        )
        up = GaugeMetricFamily(
            "forebay_operator_broker_up", "1 if the last look at the broker succeeded.", labels=["broker"]
        )
        writes = CounterMetricFamily(
            "forebay_operator_broker_writes", "Declarations and deletions sent to a broker.", labels=["broker"]
        )
        for broker in self._context.brokers:
            writes.add_metric([broker.address.shown], broker.writes)
            if ORPHANS in broker.depths:
                orphans.add_metric([broker.address.shown], broker.depths[ORPHANS].messages)
            up.add_metric([broker.address.shown], 0 if broker.failure else 1)
        yield orphans
        yield up
        yield writes


def _is_ready(body: dict[str, object]) -> bool:
    status = body.get("status")
    conditions = status.get("conditions", ()) if isinstance(status, dict) else ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
