"""Bars and verdicts: what a figure must reach, what it reached, as a table and as JSON."""

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

TREE = Path(__file__).resolve().parent.parent

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One figure's bar (must be reached) and aim (should be). No aim: the bar is all there is to reach."""

    figure: str
    key: str  # dotted path into the results
    sign: Literal["≤", "≥"]
    bar: float | None  # None: shown, never missed
    aim: float | None = None
    unit: str = ""

    def verdict(self, measured: float | None) -> str:
        if measured is None:
            return "not measured"
        if self.bar is not None and not self._reaches(measured, self.bar):
            return "MISSED"
        return "aim" if self.aim is not None and self._reaches(measured, self.aim) else "ok"

    def row(self, results: Mapping[str, Any]) -> list[str]:
        measured = look_up(results, self.key)
        limits = [
            f"{self.sign} {_number(limit)}{self.unit}" if limit is not None else "" for limit in (self.bar, self.aim)
        ]
        return [
            self.figure,
            *limits,
            "-" if measured is None else f"{_number(measured)}{self.unit}",
            self.verdict(measured),
        ]

    def _reaches(self, measured: float, limit: float) -> bool:
        return measured <= limit if self.sign == "≤" else measured >= limit


def look_up(results: Mapping[str, Any], key: str) -> float | None:
    value: Any = results
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return None if value is None else float(value)


def _number(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:.2f}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns; the first one to the left, the others to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def render(line: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )

    return "\n".join([render(lines[0]), "  ".join("─" * width for width in widths), *map(render, lines[1:])])


def conclude(results: dict[str, Any], bars: Sequence[Bar], file: Path) -> int:
    """Add the verdicts to the results, write them, print the table. Exit status 1 if a bar is missed or not measured."""
    rows = [bar.row(results) for bar in bars]
    results["verdicts"] = [dict(zip(("figure", "bar", "aim", "measured", "verdict"), row, strict=True)) for row in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    print("\n" + table(("figure", "bar", "aim", "measured", "verdict"), rows))
    print(f"\nresults: {file}")
    return 1 if missed(results, bars) else 0


def missed(results: Mapping[str, Any], bars: Iterable[Bar]) -> list[str]:
    """The figures that did not reach their bars, or were not measured."""
    return [
        bar.figure
        for bar in bars
        if bar.bar is not None and bar.verdict(look_up(results, bar.key)) in {"MISSED", "not measured"}
    ]


def earlier(file: Path) -> dict[str, Any]:
    """What a file of results says already."""
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return results


def enter(section: str, told: dict[str, Any], bars: Sequence[Bar], file: Path) -> int:
    """Put what one part has measured beside what a file of results says already; the same as `conclude` for this part."""
    before = earlier(file)
    figures = {bar.figure for bar in bars}
    others = [row for row in before.get("verdicts", ()) if row["figure"] not in figures]
    results = {**before, section: {**told, "measured_at": _now()}}
    status = conclude(results, bars, file)
    results["verdicts"] = [*others, *results["verdicts"]]
    file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    return status


def best(figures: Mapping[Key, Callable[[], float]], rounds: int) -> dict[Key, float]:
    """The smallest of each; a round goes through them all, so that others' work on the machine meets a round, not a figure."""
    told = [{key: measure() for key, measure in figures.items()} for _ in range(rounds)]
    return {key: min(one[key] for one in told) for key in figures}


def median(values: Iterable[float]) -> float | None:
    found = list(values)
    return round(statistics.median(found), 3) if found else None


def ratio(ours: float | None, theirs: float | None) -> float | None:
    return round(ours / theirs, 3) if ours is not None and theirs else None


# ---------------------------------------------------------------------------------------------------- command line


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How long to measure and where to write."""

    quick: bool
    output: Path  # folder


def options(what: str, arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs; written to .forebay/bench/")
    parser.add_argument("--output", type=Path, help="folder for the results (bench/results/)")
    given = parser.parse_args(arguments)
    usual = TREE / ".forebay" / "bench" if given.quick else TREE / "bench" / "results"
    return Options(quick=given.quick, output=given.output or usual)


# ---------------------------------------------------------------------------------------------------- circumstances


def circumstances(*, quick: bool, rabbitmq: str) -> dict[str, Any]:
    """What a reader needs to know to compare: when, on what machine, of which versions."""
    return {
        "measured_at": _now(),
        "quick": quick,
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "load_before": round(os.getloadavg()[0], 2),  # others' work: should be near 0
        },
        "versions": {
            "python": platform.python_version(),
            "python_build": f"{Path(sys.executable).resolve()}, {platform.python_compiler()}",
            **{name: _version(name) for name in ("aiohttp", "pika", "uvloop", "prometheus-client")},
            "rabbitmq": rabbitmq,
            "go": _first_line("go", "version"),
            "java": _first_line("java", "-version"),
            **_modules(),
            "commit": _first_line("git", "-C", str(TREE), "describe", "--always", "--dirty"),
        },
    }


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _first_line(*command: str) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return next(iter(done.stdout.splitlines()), None)


def _modules() -> dict[str, str]:
    """The versions that the Go peers are built with."""
    wanted = ("github.com/rabbitmq/amqp091-go", "github.com/prometheus/client_golang")
    lines = (TREE / "bench" / "go.mod").read_text().split("\n")
    pairs = (line.split() for line in lines if line.startswith("\t") and "// indirect" not in line)
    return {name.rpartition("/")[2]: version for name, version in pairs if name in wanted}
