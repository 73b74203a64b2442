"""Which kind of source meets which faults: in a short run, and in a long one."""

from collections.abc import Collection
from dataclasses import dataclass

from bench.faults.acts import ROUND, Act
from bench.faults.kinds import FEATURES, KINDS, PLAIN, TOGETHER, Kind

# What befalls deliveries alone; in a short run the source that paces them in every way is there for it.
_OF_DELIVERIES = frozenset({
    "broker restarts", "memory alarm", "disk alarm", "destination fails", "destination down", "destination busy", "workers paused",
    "storage away", "SIGTERM of each worker", "network cut",
})  # fmt: skip
# What befalls taking in. Whatever a source asks of its deliveries makes no difference here, or little.
_OF_INTAKE = frozenset({
    "broker hangs briefly", "broker hangs", "queue unbound", "passwords rotated", "destination slow",
    "destination cuts answers", "SIGTERM of each ingest", "SIGTERM while the broker hangs", "network slow", "network silent",
})  # fmt: skip
# Of a source that takes webhooks all the same. In short runs tests/broker/test_outage.py is there for it.
_OF_OUTAGES = frozenset({"broker away"})
_EVERYWHERE = frozenset({"calm", "kills of everything", "broker hangs, then crashes", "deploy"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One kind of source, and what is done to it."""

    kind: Kind
    acts: tuple[Act, ...]
    kills: int = 10  # SIGKILLs of each component in the act that kills everything

    def plays(self, act: str) -> bool:
        return any(one.name == act for one in self.acts)


@dataclass(frozen=True, slots=True)
class Share:
    """What a source may have of a run's time."""

    rest_s: float  # what those before it have left
    sources: int  # that share it: this one, and those behind it

    def is_over(self, passed_s: float, rounds: int) -> bool:
        """Whether a source that was played so often, for so long, is not played again: most of another round would be too much.

        The last one is played to the end, so that a run is no shorter than it says.
        """
        beyond_s = passed_s / rounds / 2 if self.sources > 1 else 0.0
        return passed_s + beyond_s >= self.rest_s / self.sources


def chosen(*, long: bool, kinds: Collection[str], acts: Collection[str]) -> tuple[Round, ...]:
    """The rounds of a run; of these kinds, if it names some, and of these acts."""
    if kinds:
        found = [_round(kind, long=True) for kind in KINDS if kind.name in kinds]
    elif acts:
        found = [_round(PLAIN, long=True)]
    else:
        found = [_round(kind, long=long) for kind in (KINDS if long else (PLAIN, TOGETHER))]
    return tuple(
        Round(kind=one.kind, acts=tuple(act for act in one.acts if not acts or act.name in acts), kills=one.kills)
        for one in found
    )


def _round(kind: Kind, *, long: bool) -> Round:
    names = _OF_DELIVERIES | _OF_INTAKE | _OF_OUTAGES | _EVERYWHERE
    if kind in FEATURES or not long:
        names = _EVERYWHERE | (_OF_INTAKE if kind is PLAIN else _OF_DELIVERIES | _OF_OUTAGES)
    acts = tuple(act for act in ROUND if act.name in names and (act.needs is None or kind.has(act.needs)))
    return Round(kind=kind, acts=acts, kills=20 if long and kind not in FEATURES else 10)
