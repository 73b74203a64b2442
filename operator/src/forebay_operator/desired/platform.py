"""What the cluster (or this machine) is like, as far as it decides what a source becomes."""

from dataclasses import dataclass

POD_MONITOR = "monitoring.coreos.com/v1/PodMonitor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The platform team's decisions, and the optional APIs that were discovered."""

    ingest_image: str = "ghcr.io/forebay/forebay-ingest:0.1.0"
    worker_image: str = "ghcr.io/forebay/forebay-worker:0.1.0"
    image_pull_secrets: tuple[str, ...] = ()
    # Which addresses a tenant's destination may have. Metadata addresses never may.
    allow_private: bool = True
    allow_loopback: bool = False
    apis: frozenset[str] = frozenset()  # "group/version/Kind" of optional APIs that the cluster has
