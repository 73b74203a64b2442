"""Metrics of webhooks whose bodies go to object storage. There are none where no storage is configured."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Words of forebay.storage.StorageError, and our own: on the endpoint's disk, and when an orphan was to be deleted.
CAUSES = ("missing", "wrong", "denied", "unreachable", "spool", "delete")
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ClaimMeasures:
    """Counts of one source ("namespace/name")."""

    def __init__(self, registry: CollectorRegistry, source: str, spooled: Callable[[], float]) -> None:
        namespace, _, name = source.partition("/")
        place = {"namespace": namespace, "source": name}
        names = list(place)
        held = Gauge("forebay_spool_bytes", "Large bodies on the endpoint's disk.", names, registry=registry)
        held.labels(**place).set_function(spooled)
        self._claimed = Counter("forebay_claimed", "Bodies stored in object storage.", names, registry=registry).labels(
            **place
        )
        self._bytes = Counter("forebay_claimed_bytes", "Bytes of those bodies.", names, registry=registry).labels(
            **place
        )
        self._seconds = Histogram(
            "forebay_claim_put_seconds", "How long storing a body took.", names, buckets=_SECONDS, registry=registry
        ).labels(**place)
        failures = Counter(
            "forebay_claim_failures",
            "Large bodies that could not be stored, by cause; each was answered 503.",
            [*names, "cause"],
            registry=registry,
        )
        self._failures = {cause: failures.labels(**place, cause=cause) for cause in CAUSES}

    def stored(self, size: int, seconds: float) -> None:
        """A body is safe in the storage."""
        self._claimed.inc()
        self._bytes.inc(size)
        self._seconds.observe(seconds)

    def failed(self, cause: str) -> None:
        """A body could not be stored."""
        self._failures[cause].inc()
