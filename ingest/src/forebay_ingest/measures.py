"""The endpoint's metrics. Label values are bounded: queues are the manifest's, causes and reasons are ours.

Every child is told from 0 on: Prometheus sees an increase only where there was a number before.

What every webhook counts is kept in plain numbers and told when somebody scrapes: a tenth of the cost of the library's own
counters, which guard against threads that are not here.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

from forebay.signatures.verify import Reason
from forebay_ingest.answers import REFUSALS
from forebay_ingest.lanes import FAULTS

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Measures:
    """Counts of one source ("namespace/name"), and the collector that tells them."""

    def __init__(self, source: str, queues: tuple[str, ...]) -> None:
        self.registry = CollectorRegistry()
        namespace, _, name = source.partition("/")
        self._place = {"namespace": namespace, "source": name}
        self._accepted = dict.fromkeys(queues, 0)
        self._body_bytes = 0
        self._confirms = [0] * (len(_BUCKETS) + 1)
        self._confirm_sum = 0.0
        self._refused = Counter({(refusal.cause, refusal.status): 0 for refusal in REFUSALS})
        self._signatures = Counter({reason.value: 0 for reason in Reason})
        self._hangups = 0
        self._handshakes = 0
        outcomes = ("fetched", "absent", "unreachable")
        self._fetches = {(what, outcome): 0 for what in ("keys", "confirmation") for outcome in outcomes}
        self._further: list[tuple[str, str, Callable[[], int]]] = []
        self._key_faults: Counter[str] | None = None  # None: nobody looks at keys
        self._busy = 0
        self.registry.register(self)

    def accepted(self, queue: str, size: int, seconds: float) -> None:
        """A webhook of so many bytes was confirmed after so many seconds."""
        self._accepted[queue] += 1
        self._body_bytes += size
        self._confirms[bisect_left(_BUCKETS, seconds)] += 1
        self._confirm_sum += seconds

    def sheltered(self, queue: str, size: int) -> None:
        """A webhook of so many bytes was stored in place of a confirm."""
        self._accepted[queue] += 1
        self._body_bytes += size

    def refused(self, cause: str, status: int) -> None:
        """A request was answered anything but 2xx."""
        self._refused[cause, status] += 1

    def signature_refused(self, reason: str) -> None:
        """A signature did not verify."""
        self._signatures[reason] += 1

    def replied(self) -> None:
        """A handshake of the provider was answered."""
        self._handshakes += 1

    def fetched(self, what: str, outcome: str) -> None:
        """The provider was asked for something."""
        self._fetches[what, outcome] += 1

    def with_lanes(self) -> None:
        """Tell of keys too: the source has lanes."""
        self._key_faults = Counter(dict.fromkeys(FAULTS, 0))

    def key_fault(self, fault: str) -> None:
        """A key was not as it should be."""
        assert self._key_faults is not None, "with_lanes was called before"
        self._key_faults[fault] += 1

    def busy(self) -> None:
        """A webhook went to the lane of keys that send too much."""
        self._busy += 1

    def hung_up(self) -> None:
        """A sender was gone before its answer."""
        self._hangups += 1

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A value that is read when somebody scrapes."""
        Gauge(name, text, list(self._place), registry=self.registry).labels(**self._place).set_function(read)

    def counter(self, name: str, text: str, read: Callable[[], int]) -> None:
        """A count that somebody else keeps, read when somebody scrapes."""
        self._further.append((name, text, read))

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        yield self._counter(
            "forebay_ingest_accepted",
            "Webhooks answered 2xx: the broker has confirmed them, or they are in the outage buffer.",
            ("queue",),
            {(queue,): count for queue, count in self._accepted.items()},
        )
        yield self._counter(
            "forebay_ingest_refused",
            "Requests answered anything but 2xx, by cause and status.",
            ("cause", "status"),
            {(cause, str(status)): count for (cause, status), count in self._refused.items()},
        )
        yield self._counter(
            "forebay_ingest_signature_refused",
            "Requests whose signature did not verify, by reason.",
            ("reason",),
            {(reason,): count for reason, count in self._signatures.items()},
        )
        yield self._counter("forebay_ingest_body_bytes", "Bytes of accepted bodies.", (), {(): self._body_bytes})
        yield self._counter(
            "forebay_ingest_hangups",
            "Senders that were gone before their answer; the webhook is kept all the same.",
            (),
            {(): self._hangups},
        )
        yield self._counter(
            "forebay_ingest_handshakes",
            "Handshakes of the provider that were answered; they are not webhooks and not queued.",
            (),
            {(): self._handshakes},
        )
        yield self._counter(
            "forebay_ingest_fetches",
            "What the endpoint asked its provider for, published keys or the confirmation of a subscription, by outcome.",
            ("what", "outcome"),
            dict(self._fetches.items()),
        )
        for name, text, read in self._further:
            yield self._counter(name, text, (), {(): read()})
        if self._key_faults is not None:
            yield from self._lanes(self._key_faults)
        yield self._histogram()

    def _lanes(self, key_faults: Counter[str]) -> Iterator[Metric]:
        yield self._counter(
            "forebay_ingest_key_faults",
            "Webhooks without a usable key (missing, type), which are in no lane; and such as are in one by a part of it (long).",
            ("fault",),
            {(fault,): count for fault, count in key_faults.items()},
        )
        yield self._counter(
            "forebay_ingest_busy", "Webhooks put aside because their key sends too much.", (), {(): self._busy}
        )

    def _counter(
        self, name: str, text: str, labels: tuple[str, ...], values: dict[tuple[str, ...], int]
    ) -> CounterMetricFamily:
        family = CounterMetricFamily(name, text, labels=[*self._place, *labels])
        for label_values, value in values.items():
            family.add_metric([*self._place.values(), *label_values], value)
        return family

    def _histogram(self) -> HistogramMetricFamily:
        text = "From the whole request to the broker's confirm."
        family = HistogramMetricFamily("forebay_ingest_confirm_seconds", text, labels=list(self._place))
        below, buckets = 0, []
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), self._confirms, strict=True):
            below += count
            buckets.append((bound, below))
        family.add_metric(list(self._place.values()), buckets, self._confirm_sum)
        return family
