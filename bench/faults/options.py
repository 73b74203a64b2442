"""The command line of a fault run."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.faults import acts
from bench.verdict import TREE

LONG_MINUTES = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is played, and where the account is written."""

    minutes: float  # rounds are played until so much time has passed; 0: one round
    seed: int
    only: tuple[str, ...]  # names of acts; none: all
    copies: bool  # the provider sends webhooks again, and the endpoints drop duplicates
    suite: str | None  # the Debian suite whose RabbitMQ is used; None: this machine's
    output: Path

    @property
    def acts(self) -> tuple[acts.Act, ...]:
        return tuple(act for act in acts.ROUND if not self.only or act.name in self.only)

    @property
    def folder(self) -> Path:
        return TREE / ".forebay" / "faults" / str(self.seed)


def options(seed: int, arguments: Sequence[str] | None = None) -> Options:
    """What the command line says; `seed` is taken where it names none."""
    names = list(dict.fromkeys(act.name for act in acts.ROUND))
    parser = argparse.ArgumentParser(
        prog="python -m bench.faults", description="Break everything under load; lose nothing."
    )
    parser.add_argument("--long", action="store_true", help=f"{LONG_MINUTES:g} minutes instead of one round")
    parser.add_argument("--minutes", type=float, default=0.0, help="play rounds for so many minutes")
    parser.add_argument("--seed", type=int, default=seed, help="of an earlier run, to draw the same again")
    parser.add_argument("--only", action="append", default=[], choices=names, metavar="ACT", help="; ".join(names))
    parser.add_argument("--copies", action="store_true", help="send webhooks again, and drop duplicates")
    parser.add_argument("--rabbitmq", metavar="SUITE", help="of a Debian suite (trixie, sid) instead of this machine's")
    parser.add_argument(
        "--output",
        type=Path,
        help="file for the results; usually bench/results/ after a long run of every act, else .forebay/",
    )
    given = parser.parse_args(arguments)
    minutes = max(given.minutes, LONG_MINUTES if given.long else 0.0)
    # A short run must not replace the account of a long one.
    whole = minutes >= LONG_MINUTES and not given.only and not given.copies
    usual = TREE / ("bench/results/faults.json" if whole else ".forebay/faults.json")
    return Options(
        minutes=minutes,
        seed=given.seed,
        only=tuple(given.only),
        copies=given.copies,
        suite=given.rabbitmq,
        output=given.output or usual,
    )
