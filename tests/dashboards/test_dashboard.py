"""The dashboard of a source: every panel can have something to show, and is red where an alert is."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from forebay.manifest import read_source
from forebay.source import WebhookSource
from forebay_operator.desired import Platform
from forebay_operator.desired.dashboard import dashboard, objects
from forebay_operator.desired.prometheus_rule import NEARLY_FULL, alerts
from forebay_operator.options import options
from tests.support.dashboards import Dashboard, expressions, faults, pictures
from tests.support.promtool import said
from tests.support.sources import manifest


def source(namespace: str = "payments", name: str = "github", **monitoring: Any) -> WebhookSource:
    return read_source(
        manifest(metadata={"name": name, "namespace": namespace}, spec__monitoring={"dashboard": {}, **monitoring})
    )


def paced(**worker: Any) -> Dashboard:
    """The dashboard of a source that asks for this of its deliveries."""
    asked = {f"spec__worker__{name}": value for name, value in worker.items()}
    return dashboard(read_source(manifest(spec__monitoring={"dashboard": {}}, **asked)))


KEY = {"header": "X-Shop"}
WHOLE = dashboard(source())
ORDERED = paced(circuitBreaker={}, rateLimit={"requests": 5}, maxInFlight=3, ordering=KEY)
FAIR = paced(fairness=KEY)


# With everything that adds a panel.
RICH = dashboard(
    read_source(
        manifest(
            spec__monitoring={"dashboard": {}, "alerts": {"silence": "1h"}},
            spec__ingest__deduplication={"maxIds": 9000},
            spec__ingest__outageBuffer={},
            spec__storage={"provider": "S3", "bucket": "webhooks"},
        )
    )
)
OF_DUPLICATES = {"Duplicates", "Share of duplicates", "Remembered", "Stream of what was seen"}
OF_OUTAGES = {"Kept while the broker is away", "How full", "Oldest in the buffer", "Into the buffer and out of it"}


@pytest.mark.parametrize("whole", [WHOLE, RICH, ORDERED, FAIR], ids=["plain", "rich", "ordered", "fair"])
def test_nothing_is_wrong_with_it(whole: Dashboard) -> None:
    assert faults(whole) == []


def test_what_paces_deliveries_has_panels_where_a_source_asks_for_it() -> None:
    def shown(whole: Dashboard) -> set[str]:
        return {panel["title"] for panel in whole["panels"]}

    every = {"Paced", "Workers that hold", "Wait for a permit", "Keys that wait", "Put aside"}
    assert not shown(WHOLE) & every
    assert shown(ORDERED) & every == every - {"Put aside"}
    assert shown(FAIR) & every == {"Paced", "Workers that hold", "Put aside"}
    assert shown(paced(maxInFlight=3)) & every == {"Paced", "Workers that hold", "Wait for a permit"}


def test_what_holds_leads_to_the_runbooks_of_its_alerts() -> None:
    links = {panel["title"]: [link["title"] for link in panel.get("links", ())] for panel in ORDERED["panels"]}
    assert (links["Workers that hold"], links["Keys that wait"]) == (["ForebayBreakerOpen"], ["ForebayKeysHeld"])


def test_a_limit_of_one_queue_counts_too() -> None:
    slow = manifest(
        spec__monitoring={"dashboard": {}},
        spec__queues=[{"name": "slow", "match": {"eventTypes": ["a"]}, "maxInFlight": 2}],
    )
    assert "Wait for a permit" in {panel["title"] for panel in dashboard(read_source(slow))["panels"]}


def test_prometheus_takes_every_expression(promtool: Path, tmp_path: Path) -> None:
    asked = [expression for whole in (RICH, ORDERED, FAIR) for expression in expressions(whole)]
    rules = [{"record": f"forebay:asked:{number}", "expr": expression} for number, expression in enumerate(asked)]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))
    assert f"SUCCESS: {len(asked)} rules found" in said(promtool, "check", "rules", "rules.yaml", where=tmp_path)


def test_prometheus_refuses_an_expression_that_is_none(promtool: Path, tmp_path: Path) -> None:
    rules = [{"record": "forebay:asked", "expr": "sum by queue (rate(forebay_retries_total))"}]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))
    with pytest.raises(AssertionError, match="parse error"):
        said(promtool, "check", "rules", "rules.yaml", where=tmp_path)


def _set(*path: str | int, to: Any) -> Callable[[Dashboard], None]:
    def change(whole: Dashboard) -> None:
        place: Any = whole
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


def _expr(expression: str) -> Callable[[Dashboard], None]:
    return _set("panels", 1, "targets", 0, "expr", to=expression)


OURS = '{namespace="payments",source="github"}'
SABOTAGE: dict[str, Callable[[Dashboard], None]] = {
    "uid of 41": _set("uid", to="u" * 41),
    "schemaVersion": _set("schemaVersion", to=16),
    "one id": _set("panels", 2, "id", to=2),
    "no variable": _set("templating", "list", to=[]),
    "beyond the grid": _set("panels", 6, "gridPos", "w", to=9),
    "overlap": _set("panels", 1, "gridPos", "w", to=5),
    "no description": _set("panels", 1, "description", to=""),
    "no unit": _set("panels", 1, "fieldConfig", "defaults", "unit", to="webhooks"),
    "a data source of its own": _set("panels", 1, "datasource", "uid", to="prometheus"),
    "asks for nothing": _set("panels", 1, "targets", to=[]),
    "one letter": _set("panels", 8, "targets", 1, "refId", to="A"),
    "which the expression drops": _set("panels", 1, "targets", 0, "legendFormat", to="{{queue}}"),
    "no page in docs/runbooks": _set("panels", 2, "links", 0, "url", to="https://example.com/ForebayNothing.md"),
    "is no metric": _expr(f"sum(forebay_ingest_accepted{OURS})"),
    "has no label": _expr(f'sum({"forebay_ingest_accepted_total"}{OURS[:-1]},status="200"}})'),
    "no metric has the label": _expr(f"sum by (pod) (forebay_ingest_accepted_total{OURS})"),
    "not this source's alone": _expr("sum(forebay_ingest_accepted_total)"),
}


@pytest.mark.parametrize("fault", SABOTAGE)
def test_what_is_wrong_is_found(fault: str) -> None:
    whole = deepcopy(WHOLE)
    SABOTAGE[fault](whole)
    assert any(fault in found for found in faults(whole)), faults(whole)


def test_a_panel_is_red_where_its_alert_begins() -> None:
    other = source(alerts={"refusedPercent": 30, "deadLetters": 70, "oldestAge": "20m"})
    limits = {alert.name: alert.when for alert in alerts(other)}
    red = [panel for panel in pictures(dashboard(other)) if "thresholds" in panel["fieldConfig"]["defaults"]]
    assert len(red) == 8
    for panel in red:
        limit = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"]
        assert panel["links"]
        for link in panel["links"]:
            begins = re.search(r"(?:>|>=) ([\d.]+)$", limits[link["title"]])
            assert begins
            assert float(begins[1]) in (limit, 0), link["title"]  # 0: grows at all
        assert float(re.findall(r"[\d.]+$", limits[panel["links"][0]["title"]])[0]) == limit


def test_every_alert_of_a_source_has_a_panel() -> None:
    silent = source(alerts={"silence": "1h"})
    linked = {link["title"] for panel in pictures(dashboard(silent)) for link in panel["links"]}
    assert linked == {alert.name for alert in alerts(silent)}


def test_who_drops_duplicates_sees_how_many_and_how_full_the_memory_is() -> None:
    added = {panel["title"] for panel in pictures(RICH)} - {panel["title"] for panel in pictures(WHOLE)}
    assert added == OF_DUPLICATES | OF_OUTAGES
    linked = {link["title"] for panel in pictures(RICH) for link in panel["links"]}
    assert {"ForebaySeenNotShared", "ForebaySeenCutShort"} <= linked
    (remembered,) = (panel for panel in pictures(RICH) if panel["title"] == "Remembered")
    assert remembered["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"] == 9000


def test_an_outage_buffer_is_red_where_somebody_is_called() -> None:
    panels = {panel["title"]: panel for panel in pictures(RICH)}
    linked = {link["title"] for title in OF_OUTAGES for link in panels[title]["links"]}
    assert linked == {"ForebayOutageBufferFilling", "ForebayOutageBufferNotEmptied"}
    assert panels["How full"]["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"] == NEARLY_FULL


def test_runbooks_of_ones_own_are_led_to() -> None:
    own = dashboard(source(alerts={"runbookUrl": "https://wiki.example.com/forebay/"}))
    links = [link["url"] for part in (own, *pictures(own)) for link in part["links"]]
    assert links[0] == "https://wiki.example.com/forebay/"
    assert "https://wiki.example.com/forebay/ForebayDeadLetters" in links


def test_two_sources_have_two_dashboards_and_one_always_the_same() -> None:
    pairs = [("a", "b-c"), ("a-b", "c"), ("a", "b")]
    made = [objects(source(*pair), Platform())[0] for pair in pairs]
    assert len({json.loads(next(iter(one["data"].values())))["uid"] for one in made}) == len(pairs)
    assert len({next(iter(one["data"])) for one in made}) == len(pairs)  # the sidecar's files
    assert dashboard(source())["uid"] == WHOLE["uid"]


def test_it_is_small_even_where_names_are_longest() -> None:
    for one, most in ((source(), 20_500), (source("n" * 63, "s" * 40), 25_000)):
        (config,) = objects(one, Platform())
        assert len(json.dumps(config)) < most * 1.15  # with the quotes escaped, as it travels
        assert len(next(iter(config["data"].values()))) < most


def test_only_who_asks_gets_one() -> None:
    assert not objects(read_source(manifest()), Platform())
    assert not objects(source(dashboard={"state": "Disabled"}), Platform())


def test_the_sidecar_finds_it_as_the_platform_says() -> None:
    flags = ["--dashboard-label", "dashboards=team", "--dashboard-folder-annotation", "example.com/folder"]
    (config,) = objects(source(dashboard={"folder": "Web hooks"}), options(flags, {}).platform)
    assert config["metadata"]["labels"]["dashboards"] == "team"
    assert config["metadata"]["annotations"] == {"example.com/folder": "Web hooks"}
    (config,) = objects(source(), options([], {}).platform)
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert "annotations" not in config["metadata"]


def test_a_label_without_a_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options([], {"FOREBAY_OPERATOR_DASHBOARD_LABEL": "grafana_dashboard"})
    assert "FOREBAY_OPERATOR_DASHBOARD_LABEL: 'grafana_dashboard' is not KEY=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["/etc", "../etc", "a/../../b", ".hidden"])
def test_a_folder_that_leads_elsewhere_is_refused(folder: str) -> None:
    with pytest.raises(Exception, match=r"spec\.monitoring\.dashboard\.folder"):
        source(dashboard={"folder": folder})
