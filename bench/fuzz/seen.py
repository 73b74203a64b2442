"""What strangers have seen: answers by status, and what must not be, with the bytes that brought it about. No I/O."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench.fuzz.answers import NotHTTPError, answers
from bench.fuzz.shots import Shot

# Every status that the endpoint may answer a stranger.
STATUSES = frozenset({100, 202, 400, 401, 403, 404, 405, 408, 413, 415, 429, 431, 503})
_SHOWN, _SHOWN_BYTES = 10, 600  # findings of each kind that are told with their bytes, and how many of these


@dataclass(slots=True)
class Seen:
    """By all shots together."""

    shots: int = 0
    unreachable: int = 0
    unfinished: int = 0  # when the time was over
    statuses: Counter[int] = field(default_factory=Counter)
    unjudged: int = 0  # not ended in time, but we came late ourselves
    late_s: float = 0.0  # how late we were at most
    silent: int = 0  # ended by the endpoint without an answer
    accepted: list[str] = field(default_factory=list)  # X-Forebay-Id of each 2xx
    found: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, Any]] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "shots": self.shots,
            "unreachable": self.unreachable,
            "unfinished": self.unfinished,
            "unjudged": self.unjudged,
            "late_s": round(self.late_s, 2),
            "silent": self.silent,
            "statuses": dict(self.statuses),
            "accepted": self.accepted,
            "found": dict(self.found),
            "findings": self.findings,
        }

    def answered(self, shot: Shot, data: bytes, *, ended: bool) -> None:
        """All that came back for one shot; `ended`: the endpoint has closed in order, so that nothing is missing."""
        try:
            whole, cut = answers(data)
        except NotHTTPError:
            self.find("not HTTP", shot, data)
            return
        if cut and ended:
            self.find("an answer cut short", shot, data)
        self.silent += ended and not whole
        for answer in whole:
            self.statuses[answer.status] += 1
            if answer.status not in STATUSES:
                self.find(f"answered {answer.status}", shot, data)
            elif answer.status == 202:
                self.accepted.append(answer.headers.get("x-forebay-id", ""))

    def find(self, what: str, shot: Shot, came: bytes) -> None:
        """Something that must not be."""
        self.found[what] += 1
        if self.found[what] <= _SHOWN:
            sent, back = repr(shot.stream[:_SHOWN_BYTES]), repr(came[:_SHOWN_BYTES])
            self.findings.append(
                {
                    "what": what,
                    "shot": shot.number,
                    "kind": shot.kind,
                    "ending": shot.ending,
                    "sent": sent,
                    "came": back,
                }
            )
