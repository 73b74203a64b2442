"""Sources for tests: the smallest manifest, changed where a test says so."""

from copy import deepcopy
from typing import Any

SMALLEST: dict[str, Any] = {
    "apiVersion": "forebay.dev/v1alpha1",
    "kind": "WebhookSource",
    "metadata": {"name": "github"},
    "spec": {
        "ingest": {
            "verification": {"provider": "GitHub", "secretRefs": [{"name": "github-webhook", "key": "secret"}]},
        },
        "worker": {"destination": {"url": "http://orders.svc/webhooks"}},
    },
}


def manifest(**changes: Any) -> dict[str, Any]:
    """The smallest manifest with some dotted paths set: manifest(spec__retry__maxAttempts=3)."""
    data = deepcopy(SMALLEST)
    for path, value in changes.items():
        *above, last = path.split("__")
        place = data
        for step in above:
            place = place.setdefault(step, {})
        place[last] = deepcopy(value)
    return data
