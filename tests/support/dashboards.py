"""What can be wrong with a dashboard without Grafana's saying so: it shows an empty panel and no error."""

import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TREE = Path(__file__).resolve().parents[2]
RUNBOOKS = TREE / "docs" / "runbooks"
UNITS = {"reqps", "ops", "percentunit", "short", "bytes", "s", "none"}
FOREIGN = {"ALERTS": {"alertname", "alertstate", "namespace", "source"}}  # Prometheus' own series
EACH = {"namespace", "source"}

Dashboard = dict[str, Any]


def metrics() -> dict[str, set[str]]:
    """Every series that Prometheus gets of a source, with its labels; from the reference, which is that of the parts."""
    text = (TREE / "docs/reference/metrics.md").read_text("utf-8")
    found: dict[str, set[str]] = dict(FOREIGN)
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", text, re.MULTILINE):
        own = set(re.findall(r"`(\w+)`", labels))
        if kind == "histogram":
            found |= {f"{name}_bucket": own | {"le"}, f"{name}_sum": own, f"{name}_count": own}
        else:
            found[name] = own
    return found


def pictures(dashboard: Dashboard) -> list[dict[str, Any]]:
    """The panels that show something; the others are headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard: Dashboard) -> list[str]:
    """All that Prometheus is asked, with a range in place of the one that Grafana chooses."""
    asked = [target["expr"] for panel in pictures(dashboard) for target in panel["targets"]]
    asked += [note["expr"] for note in dashboard["annotations"]["list"]]
    return [expression.replace("$__rate_interval", "5m") for expression in asked]


def faults(dashboard: Dashboard) -> list[str]:
    """Everything that is wrong, in words."""
    found = [*_whole(dashboard), *_grid(dashboard["panels"])]
    for panel in pictures(dashboard):
        found += [f"{panel['title']}: {fault}" for fault in (*_panel(panel), *_links(panel))]
    for expression in expressions(dashboard):
        found += _expression(expression)
    return found


def _whole(dashboard: Dashboard) -> Iterator[str]:
    if not 0 < len(dashboard["uid"]) <= 40:
        yield f"uid of {len(dashboard['uid'])} characters"
    if dashboard["schemaVersion"] < 36:
        yield "no schemaVersion of a Grafana that is still maintained"
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(set(ids)) != len(ids):
        yield "two panels have one id"
    if not any(variable["type"] == "datasource" for variable in dashboard["templating"]["list"]):
        yield "no variable for the data source"


def _grid(panels: list[dict[str, Any]]) -> Iterator[str]:
    for panel in panels:
        place = panel["gridPos"]
        if place["x"] < 0 or place["x"] + place["w"] > 24:
            yield f"{panel['title']}: beyond the grid"
    for one, other in combinations(panels, 2):
        a, b = one["gridPos"], other["gridPos"]
        if all(a[at] < b[at] + b[size] and b[at] < a[at] + a[size] for at, size in (("x", "w"), ("y", "h"))):
            yield f"{one['title']} and {other['title']} overlap"


def _panel(panel: dict[str, Any]) -> Iterator[str]:
    if len(panel.get("description", "")) < 20:
        yield "no description"
    if panel["fieldConfig"]["defaults"].get("unit") not in UNITS:
        yield "no unit, or an unknown one"
    if panel["datasource"]["uid"] != "${datasource}":
        yield "a data source of its own"
    if not panel["targets"]:
        yield "asks for nothing"
    if len({target["refId"] for target in panel["targets"]}) != len(panel["targets"]):
        yield "two queries have one letter"
    for target in panel["targets"]:
        grouped = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", target["expr"]))))
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            if label not in grouped:
                yield f"the legend names {label}, which the expression drops"


def _links(panel: dict[str, Any]) -> Iterator[str]:
    for link in panel.get("links", ()):
        page = Path(urlsplit(link["url"]).path).name
        if page != f"{link['title']}.md" or not (RUNBOOKS / page).exists():
            yield f"leads to {page}, which is no page in docs/runbooks"


def _expression(expression: str) -> Iterator[str]:
    """Names of metrics and labels; whether it is PromQL at all is promtool's to say."""
    known = metrics()
    quoted = re.sub(r'"[^"]*"', '""', expression)
    named = re.findall(r"(\w+)\{([^}]*)\}", quoted)
    labels: set[str] = set()
    for name, matchers in named:
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        if name not in known:
            yield f"{name} is no metric: {expression}"
            continue
        labels |= known[name]
        if not used >= EACH:
            yield f"{name} is not this source's alone: {expression}"
        if used - known[name]:
            yield f"{name} has no label {', '.join(sorted(used - known[name]))}: {expression}"
    for label in re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", quoted))):
        if label not in labels:
            yield f"no metric has the label {label}: {expression}"
    if bare := set(re.findall(r"\bforebay_\w+", quoted)) - {name for name, _ in named}:
        yield f"{', '.join(sorted(bare))} is not this source's alone: {expression}"
