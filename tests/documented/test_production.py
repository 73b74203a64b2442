"""What docs/production.md says of sizes is what was measured last, give or take what machines differ in."""

import json
import re
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
PAGE = (TREE / "docs/production.md").read_text("utf-8")
RESULTS = TREE / "bench/results"


def test_its_sizes_are_those_of_the_last_bench() -> None:
    ingest, worker, operator = (
        json.loads((RESULTS / f"{part}.json").read_text()) for part in ("ingest", "worker", "operator")
    )
    busy = ingest["medians"]["forebay"]["c256"]
    memory = ingest["memory_runs"]
    assert _row("ingest") == pytest.approx(
        [busy["rps"], busy["p99"], 256, busy["cpu_us"], memory["idle"]["forebay"]["rss"], memory["after"]["forebay"]["rss"]],
        rel=0.3,
    )  # fmt: skip
    ours = [run for run in worker["runs"] if run["system"] == "forebay"]
    rates, costs = ([run[key] for run in ours] for key in ("rate", "cpu_us"))
    assert _row("worker") == pytest.approx(
        [_middle(rates), worker["concurrency"], _middle(costs), ours[0]["memory_mib"]["rss"]], rel=0.3
    )
    assert _row("operator") == pytest.approx(
        [operator["sources"], operator["cold_cpu_s"]["operator"], operator["rss_mib"]], rel=0.3
    )


def _row(part: str) -> list[float]:
    """The numbers of a part's row in the first table."""
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| {part} |"))
    return [float(number.replace(",", "")) for number in re.findall(r"(?<![p\d])\d[\d,]*", line)]


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
