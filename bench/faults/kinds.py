"""The kinds of source that rounds are played with: the plain one, one for each thing that a source can ask for, and all at once.

Each has the same endpoint, destination and retries, and what is said here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.faults.webhooks import KEY_HEADER, USUAL, Habits
from forebay import manifest
from forebay.source import WebhookSource

Spec = Mapping[str, Any]

BODIES = "/the/run's/own/folder"  # stands for the folder of the large bodies
_SPEC: Spec = {
    "ingest": {"verification": {"provider": "GitHub", "secretRefs": [{"name": "github", "key": "secret"}]}},
    # Long enough for every outage here: what is dead-lettered is what the destination refuses for good.
    "retry": {"schedule": ["1s", "1s", "2s", "3s", "5s"], "maxAttempts": 100},
    "worker": {"concurrency": 20, "destination": {"timeout": "4s"}},
}
_RATE_LIMIT: Spec = {"worker": {"rateLimit": {"requests": 300, "burst": 15}}}
_MAX_IN_FLIGHT: Spec = {"worker": {"maxInFlight": 15}}
_ORDERING: Spec = {"worker": {"ordering": {"header": KEY_HEADER, "lanes": 8}}}
_FAIRNESS: Spec = {"worker": {"fairness": {"header": KEY_HEADER}}}
# So short a memory that a few seconds of failures open it.
_BREAKER: Spec = {
    "worker": {
        "circuitBreaker": {"failurePercent": 20, "minimum": 10, "window": "2s", "openFor": "1s", "probes": 2},
    }
}
_DEDUPLICATION: Spec = {"ingest": {"deduplication": {"key": "auto", "window": "1h"}}}
_LARGE: Spec = {"ingest": {"maxBodyBytes": "1Mi"}, "storage": {"provider": "File", "bucket": BODIES}}
_OUTAGE_BUFFER: Spec = {
    "ingest": {"maxBodyBytes": "1Mi", "outageBuffer": {}},
    "storage": {"provider": "File", "bucket": BODIES, "threshold": "1Mi"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of source, and the provider that sends to it."""

    name: str  # also the source's
    spec: Spec = field(default_factory=dict)  # beside what all have
    habits: Habits = USUAL
    rate: float = 200.0  # webhooks a second
    ingests: int = 2

    def has(self, path: str) -> bool:
        """Whether the spec says something at this dotted path."""
        place: Any = self.spec
        for step in path.split("."):
            place = place.get(step) if isinstance(place, Mapping) else None
        return place is not None

    def source(self, url: str, bodies: Path) -> WebhookSource:
        """The source that delivers to this URL and has its large bodies in this folder."""
        found = {
            "apiVersion": "forebay.dev/v1alpha1",
            "kind": "WebhookSource",
            "metadata": {"name": self.name, "namespace": "faults"},
            "spec": _merged(_SPEC, self.spec, {"worker": {"destination": {"url": url}}}),
        }
        if "storage" in self.spec:
            found = _merged(found, {"spec": {"storage": {"bucket": str(bodies)}}})
        return manifest.read_source(found)


def _merged(*specs: Spec) -> dict[str, Any]:
    """All that they say, in one."""
    whole: dict[str, Any] = {}
    for spec in specs:
        for name, value in spec.items():
            whole[name] = _merged(whole.get(name, {}), value) if isinstance(value, Mapping) else value
    return whole


PLAIN = Kind(name="plain", rate=400.0)
FEATURES = (
    Kind(name="rate-limit", spec=_RATE_LIMIT),
    Kind(name="max-in-flight", spec=_MAX_IN_FLIGHT),
    Kind(name="ordering", spec=_ORDERING),
    Kind(name="fairness", spec=_FAIRNESS, habits=Habits(flooding=True)),
    Kind(name="breaker", spec=_BREAKER),
    Kind(name="deduplication", spec=_DEDUPLICATION, habits=Habits(copies=True)),
    Kind(name="large-bodies", spec=_LARGE, habits=Habits(large=True)),
    # One endpoint: between several there is no order in an outage.
    Kind(name="outage-buffer", spec=_merged(_OUTAGE_BUFFER, _ORDERING), ingests=1),
)
# Fairness alone is missing: where there is order no key can flood, and the two are refused together.
TOGETHER = Kind(
    name="together",
    spec=_merged(_RATE_LIMIT, _MAX_IN_FLIGHT, _ORDERING, _BREAKER, _DEDUPLICATION, _LARGE),
    habits=Habits(copies=True, large=True),
)
KINDS = (PLAIN, *FEATURES, TOGETHER)
