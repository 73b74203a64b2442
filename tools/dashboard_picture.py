"""Draws a source's dashboard as Grafana would lay it out: its own JSON, and what Prometheus answered to each expression.

    python -m tools.dashboard_picture RECORDING.json > docs/how-to/dashboard.svg

The recording is that of tools.dashboard_recording. It draws what the dashboard says (places, titles, units, limits, stacking),
and is no Grafana: colours and fonts are its own.
"""

import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

COLUMN, UNIT, GAP = 60, 32, 6  # pixels of a column, of a unit of height, between panels
HEAD = 44  # above the panels
COLOURS = ("#3274d9", "#e0752d", "#56a64b", "#a352cc", "#e5b000", "#1f9ea8", "#c4162a", "#7d64c8", "#8ab8ff", "#ff9830")
RED, GREEN, GREY, TEXT = "#d0021b", "#3b8b3f", "#d5d8dd", "#33373d"
STYLE = (
    "text{font:11px Inter,Helvetica,Arial,sans-serif;fill:#33373d}.t{font-weight:600;font-size:12px}"
    ".h{font-weight:600;font-size:14px}.big{font-size:30px;font-weight:600}.dim{fill:#7b8087;font-size:10px}"
)

Panel = dict[str, Any]
Values = dict[float, float]  # by second since the recording began


class Line(NamedTuple):
    """One series, with its name in the legend."""

    name: str
    values: Values


class Box(NamedTuple):
    """Where something is drawn, in pixels."""

    x: float
    y: float
    w: float
    h: float


class Scale(NamedTuple):
    """From seconds and values to pixels."""

    box: Box
    seconds: float
    top: float

    def x(self, second: float) -> float:
        return self.box.x + self.box.w * second / self.seconds

    def y(self, value: float) -> float:
        return self.box.y + self.box.h * (1 - value / self.top)


class Recording:
    """What Prometheus answered."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.dashboard: dict[str, Any] = data["dashboard"]
        began, ended, step = map(float, data["range"])
        self.seconds, self.step = ended - began, step
        self._began, self._series = began, data["series"]

    def lines(self, panel: Panel) -> list[Line]:
        return [
            Line(_legend(target["legendFormat"], series["metric"]), self._values(series))
            for target in panel["targets"]
            for series in self._series[target["expr"]]
        ]

    def alerts(self) -> list[Line]:
        (note,) = self.dashboard["annotations"]["list"]
        return [Line(series["metric"]["alertname"], self._values(series)) for series in self._series[note["expr"]]]

    def at(self, box: Box, second: float) -> float:
        """Where a moment is in a box, in pixels."""
        return box.x + box.w * min(second / self.seconds, 1.0)

    def _values(self, series: dict[str, Any]) -> Values:
        found = ((float(at) - self._began, float(value)) for at, value in series["values"])
        return {at: value for at, value in found if math.isfinite(value)}


def _legend(form: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), form)


# ---------------------------------------------------------------------------------------------------------- the page


def picture(recording: Recording) -> str:
    """The SVG."""
    panels = recording.dashboard["panels"]
    width = 24 * COLUMN + GAP
    height = HEAD + UNIT * max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(recording.dashboard['title'])}</title><style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#f4f5f5"/>',
        _text(12, 27, recording.dashboard["title"], "h"),
    ]
    for panel in panels:
        parts += _panel(recording, panel)
    return "\n".join([*parts, "</svg>", ""])


def _panel(recording: Recording, panel: Panel) -> Iterator[str]:
    place = panel["gridPos"]
    box = Box(GAP + COLUMN * place["x"], HEAD + UNIT * place["y"], COLUMN * place["w"] - GAP, UNIT * place["h"] - GAP)
    if panel["type"] == "row":
        yield _text(box.x + 6, box.y + 18, f"⌄ {panel['title']}", "h")
        return
    yield f'<rect x="{box.x}" y="{box.y}" width="{box.w}" height="{box.h}" rx="3" fill="#fff" stroke="{GREY}"/>'
    yield _text(box.x + 10, box.y + 18, panel["title"], "t")
    inner = Box(box.x + 52, box.y + 30, box.w - 66, box.h - 76)
    lines = recording.lines(panel)
    match panel["type"]:
        case "stat":
            yield from _stat(recording, panel, box, lines)
        case "state-timeline":
            yield from _states(recording, inner, lines)
        case _:
            yield from _chart(recording, panel, inner, lines)


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start", *, colour: str = "") -> str:
    where = f' text-anchor="{anchor}"' if anchor != "start" else ""
    fill = f' style="fill:{colour}"' if colour else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{style}"{where}{fill}>{escape(text)}</text>'


# ---------------------------------------------------------------------------------------------------------- kinds of panels


def _stat(recording: Recording, panel: Panel, box: Box, lines: Sequence[Line]) -> Iterator[str]:
    if not lines or not lines[0].values:
        yield _text(box.x + box.w / 2, box.y + 66, "no data", "dim", "middle")
        return
    values = lines[0].values
    last, limit = values[max(values)], _limit(panel)
    colour = RED if limit is not None and last >= limit else GREEN
    scale = Scale(Box(box.x + 1, box.y + 72, box.w - 2, box.h - 74), recording.seconds, max(*values.values(), 1e-9))
    yield _area(scale, values, {}, colour)
    yield _text(
        box.x + box.w / 2,
        box.y + 58,
        _said(last, panel["fieldConfig"]["defaults"]["unit"]),
        "big",
        "middle",
        colour=colour,
    )


def _states(recording: Recording, box: Box, lines: Sequence[Line]) -> Iterator[str]:
    yield from _time(recording, box)
    height = box.h / max(1, len(lines))
    for number, line in enumerate(lines):
        top = box.y + number * height + 14
        yield _text(box.x, top - 4, line.name)
        for value, began, ended in _runs(line.values, recording.step):
            x, end = recording.at(box, began), recording.at(box, ended)
            colour = GREEN if value else RED
            yield f'<rect x="{x:.1f}" y="{top:.0f}" width="{end - x:.1f}" height="{height - 26:.0f}" fill="{colour}" fill-opacity=".7"/>'
    for index, (name, colour) in enumerate((("yes", GREEN), ("no", RED))):
        yield from _key(box.x + 50 * index, box.y + box.h + 34, name, colour)


def _chart(recording: Recording, panel: Panel, box: Box, lines: Sequence[Line]) -> Iterator[str]:
    field = panel["fieldConfig"]["defaults"]
    stacked, limit = "stacking" in field["custom"], _limit(panel)
    scale = Scale(box, recording.seconds, _top(lines, stacked, limit))
    for value in _ticks(scale.top):
        y = scale.y(value)
        yield f'<path d="M{box.x} {y:.1f}h{box.w}" stroke="#eceef0"/>'
        yield _text(box.x - 6, y + 4, _said(value, field["unit"]), "dim", "end")
    yield from _time(recording, box)
    below: Values = {}
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        drawn = {at: value + below.get(at, 0.0) for at, value in line.values.items()} if stacked else line.values
        yield _area(scale, drawn, below if stacked else None, colour)
        below = {**below, **drawn}
    if limit is not None:
        yield f'<path d="M{box.x} {scale.y(limit):.1f}h{box.w}" stroke="{RED}" stroke-dasharray="6 4"/>'
    yield from _alerts(recording, panel, box)
    yield from _keys(box, lines) if lines else [_text(box.x + box.w / 2, box.y + box.h / 2, "none", "dim", "middle")]


def _area(scale: Scale, values: Values, below: Values | None, colour: str) -> str:
    """A line, with a shade down to what is below it; a gap in the values is a gap in both."""
    paths = []
    for part in _parts(sorted(values)):
        upper = _points(scale, [(at, values[at]) for at in part])
        if below is not None:
            lower = _points(scale, [(at, below.get(at, 0.0)) for at in reversed(part)])
            paths.append(f'<path d="M{upper}L{lower}z" fill="{colour}" fill-opacity=".2"/>')
        paths.append(f'<path d="M{upper}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
    return "".join(paths)


def _points(scale: Scale, points: Sequence[tuple[float, float]]) -> str:
    """Whole pixels; of a level stretch the ends."""
    there = [(round(scale.x(at)), round(scale.y(value))) for at, value in points]
    kept = [
        here
        for before, here, after in zip([None, *there], there, [*there[1:], None], strict=False)
        if before is None or after is None or not before[1] == here[1] == after[1]
    ]
    return " ".join(f"{x},{y}" for x, y in kept)


def _alerts(recording: Recording, panel: Panel, box: Box) -> Iterator[str]:
    """When the alerts fired that this panel leads to; each is named where it fired first."""
    own = {link["title"] for link in panel["links"]}
    for line in recording.alerts():
        if line.name not in own:
            continue
        runs = [
            (recording.at(box, began), recording.at(box, ended))
            for _, began, ended in _runs(line.values, recording.step)
        ]
        for x, end in runs:
            yield f'<rect x="{x:.1f}" y="{box.y}" width="{end - x:.1f}" height="{box.h:.0f}" fill="{RED}" fill-opacity=".06"/>'
            yield f'<path d="M{x:.1f} {box.y}v{box.h:.0f}" stroke="{RED}" stroke-dasharray="2 3"/>'
        for x, _ in runs[:1]:
            fits = x + 6 * len(line.name) < box.x + box.w
            yield _text(x + (3 if fits else -3), box.y + 9, line.name, "dim", "start" if fits else "end", colour=RED)


def _time(recording: Recording, box: Box) -> Iterator[str]:
    for minute in range(0, int(recording.seconds / 60) + 1, 3):
        x = recording.at(box, minute * 60)
        yield _text(x, box.y + box.h + 15, f"{minute} min", "dim", "middle")


def _keys(box: Box, lines: Sequence[Line]) -> Iterator[str]:
    x = box.x - 36
    for number, line in enumerate(lines):
        yield from _key(x, box.y + box.h + 34, line.name, COLOURS[number % len(COLOURS)])
        x += 24 + 6 * len(line.name)


def _key(x: float, y: float, name: str, colour: str) -> Iterator[str]:
    yield f'<path d="M{x:.0f} {y - 4:.0f}h10" stroke="{colour}" stroke-width="3"/>'
    yield _text(x + 14, y, name)


# ---------------------------------------------------------------------------------------------------------- numbers


def _limit(panel: Panel) -> float | None:
    thresholds = panel["fieldConfig"]["defaults"].get("thresholds")
    return float(thresholds["steps"][-1]["value"]) if thresholds else None


def _top(lines: Sequence[Line], stacked: bool, limit: float | None) -> float:
    """The upper end of the axis: above all values, and above the limit."""
    if stacked:
        sums: Values = {}
        for line in lines:
            for at, value in line.values.items():
                sums[at] = sums.get(at, 0.0) + value
        greatest = max(sums.values(), default=0.0)
    else:
        greatest = max((value for line in lines for value in line.values.values()), default=0.0)
    return (max(greatest, limit or 0.0) or 1.0) * 1.08


def _ticks(top: float) -> list[float]:
    rough = top / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [step * number for number in range(int(top / step) + 1)]


def _said(value: float, unit: str) -> str:
    match unit:
        case "percentunit":
            return f"{value * 100:.3g}%"
        case "s" if 0 < value < 1:
            return f"{value * 1000:.3g} ms"
        case "s" if value >= 120:
            return f"{value / 60:.3g} min"
        case "s":
            return f"{value:.3g} s"
        case "reqps" | "ops":
            return f"{value:.3g}/s"
        case _:
            return f"{value / 1000:.3g} K" if value >= 10_000 else f"{value:.4g}"


def _parts(times: Sequence[float]) -> Iterator[list[float]]:
    """Stretches without a gap of more than two steps."""
    part: list[float] = []
    for at in times:
        if part and at - part[-1] > 11:
            yield part
            part = []
        part.append(at)
    if part:
        yield part


def _runs(values: Values, step: float) -> Iterator[tuple[float, float, float]]:
    """Value, begin and end of each stretch of one value."""
    for part in _parts(sorted(values)):
        began = part[0]
        for at, then in zip(part, [*part[1:], None], strict=True):
            if then is None or values[then] != values[at]:
                yield values[at], began, at + step
                began = then if then is not None else at


if __name__ == "__main__":
    sys.stdout.write(picture(Recording(json.loads(Path(sys.argv[1]).read_text("utf-8")))))
