"""The endpoint's metrics. Label values are bounded: queues are the manifest's, causes and reasons are ours."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_CONFIRM_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Measures:
    """Metrics of one source. Children are kept by the caller's queue or cause, because finding one costs 1 µs."""

    def __init__(self, source: str, queues: tuple[str, ...]) -> None:
        self.registry = CollectorRegistry()
        self._labels = {"source": source}
        accepted = Counter(
            "forebay_ingest_accepted",
            "Webhooks answered 2xx: the broker has confirmed them.",
            [*self._labels, "queue"],
            registry=self.registry,
        )
        self._refused = Counter(
            "forebay_ingest_refused",
            "Requests answered anything but 2xx, by cause and status.",
            [*self._labels, "cause", "status"],
            registry=self.registry,
        )
        self._signatures = Counter(
            "forebay_ingest_signature_refused",
            "Requests whose signature did not verify, by reason.",
            [*self._labels, "reason"],
            registry=self.registry,
        )
        self.accepted = {queue: accepted.labels(**self._labels, queue=queue).inc for queue in queues}
        self.confirm_seconds = self._histogram()
        self.body_bytes = self._counter("forebay_ingest_body_bytes", "Bytes of accepted bodies.")
        self.hangups = self._counter(
            "forebay_ingest_hangups", "Senders that were gone before their answer; the webhook is kept all the same."
        )
        self._refusals: dict[tuple[str, int], Callable[[], None]] = {}
        self._reasons: dict[str, Callable[[], None]] = {}

    def refused(self, cause: str, status: int) -> None:
        count = self._refusals.get((cause, status))
        if count is None:
            count = self._refused.labels(**self._labels, cause=cause, status=str(status)).inc
            self._refusals[cause, status] = count
        count()

    def signature_refused(self, reason: str) -> None:
        count = self._reasons.get(reason)
        if count is None:
            count = self._reasons[reason] = self._signatures.labels(**self._labels, reason=reason).inc
        count()

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A value that is read when somebody scrapes."""
        Gauge(name, text, list(self._labels), registry=self.registry).labels(**self._labels).set_function(read)

    def _histogram(self) -> Callable[[float], None]:
        return (
            Histogram(
                "forebay_ingest_confirm_seconds",
                "From the whole request to the broker's confirm.",
                list(self._labels),
                buckets=_CONFIRM_BUCKETS,
                registry=self.registry,
            )
            .labels(**self._labels)
            .observe
        )

    def _counter(self, name: str, text: str) -> Callable[[float], None]:
        return Counter(name, text, list(self._labels), registry=self.registry).labels(**self._labels).inc
