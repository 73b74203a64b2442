"""What a source is doing, on one page of Grafana: a ConfigMap with a dashboard, as Grafana's sidecar looks for them.

Only for a source that asks for it. From top to bottom as a webhook goes: received, queued, delivered, given up; the broker
last. A red line is where an alert begins, and the panel leads to that alert's runbook.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

from forebay.source import WebhookSource
from forebay_operator.desired.metadata import Object, dashboard_name, metadata
from forebay_operator.desired.panels import Panel, Row, rows
from forebay_operator.desired.platform import Platform
from forebay_operator.desired.prometheus_rule import runbook_url, series

SCHEMA = 39  # of Grafana 10.4; newer ones read it as it is
WIDTH = 24  # of Grafana's grid
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_HEIGHTS = {"stat": 4, "timeseries": 8, "state-timeline": 8}


def objects(source: WebhookSource, platform: Platform) -> list[Object]:
    wanted = source.spec.monitoring.dashboard
    if wanted is None or wanted.state == "Disabled":
        return []
    own = metadata(source, dashboard_name(source))
    own["labels"] = {**own["labels"], platform.dashboard_label: platform.dashboard_label_value}
    if wanted.folder:
        own["annotations"] = {platform.dashboard_folder_annotation: wanted.folder}
    # The sidecar puts the files of all namespaces into one folder.
    file = f"forebay.{source.namespace}.{source.name}.json"
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": own, "data": {file: _text(dashboard(source))}}]


def dashboard(source: WebhookSource) -> Object:
    """The dashboard, as Grafana reads it."""
    firing = series(source, "ALERTS", 'alertstate="firing"')
    return {
        "uid": _uid(source),
        "title": f"Forebay / {source.namespace} / {source.name}",
        "description": f"From top to bottom as a webhook of {source.key} goes. A red line is where an alert begins.",
        "tags": ["forebay"],
        "schemaVersion": SCHEMA,
        "editable": False,
        "graphTooltip": 1,  # the cursor is in all panels
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "annotations": {
            "list": [
                {
                    "name": "Alerts",
                    "datasource": DATASOURCE,
                    "enable": True,
                    "iconColor": "red",
                    "expr": firing,
                    "titleFormat": "{{alertname}}",
                    "step": "60s",
                }
            ]
        },
        "links": [{**_link("Runbooks", runbook_url(source)), "type": "link"}],
        "panels": list(_placed(source, rows(source))),
    }


def _uid(source: WebhookSource) -> str:
    """The same for the same source, so that links to it last; Grafana takes up to 40 characters."""
    return f"forebay-{hashlib.sha256(source.key.encode()).hexdigest()[:24]}"


def _text(whole: Object) -> str:
    """As JSON with a line for each panel: short, and a diff still tells which one is another."""
    panels = ",\n".join(json.dumps(panel, separators=(",", ":")) for panel in whole["panels"])
    rest = json.dumps({name: value for name, value in whole.items() if name != "panels"}, separators=(",", ":"))
    return f'{rest[:-1]},"panels":[\n{panels}\n]}}\n'


# ---------------------------------------------------------------------------------------------------------- as Grafana has it


def _placed(source: WebhookSource, rows: Sequence[Row]) -> Iterator[Object]:
    """Every panel with its number and place; a row's panels share its width."""
    number, top = 1, 0
    for row in rows:
        place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        number, top = number + 1, top + 1
        width, height = WIDTH // len(row.panels), _HEIGHTS[row.panels[0].kind]
        for column, panel in enumerate(row.panels):
            place = {"x": column * width, "y": top, "w": width, "h": height}
            yield {"id": number, **_panel(source, panel), "gridPos": place}
            number += 1
        top += height


def _panel(source: WebhookSource, panel: Panel) -> Object:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": [
            {"refId": chr(ord("A") + index), "expr": expression, "legendFormat": legend}
            for index, (legend, expression) in enumerate(panel.lines.items())
        ],
        "links": [_link(alert, runbook_url(source, alert)) for alert in panel.alerts],
    }


_OPTIONS: dict[str, Object] = {
    "timeseries": {"tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": {"graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}},
    "state-timeline": {"mergeValues": True, "showValue": "never"},
}
_YES_OR_NO = [
    {"type": "value", "options": {"0": {"text": "no", "color": "red"}, "1": {"text": "yes", "color": "green"}}}
]


def _field(panel: Panel) -> Object:
    if panel.kind == "state-timeline":
        return {"unit": panel.unit, "mappings": _YES_OR_NO, "custom": {"fillOpacity": 70}}
    field: Object = {"unit": panel.unit, "min": 0}
    if panel.limit is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.limit}]
        field["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.kind == "timeseries":
        field["custom"] = {"fillOpacity": 10, "showPoints": "never", **_drawing(panel)}
    return field


def _drawing(panel: Panel) -> Object:
    line = {} if panel.limit is None else {"thresholdsStyle": {"mode": "line"}}
    return {**line, "stacking": {"mode": "normal"}} if panel.stacked else line


def _link(title: str, url: str) -> Object:
    return {"title": title, "url": url, "targetBlank": True}
