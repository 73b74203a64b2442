"""What a source's processes said of one webhook: lines of their logs, in either of their forms, as values. Pure."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from forebay.identity import born

_TEXT = re.compile(r"(\d\d):(\d\d):(\d\d)\.(\d{3}) \w+ +\w*: (\S+)  (.*)")
_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)(?: |$)')
_NUMBERS = frozenset({"attempt", "status", "retry_in_s", "ms", "age_s", "bytes", "held_back"})
_DAY = 86_400_000  # ms
WAITS, NEXT = "order.waits", "order.next"  # a webhook waits behind an earlier one of its key; it does no longer
_LARGEST = 2**53  # no number of ours is larger; NaN is not smaller either


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One line about the webhook."""

    at: int  # ms since 1970
    event: str
    fields: Mapping[str, Any]

    def number(self, name: str) -> float | None:
        value = self.fields.get(name)
        return value if isinstance(value, (int, float)) and abs(value) < _LARGEST else None

    def flag(self, name: str) -> bool:
        return str(self.fields.get(name)) == "True"

    def text(self, name: str) -> str | None:
        value = self.fields.get(name)
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """From a moment on a worker took fewer webhooks for these reasons; for none: it took them freely again."""

    at: int  # ms since 1970
    reasons: tuple[str, ...]


def holds(lines: Iterable[str], now: int) -> tuple[Hold, ...]:
    """What the lines say of the pace; in the order of time. `now` in ms."""
    told = (one for line in lines if "pace." in line and (one := _read(line, now)) is not None)
    found = (Hold(at=one.at, reasons=_reasons(one)) for one in told if one.event in ("pace.held", "pace.free"))
    return tuple(sorted(found, key=lambda hold: hold.at))


def _reasons(one: Said) -> tuple[str, ...]:
    """A list, or the text of one."""
    return tuple(re.findall(r"[a-z][a-z-]*", str(one.fields.get("reasons", "")))) if one.event == "pace.held" else ()


def said(lines: Iterable[str], wanted: str, now: int) -> tuple[Said, ...]:
    """What the lines say of the webhook with this id, ours or the provider's; in the order of time. `now` in ms."""
    found = (line for line in lines if wanted in line)
    told = (one for line in found if (one := _read(line, now)) is not None and _about(one, wanted))
    return tuple(sorted(told, key=lambda one: one.at))


def _about(one: Said, wanted: str) -> bool:
    return wanted in (one.fields.get("id"), one.fields.get("delivery_id"))


def _read(line: str, now: int) -> Said | None:
    try:
        fields = json.loads(line)
        at = datetime.fromisoformat(fields.pop("time"))
        return Said(at=round(at.timestamp() * 1000), event=str(fields.pop("event")), fields=fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        return _read_text(line, now)


def _read_text(line: str, now: int) -> Said | None:
    match = _TEXT.fullmatch(line)
    if match is None:
        return None
    hours, minutes, seconds, millis = (int(part) for part in match.groups()[:4])
    of_day = ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis
    fields = dict(_fields(match[6]))
    accepted, age = born(str(fields.get("id"))), fields.get("age_s")
    # Such a line names no day; where it does not say how old the webhook was, the last day is meant.
    at = now - (now - of_day) % _DAY if accepted is None or age is None else accepted + round(age * 1000)
    return Said(at=at, event=match[5], fields=fields)


def _fields(text: str) -> Iterator[tuple[str, Any]]:
    for name, value in _FIELD.findall(text):
        plain = json.loads(value) if value.startswith('"') and len(value) > 1 and value.endswith('"') else value
        yield name, _number(plain) if name in _NUMBERS else plain


def _number(text: Any) -> float | None:
    try:
        number = float(text)
    except (ValueError, TypeError):
        return None
    return number if abs(number) < _LARGEST else None
