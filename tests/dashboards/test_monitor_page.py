"""docs/how-to/monitor.md tells of the dashboard that there is, and its picture is one of it."""

import re
from pathlib import Path
from typing import Any

import yaml
from tools.dashboard_picture import Recording, picture

from forebay.manifest import read_source
from forebay_operator.desired.dashboard import dashboard
from forebay_operator.desired.panels import rows
from tests.support.dashboards import pictures
from tests.support.sources import manifest

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PAGE = (HOW_TO / "monitor.md").read_text("utf-8")
SOURCE = read_source(manifest(spec__monitoring={"dashboard": {}}))


def test_the_page_has_every_row() -> None:
    table = re.findall(r"^\| ([^|]+) \| [^|]+\? \|", PAGE, re.MULTILINE)
    assert table == [row.title for row in rows(SOURCE)]


def test_the_source_on_the_page_is_one() -> None:
    text = re.findall(r"```yaml\n(apiVersion: .*?)```", PAGE, re.DOTALL)[0]
    monitoring = read_source(yaml.safe_load(text)).spec.monitoring
    assert monitoring.dashboard
    assert monitoring.dashboard.folder == "Webhooks"


def test_the_picture_shows_every_panel_and_is_small() -> None:
    svg = (HOW_TO / "dashboard.svg").read_text("utf-8")
    assert len(svg) < 300_000
    for panel in pictures(dashboard(SOURCE)):
        assert f">{panel['title']}</text>" in svg, "record and draw it anew: see docs/how-to/monitor.md"


def recorded(values: list[tuple[float, str]]) -> dict[str, Any]:
    """A recording in which every expression has one series of these values."""
    whole = dashboard(SOURCE)
    labels = {"status": "503", "queue": "default", "cause": "down", "outcome": "refused", "reason": "gone"}
    series = [{"metric": {**labels, "alertname": "ForebayDeadLetters"}, "values": values}]
    asked = [target["expr"] for panel in pictures(whole) for target in panel["targets"]]
    asked += [note["expr"] for note in whole["annotations"]["list"]]
    return {"dashboard": whole, "range": [1000.0, 1060.0, 5], "series": dict.fromkeys(asked, series)}


def test_a_value_is_drawn_at_its_height_and_a_gap_as_a_gap() -> None:
    svg = picture(Recording(recorded([(1000.0, "0"), (1005.0, "80"), (1040.0, "80"), (1045.0, "NaN"), (1060.0, "2")])))
    after = svg[svg.index(">Waiting, by queue</text>") :]
    lines = re.findall(r'<path d="M([\d, ]+)" fill="none"', after)
    assert len(lines[:3]) == 3  # before the gap, the lonely one in it, the last
    (_, bottom), (_, top) = (map(int, point.split(",")) for point in lines[0].split(" "))
    assert bottom - top > 100
    assert ">503</text>" in svg
    assert ">ForebayDeadLetters</text>" in svg


def test_nothing_seen_is_said_and_no_fault() -> None:
    empty = recorded([])
    empty["series"] = {expression: [] for expression in empty["series"]}
    assert ">no data</text>" in picture(Recording(empty))
