"""The worker's metrics. Label values are bounded: the source's and queue's names, and words of ours.

What alerts count is told from 0 on: Prometheus sees an increase only where there was a number before.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from forebay_worker.outcome import WORDS
from forebay_worker.retry import REASONS

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Measures:
    """Metrics of one worker. Children are kept, because finding one costs three times what counting does."""

    def __init__(self, source: str, queue: str) -> None:
        self.registry = CollectorRegistry()
        namespace, _, name = source.partition("/")
        self._labels = {"namespace": namespace, "source": name, "queue": queue}
        self.attempts = self._counters(
            "forebay_delivery_attempts", "Attempts that ended, by outcome.", "outcome", WORDS.values()
        )
        self.seconds = self._histogram("forebay_delivery_seconds", "How long an attempt took.").observe
        self.retries = self._counter("forebay_retries", "Webhooks put into a delay tier to be tried again.")
        self.dead_letters = self._counters(
            "forebay_dead_letters", "Webhooks put into the dead-letter queue, by reason.", "reason", REASONS
        )
        self.unsettled = self._counters(
            "forebay_settle_failures",
            "Publishes of a retry or dead letter that the broker did not confirm; each is repeated.",
            "cause",
        )
        self.faults = self._counter(
            "forebay_worker_faults", "Messages that met a fault of Forebay itself; they come again."
        )

    def permit_wait(self) -> Callable[[float], None]:
        """Of workers whose deliveries are paced."""
        return self._histogram(
            "forebay_permit_wait_seconds", "How long a message waited for the rate limit and for maxInFlight."
        ).observe

    def token_requests(self) -> Callable[[str], None]:
        """Of workers that fetch access tokens for their destination."""
        return self._counters(
            "forebay_token_requests",
            "Requests for an access token of the destination, by outcome.",
            "outcome",
            ("issued", "failed"),
        )

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A value that is read when somebody scrapes."""
        Gauge(name, text, list(self._labels), registry=self.registry).labels(**self._labels).set_function(read)

    def gauges(self, name: str, text: str, label: str, reads: Mapping[str, Callable[[], float]]) -> None:
        """The same for each value of a label."""
        family = Gauge(name, text, [*self._labels, label], registry=self.registry)
        for value, read in reads.items():
            family.labels(**self._labels, **{label: value}).set_function(read)

    def _histogram(self, name: str, text: str) -> Histogram:
        family = Histogram(name, text, list(self._labels), buckets=_SECONDS, registry=self.registry)
        return family.labels(**self._labels)

    def _counter(self, name: str, text: str) -> Callable[[], None]:
        return Counter(name, text, list(self._labels), registry=self.registry).labels(**self._labels).inc

    def _counters(self, name: str, text: str, label: str, values: Iterable[str] = ()) -> Callable[[str], None]:
        family = Counter(name, text, [*self._labels, label], registry=self.registry)

        def child(value: str) -> Callable[[], None]:
            return family.labels(**self._labels, **{label: value}).inc

        children = {value: child(value) for value in values}

        def count(value: str) -> None:
            counted = children.get(value)
            if counted is None:
                counted = children[value] = child(value)
            counted()

        return count
