"""Log lines of a source's pods for people: which are worth showing, and how. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from forebay_cli.drawing import plain

# What stands in every line, or is said otherwise.
_KNOWN = frozenset({"time", "level", "event", "part", "source"})
_BAD = frozenset({"warning", "error"})
_FAILURES = frozenset({"delivery.retry", "delivery.dead", "delivery.dropped", "request.refused"})
_STYLES = {"warning": "yellow", "error": "red"}


def parsed(line: str) -> dict[str, Any] | None:
    """A line of Forebay's own; None for any other, such as one of a traceback."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "event" in found else None


def failed(line: str) -> bool:
    """Whether a line tells of something that did not succeed."""
    said = parsed(line)
    return said is None or said.get("level") in _BAD or said["event"] in _FAILURES


def style(line: str) -> str:
    said = parsed(line)
    return "red" if said is None else _STYLES.get(str(said.get("level")), "")


def shown(pod: str, line: str) -> str:
    """A line with the pod it is from."""
    said = parsed(line)
    if said is None:
        return f"{pod}  {plain(line)}"
    rest = " ".join(f"{key}={_value(value)}" for key, value in said.items() if key not in _KNOWN)
    clock = str(said.get("time", ""))[11:23]
    return f"{clock:12} {str(said.get('level', ''))[:4]:4} {pod}  {plain(str(said['event']))}  {rest}"


def as_json(pod: str, line: str) -> str:
    """A line as JSON, with the pod in it."""
    fields: Mapping[str, Any] = parsed(line) or {"line": line}
    return json.dumps({"pod": pod, **fields})


def _value(value: Any) -> str:
    text = plain(str(value))
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else text
