"""Sources as the operator's tests apply them."""

from typing import Any

from tests.support.sources import manifest


def source(name: str = "github", **changes: Any) -> dict[str, Any]:
    """The smallest source on the test's broker, with changes (see `manifest`)."""
    return manifest(metadata__name=name, spec__broker={"secretRef": {"name": "rabbitmq"}}, **changes)
