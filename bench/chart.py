"""Draws results as SVG: panels of horizontal bars, readable on light and dark pages, no library needed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LABEL, VALUE = 720, 210, 110  # px: the whole, the names' column, room behind the longest bar
BAR, GAP, TITLE, NOTE, MARGIN = 18, 6, 34, 20, 16

NAMES = {
    "forebay": "Forebay",
    "go": "Go, same work",
    "knative": "Knative ingress",
    "perf_test": "PerfTest, 4 producers",
}

_STYLE = """
text{font:13px system-ui,sans-serif;fill:#1f2328} .title{font-weight:600} .note{fill:#656d76}
rect{fill:#8c959f} rect.forebay{fill:#0969da}
@media (prefers-color-scheme:dark){text{fill:#e6edf3} .note{fill:#8d96a0} rect{fill:#6e7681} rect.forebay{fill:#4493f8}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One figure for each system."""

    title: str
    values: Mapping[str, float]  # by the system's short name
    unit: str
    digits: int = 1


def ingest(results: Mapping[str, Any], file: Path) -> None:
    medians, burst = results["medians"], results["burst"]
    systems = [name for name in medians if name != "perf_test"]

    def steady(key: str, connections: str) -> dict[str, float]:
        return {name: medians[name][connections][key] for name in systems}

    rates = {**steady("rps", "c256"), "perf_test": medians["perf_test"]["rate"]}
    panels = [
        Panel(
            title="CPU per accepted webhook, 64 connections (less is better)", values=steady("cpu_us", "c64"), unit="µs"
        ),
        Panel(
            title="CPU per accepted webhook, 256 connections (less is better)",
            values=steady("cpu_us", "c256"),
            unit="µs",
        ),
        Panel(title="Accepted per second, 256 connections (more is better)", values=rates, unit="/s", digits=0),
        Panel(title="p99, 64 connections (less is better)", values=steady("p99", "c64"), unit="ms"),
        Panel(title="p99, 256 connections (less is better)", values=steady("p99", "c256"), unit="ms"),
        Panel(
            title="p99 of a burst of 2,000 fresh connections with 5 requests each (less is better)",
            values={name: burst[name]["p99"] for name in systems},
            unit="ms",
            digits=0,
        ),
    ]
    _write(file, panels, _note(results, "1 KiB signed bodies, 2xx only after the broker's confirm"))


def worker(results: Mapping[str, Any], file: Path) -> None:
    medians = results["medians"]
    panels = [
        Panel(
            title="Deliveries per second, one process (more is better)",
            values={name: figures["rate"] for name, figures in medians.items()},
            unit="/s",
            digits=0,
        ),
        Panel(
            title="CPU per delivery (less is better)",
            values={name: figures["cpu_us"] for name, figures in medians.items()},
            unit="µs",
        ),
    ]
    what = f"backlog of {results['webhooks']:,}, {results['concurrency']} deliveries at a time, 1 KiB bodies"
    _write(file, panels, _note(results, what))


def _note(results: Mapping[str, Any], what: str) -> list[str]:
    machine, versions = results["machine"], results["versions"]
    return [what, f"Medians; RabbitMQ {versions['rabbitmq']}, one node; {machine['cores']} cores shared by all"]


def _write(file: Path, panels: Sequence[Panel], notes: Sequence[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(draw(panels, notes))


def draw(panels: Sequence[Panel], notes: Sequence[str]) -> str:
    """The SVG text. Pure."""
    parts: list[str] = []
    y = MARGIN
    for panel in panels:
        parts += _panel(panel, y)
        y += TITLE + len(panel.values) * (BAR + GAP)
    for note in notes:
        y += NOTE
        parts.append(_text(MARGIN, y, note, "note"))
    height = y + MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>\n"])


def _panel(panel: Panel, top: int) -> Iterable[str]:
    yield _text(MARGIN, top + 20, panel.title, "title")
    longest = max(panel.values.values(), default=0) or 1
    for index, (name, value) in enumerate(panel.values.items()):
        y = top + TITLE + index * (BAR + GAP)
        width = max(2, round(value / longest * (WIDTH - LABEL - VALUE)))
        yield _text(MARGIN, y + 13, NAMES.get(name, name))
        yield f'<rect class="{escape(name)}" x="{LABEL}" y="{y}" width="{width}" height="{BAR}" rx="2"/>'
        yield _text(LABEL + width + 8, y + 13, f"{value:,.{panel.digits}f} {panel.unit}")


def _text(x: int, y: int, text: str, kind: str = "name") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'
