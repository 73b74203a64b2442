"""Writes the figures of docs/failure-model.md from the committed results; `make reference` runs it, a test compares.

uv run python -m bench.faults.page
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TREE = Path(__file__).resolve().parents[2]
FILE = TREE / "docs" / "failure-model.md"
RESULTS = TREE / "bench" / "results" / "faults.json"

_ACTS_OF = "plain"  # the kind of source whose acts the page tells one by one


def page(text: str, results: Mapping[str, Any]) -> str:
    """The page with these results in it, all else as it was.

    Raises ValueError if a place for them is missing, or if they are none of which the page's words are true.
    """
    if results["quick"] or set(results["refused_by_status"]) != {"503"} or results["refused_without_retry_after"]:
        raise ValueError("the page tells of a long run in which every refusal was a 503 with Retry-After")
    above, heading, text = text.partition("\n## Measured\n")
    text = _put(r"(?<=`--long --seed )\d+", str(results["seed"]), text)
    for label, value in _sums(results).items():
        text = _put(rf"(?m)^(\| {re.escape(label)} \|.*\|) [^|]+ \|$", rf"\1 {value} |", text)
    text = _put(r"(?m)^(\| \| RabbitMQ .*\|) [^|]+ \|$", rf"\1 {_circumstances(results)} |", text)
    text = _put_rows("kind", map(_kind, results["kinds"], results["kinds"].values()), text)
    acts = results["kinds"][_ACTS_OF]["phases"]
    text = _put_rows("act", (_act(name, act) for name, act in acts.items() if act["sent"]), text)
    return above + heading + text


def _circumstances(results: Mapping[str, Any]) -> str:
    return f"RabbitMQ {results['versions']['rabbitmq']}, {round(results['seconds'] / 60)} min"


def _sums(results: Mapping[str, Any]) -> dict[str, str]:
    """The rows of the first table."""
    first = results["first_2xx_after_broker_s"]
    counts = {
        "sent": results["sent"],
        "acknowledged": results["acked"],
        "delivered": results["delivered"],
        "dead letters": results["dead_lettered"],
        "**lost**": results["lost"],
        "**false 2xx**": results["false_2xx"],
        "refused, all of them 503 with `Retry-After`": results["refused"],
        "no answer (the ingest was killed)": sum(results["unknown"].values()),
        "no answer during SIGTERM": results["unanswered_on_sigterm"],
        "duplicates": results["duplicates"],
    }
    return {label: f"{count:,}" for label, count in counts.items()} | {
        "SIGKILLs of broker / ingest / worker": _kills(results),
        "first 2xx after the broker is back, p50 / max": f"{first['p50']:.2f} / {first['max']:.2f} s of {len(first['samples'])}",
    }


def _kind(name: str, one: Mapping[str, Any]) -> list[str]:
    clean = f"{one['lost']}, {one['false_2xx']}" + (f", overtaken {one['overtaken']}" if "overtaken" in one else "")
    counts = [f"{one[key]:,}" for key in ("sent", "acked", "delivered", "dead_lettered")]
    return [f"`{name}`", *counts, clean, f"{one['duplicates']:,}", _kills(one)]


def _act(name: str, act: Mapping[str, Any]) -> list[str]:
    refused = f"{sum(act['refused'].values()):,}"
    if act["refused"]:
        refused += f" ({', '.join(sorted(act['refused'], key=act['refused'].get, reverse=True))})"
    unknown = sum(act["unknown"].values())
    return [name, f"{act['sent']:,}", f"{act['acked']:,}", refused, f"{unknown:,}", f"{act['duplicates']:,}"]


def _kills(one: Mapping[str, Any]) -> str:
    return " / ".join(str(one["kills"].get(part, 0)) for part in ("broker", "ingest", "worker"))


def _put_rows(head: str, rows: Iterable[list[str]], text: str) -> str:
    """Exchange the rows of the table whose first column has this head."""
    lines = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return _put(rf"(?m)^(\| {head} \|.*\n\|[-|]+\n)(?:\|.*\n)+", rf"\1{lines}", text)


def _put(pattern: str, replacement: str, text: str) -> str:
    changed, times = re.subn(pattern, replacement, text)
    if times != 1:
        raise ValueError(f"{FILE} has {times} places like {pattern!r}, not one")
    return changed


if __name__ == "__main__":
    FILE.write_text(page(FILE.read_text("utf-8"), json.loads(RESULTS.read_text())), "utf-8")
