"""Metrics of the outage buffer. There are none where a source has none."""

import time

from prometheus_client import Counter

from forebay.settings import OutageBuffer
from forebay_ingest.holdings import Holdings
from forebay_ingest.measures import Measures

# Words of forebay.storage.StorageError, and our own for a segment that this version can not read or publish.
CAUSES = ("missing", "wrong", "denied", "unreachable", "unreadable")


class ShelterMeasures:
    """Counts of one source ("namespace/name")."""

    def __init__(self, measures: Measures, source: str, holdings: Holdings, given: OutageBuffer) -> None:
        self.buffered = self.drained = 0  # webhooks
        _tell_level(measures, holdings, given)
        measures.counter(
            "forebay_outage_buffered",
            "Webhooks answered 2xx because they are in the outage buffer.",
            lambda: self.buffered,
        )
        measures.counter(
            "forebay_outage_drained",
            "Webhooks that went from the outage buffer into their queues.",
            lambda: self.drained,
        )
        measures.counter(
            "forebay_outage_inherited",
            "Webhooks that another endpoint process had left in the outage buffer, and this one has taken over.",
            lambda: holdings.taken_over,
        )
        namespace, _, name = source.partition("/")
        place = {"namespace": namespace, "source": name}
        failures = Counter(
            "forebay_outage_buffer_failures",
            "Failures of the outage buffer's storage, by cause; wrong and unreadable ones are set aside for a person.",
            [*place, "cause"],
            registry=measures.registry,
        )
        self._failures = {cause: failures.labels(**place, cause=cause) for cause in CAUSES}

    def failed(self, cause: str) -> None:
        """Something could not be stored, or is not what was stored."""
        self._failures[cause].inc()


def _tell_level(measures: Measures, holdings: Holdings, given: OutageBuffer) -> None:
    def oldest_s() -> float:
        return 0.0 if holdings.oldest is None else max(0.0, time.time() - holdings.oldest / 1000)

    measures.gauge(
        "forebay_outage_buffer_webhooks", "Webhooks in the outage buffer of this process.", lambda: holdings.webhooks
    )
    measures.gauge("forebay_outage_buffer_bytes", "Bytes of those.", lambda: holdings.bytes)
    measures.gauge("forebay_outage_buffer_max_bytes", "Where it is full (maxBytes).", lambda: given.max_bytes)
    measures.gauge("forebay_outage_buffer_oldest_seconds", "How long the oldest has been there.", oldest_s)
    measures.gauge(
        "forebay_outage_buffer_max_seconds",
        "At which age of the oldest it takes no more (maxAge).",
        lambda: given.max_age_s,
    )
