"""One wide log line per event, and the trace header. Metrics live beside the code they count.

A line is a flat mapping with everything known about one thing that happened. In a pod it is JSON, at a terminal it is
text. Values that hold secrets never reach it: callers pass ids, statuses, durations and sentences.
"""

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TextIO

LEVELS = ("debug", "info", "warning", "error")

# https://www.w3.org/TR/trace-context/#traceparent-header (ids of zeros are none).
_TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Log:
    """Writes lines of at least one level. Bound fields (`part`, `source`) stand in every line."""

    def __init__(
        self,
        bound: Mapping[str, Any],
        *,
        level: str = "info",
        form: str = "json",
        stream: TextIO = sys.stdout,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bound = dict(bound)
        self._least = LEVELS.index(level)
        self._form = _as_json if form == "json" else _as_text
        self._stream = stream
        self._clock = clock

    def enabled(self, level: str) -> bool:
        """Whether a line of this level would be written; saves the making of one that would not."""
        return LEVELS.index(level) >= self._least

    def debug(self, event: str, **fields: Any) -> None:
        self.write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self.write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self.write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self.write("error", event, fields)

    def write(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        """Write one line. Fields that are None are left out."""
        if not self.enabled(level):
            return
        now = self._clock()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        line = {"time": stamp, "level": level, "event": event, **self._bound, **fields}
        try:
            self._stream.write(self._form({key: value for key, value in line.items() if value is not None}))
            self._stream.flush()
        except (OSError, ValueError):
            return  # nobody reads any more (a closed pipe); work goes on


class Throttle:
    """Lets a few lines of each kind through per second and counts the others: a flood of events is no flood of lines."""

    def __init__(self, per_second: int = 5, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._second = 0
        self._passed: Counter[str] = Counter()
        self._held: Counter[str] = Counter()

    def admit(self, kind: str) -> int | None:
        """How many lines of this kind were held back since the last one that passed; None: hold this one back too."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._passed.clear()
        if self._passed[kind] >= self._per_second:
            self._held[kind] += 1
            return None
        self._passed[kind] += 1
        return self._held.pop(kind, 0)


def _as_json(line: Mapping[str, Any]) -> str:
    return json.dumps(line, separators=(",", ":"), default=str) + "\n"


def _as_text(line: Mapping[str, Any]) -> str:
    known = ("time", "level", "event", "part")
    rest = " ".join(f"{key}={_shown(value)}" for key, value in line.items() if key not in known)
    return f"{line['time'][11:23]} {line['level'][:4]:4} {line.get('part', '')}: {line['event']}  {rest}\n"


def _shown(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if " " in text or not text.isprintable() else text


def traceparent(header: bytes | None) -> str | None:
    """The W3C trace context of a request, None if there is none that can be trusted to be one."""
    if header is None or _TRACEPARENT.fullmatch(header) is None:
        return None
    return header.decode("ascii")
