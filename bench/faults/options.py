"""The command line of a fault run."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.faults import rounds
from bench.faults.acts import ROUND
from bench.faults.kinds import KINDS
from bench.verdict import TREE

LONG_MINUTES = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is played, and where the account is written."""

    minutes: float  # for which rounds are played, as long for each kind of source; at least one of each
    seed: int
    only: tuple[str, ...]  # names of acts; none: all
    kinds: tuple[str, ...]  # names of kinds of source; none: as many as there is time for
    suite: str | None  # the Debian suite whose RabbitMQ is used; None: this machine's
    output: Path

    @property
    def rounds(self) -> tuple[rounds.Round, ...]:
        return rounds.chosen(long=self.minutes >= LONG_MINUTES, kinds=self.kinds, acts=self.only)

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return not self.only and not self.kinds

    @property
    def folder(self) -> Path:
        return TREE / ".forebay" / "faults" / str(self.seed)


def options(seed: int, arguments: Sequence[str] | None = None) -> Options:
    """What the command line says; `seed` is taken where it names none."""
    names = list(dict.fromkeys(act.name for act in ROUND))
    kinds = [kind.name for kind in KINDS]
    parser = argparse.ArgumentParser(
        prog="python -m bench.faults", description="Break everything under load; lose nothing."
    )
    parser.add_argument("--long", action="store_true", help=f"every kind of source, for {LONG_MINUTES:g} minutes")
    parser.add_argument("--minutes", type=float, default=0.0, help="play rounds for so many minutes")
    parser.add_argument("--seed", type=int, default=seed, help="of an earlier run, to draw the same again")
    parser.add_argument("--only", action="append", default=[], choices=names, metavar="ACT", help="; ".join(names))
    parser.add_argument("--kind", action="append", default=[], choices=kinds, metavar="KIND", help="; ".join(kinds))
    parser.add_argument("--rabbitmq", metavar="SUITE", help="of a Debian suite (trixie, sid) instead of this machine's")
    parser.add_argument(
        "--output",
        type=Path,
        help="file for the results; usually bench/results/ after a long run of every act, else .forebay/",
    )
    given = parser.parse_args(arguments)
    minutes = max(given.minutes, LONG_MINUTES if given.long else 0.0)
    # A short run must not replace the account of a long one.
    whole = minutes >= LONG_MINUTES and not given.only and not given.kind
    usual = TREE / ("bench/results/faults.json" if whole else ".forebay/faults.json")
    return Options(
        minutes=minutes,
        seed=given.seed,
        only=tuple(given.only),
        kinds=tuple(given.kind),
        suite=given.rabbitmq,
        output=given.output or usual,
    )
