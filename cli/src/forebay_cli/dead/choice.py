"""Which dead letters are meant: by id, reason, event type, queue and time of death. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from forebay.errors import SpecError
from forebay.topology import queue_of
from forebay_cli.dead.letter import Letter

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A letter is meant if every condition that is set holds; of several values of one, any."""

    ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    event_types: frozenset[str] = frozenset()  # a * at the end stands for any rest
    queues: frozenset[str] = frozenset()  # short names
    since: int | None = None  # ms since 1970, included
    until: int | None = None  # not included

    @property
    def everything(self) -> bool:
        """Whether nothing is set."""
        return self == Choice()

    def means(self, letter: Letter) -> bool:
        return (
            _among(letter.id, self.ids)
            and _among(letter.reason, self.reasons)
            and _among(letter.queue and queue_of(letter.queue), self.queues)
            and self._typed(letter.event_type)
            and self._timely(letter.died_at)
        )

    def _typed(self, event_type: str | None) -> bool:
        return not self.event_types or (event_type is not None and any(_fits(event_type, p) for p in self.event_types))

    def _timely(self, at: int | None) -> bool:
        if self.since is None and self.until is None:
            return True
        if at is None:
            return False
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


def _among(value: str | None, wanted: frozenset[str]) -> bool:
    return not wanted or value in wanted


def _fits(event_type: str, pattern: str) -> bool:
    return event_type.startswith(pattern[:-1]) if pattern.endswith("*") else event_type == pattern


def moment(text: str, now: float) -> int:
    """A time as people write it, in ms since 1970: "90m" ago, or RFC 3339 (UTC where no zone is said). Raises SpecError."""
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return int((now - float(ago[1]) * _SECONDS[ago[2]]) * 1000)
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise SpecError(f"{text!r} is no time; write 30m, 2h or 3d for so long ago, or 2026-11-24T08:00:00Z") from error
    return int(time.replace(tzinfo=time.tzinfo or UTC).timestamp() * 1000)
