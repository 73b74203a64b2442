"""Metrics of webhooks whose bodies are in object storage. There are none where no storage is configured."""

from prometheus_client import CollectorRegistry, Counter

# Words of forebay.storage.StorageError.
CAUSES = ("missing", "wrong", "denied", "unreachable")


class ClaimMeasures:
    """Counts of one queue of a source ("namespace/name")."""

    def __init__(self, registry: CollectorRegistry, source: str, queue: str) -> None:
        namespace, _, name = source.partition("/")
        place = {"namespace": namespace, "source": name, "queue": queue}
        self._deleted = Counter(
            "forebay_claims_deleted",
            "Bodies deleted from object storage after delivery.",
            list(place),
            registry=registry,
        ).labels(**place)
        failures = Counter(
            "forebay_claim_fetch_failures",
            "Bodies that could not be had from object storage, or not be deleted there, by cause.",
            [*place, "cause"],
            registry=registry,
        )
        self._failures = {cause: failures.labels(**place, cause=cause) for cause in CAUSES}

    def deleted(self) -> None:
        """A body is gone."""
        self._deleted.inc()

    def failed(self, cause: str) -> None:
        """The storage did not do what it was asked for."""
        self._failures[cause].inc()
