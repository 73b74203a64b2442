"""The command line of a fuzz run."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.verdict import TREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long and how hard. Times in seconds."""

    calm_s: float  # legitimate webhooks alone
    attack_s: float
    rounds: int  # of a calm and an attack
    shots: float = 250.0  # a second
    idle: tuple[int, ...] = (
        10_000,
        11_000,
    )  # by attack in turn: below what the endpoint takes, with all others, and above it
    slow: int = 100  # of each kind
    rate: float = 300.0  # legitimate webhooks a second
    limits: str = "{connections: 11000}"  # of the endpoint, as YAML; all others are its defaults

    def crowd(self, attack: int) -> dict[str, int]:
        """Connections of each kind in an attack, by its number; the idle ones half of them such that never said anything."""
        idle = self.idle[attack % len(self.idle)]
        slow = dict.fromkeys(("slow head", "slow body", "slow chunks", "hoard", "deaf"), self.slow)
        return {"silent": idle // 2, "idle": idle - idle // 2, **slow}


LONG = Pace(calm_s=9, attack_s=33, rounds=4)
QUICK = Pace(calm_s=4, attack_s=12, rounds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is done, and where the account is written."""

    pace: Pace
    quick: bool
    seed: int
    shot: int | None  # only this one, and nothing beside it
    suite: str | None  # the Debian suite whose RabbitMQ is used; None: this machine's
    output: Path

    @property
    def folder(self) -> Path:
        return TREE / ".forebay" / "fuzz" / str(self.seed)


def options(seed: int, arguments: Sequence[str] | None = None) -> Options:
    """What the command line says; `seed` is taken where it names none."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.fuzz", description="Send an endpoint whatever strangers might."
    )
    parser.add_argument("--quick", action="store_true", help="half a minute; written to .forebay/")
    parser.add_argument("--seed", type=int, default=seed, help="of an earlier run, to draw the same again")
    parser.add_argument(
        "--shot", type=int, help="send only this one, as an earlier run's finding names it, and show the answer"
    )
    parser.add_argument("--rabbitmq", metavar="SUITE", help="of a Debian suite (trixie, sid) instead of this machine's")
    parser.add_argument("--output", type=Path, help="file for the results (bench/results/fuzz.json)")
    given = parser.parse_args(arguments)
    usual = TREE / (".forebay/fuzz.json" if given.quick else "bench/results/fuzz.json")
    return Options(
        pace=QUICK if given.quick else LONG,
        quick=given.quick,
        seed=given.seed,
        shot=given.shot,
        suite=given.rabbitmq,
        output=given.output or usual,
    )
