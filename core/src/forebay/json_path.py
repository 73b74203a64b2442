"""Dotted paths into JSON, as manifests and presets write them: `event.type`, `items.0.id`."""

from typing import Any

MISSING: Any = object()


def dig(data: Any, path: str) -> Any:
    """What a path leads to; numbers step into lists. MISSING where it leads nowhere."""
    for step in path.split("."):
        if isinstance(data, dict) and step in data:
            data = data[step]
        elif isinstance(data, list) and step.isascii() and step.isdigit() and int(step) < len(data):
            data = data[int(step)]
        else:
            return MISSING
    return data
