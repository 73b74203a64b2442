"""Each alert fires when it should and not otherwise, as Prometheus' own promtool sees it, in its old and its new release."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from forebay.manifest import read_source
from forebay_operator.desired import Platform
from forebay_operator.desired.platform import PROMETHEUS_RULE
from forebay_operator.desired.prometheus_rule import alerts, objects
from tests.support.promtool import said
from tests.support.sources import manifest

TREE = Path(__file__).resolve().parents[2]
SOURCE = read_source(
    manifest(
        metadata__namespace="payments",
        spec__monitoring={"alerts": {"silence": "1h"}},
        spec__worker__circuitBreaker={},
        spec__worker__ordering={"header": "X-Shop", "afterDeadLetter": "Hold"},
        spec__ingest__deduplication={},
        spec__ingest__outageBuffer={},
        spec__storage={"provider": "File", "bucket": "/b"},
    )
)
OURS = 'namespace="payments",source="github"'

# alert → (series while all is well, series when it is to fire); each a sample a minute. All other alerts may do as they like.
Series = dict[str, str]
UP = {f"forebay_ingest_broker_up{{{OURS}}}": "1x120"}
ACCEPTED = f'forebay_ingest_accepted_total{{{OURS},queue="default"}}'
DEAD = f"forebay_dead_letter_queue_messages{{{OURS}}}"


def refused(status: int, cause: str) -> str:
    return f'forebay_ingest_refused_total{{{OURS},cause="{cause}",status="{status}"}}'


def confirmed(fast: str, slow: str) -> Series:
    name = "forebay_ingest_confirm_seconds_bucket"
    return {f'{name}{{{OURS},le="{le}"}}': values for le, values in (("0.1", fast), ("5", slow), ("+Inf", slow))}


def buffered(**values: str) -> Series:
    return {f"forebay_outage_buffer_{name}{{{OURS}}}": value for name, value in values.items()}


CASES: dict[str, tuple[Series, Series]] = {
    "ForebayIngestUnavailable": (UP, {"up": "1x120"}),
    "ForebayBrokerUnreachable": (UP, {f"forebay_ingest_broker_up{{{OURS}}}": "0x120"}),
    "ForebayBrokerBlocked": (
        {f"forebay_ingest_broker_blocked{{{OURS}}}": "0x120"},
        {f"forebay_ingest_broker_blocked{{{OURS}}}": "1x120"},
    ),
    "ForebayConfirmSlow": (confirmed("0+100x120", "0+100x120"), confirmed("0+10x120", "0+100x120")),
    # A single one is seen, and a suspended source is no failing one.
    "ForebayIngestFailing": ({refused(503, "suspended"): "0+9x120"}, {refused(503, "down"): "0x117 1x3"}),
    "ForebayWebhooksRefused": (
        {ACCEPTED: "0+100x120", refused(404, "not-found"): "0+1x120"},
        {ACCEPTED: "0+100x120", refused(404, "not-found"): "0+10x120"},
    ),
    "ForebaySignaturesRefused": (
        {ACCEPTED: "0+100x120", refused(401, "signature"): "0+1x120"},
        {ACCEPTED: "0x120", refused(401, "signature"): "0+1x120"},
    ),
    "ForebayLimitsExceeded": ({refused(413, "too-large"): "0x120"}, {refused(413, "too-large"): "0x117 1x3"}),
    "ForebayNoWebhooks": ({ACCEPTED: "0x100 1x20"}, {ACCEPTED: "7x120"}),
    "ForebayDeadLetters": ({DEAD: "0x120"}, {DEAD: "0x118 1 1"}),
    "ForebayDeadLettersGrowing": ({DEAD: "9x120"}, {DEAD: "0+1x120"}),
    "ForebayRetriesExhausted": (
        {f'forebay_dead_letters_total{{{OURS},queue="default",reason="gone"}}': "0+1x120"},
        {f'forebay_dead_letters_total{{{OURS},queue="default",reason="exhausted"}}': "0x115 1x5"},
    ),
    "ForebayOldestWebhookAge": (
        {f'forebay_oldest_age_seconds{{{OURS},queue="default"}}': "600x120"},
        {f'forebay_oldest_age_seconds{{{OURS},queue="default"}}': "1000x120"},
    ),
    "ForebayBreakerOpen": (
        {f'forebay_breaker_state{{{OURS},queue="default"}}': "2x3 1 0x116"},
        {f'forebay_breaker_state{{{OURS},queue="default"}}': "0x110 2 1 2 2 1 2 2 2 2"},
    ),
    "ForebayKeysHeld": (
        {f'forebay_keys_held{{{OURS},queue="default"}}': "3x110 0x9", **UP},
        {f'forebay_keys_held{{{OURS},queue="default"}}': "0x116 1 0 0"},  # it is just tried again
    ),
    "ForebaySeenNotShared": (
        {f"forebay_seen_shared{{{OURS}}}": "1x100 0x3 1x16"},
        {f"forebay_seen_shared{{{OURS}}}": "1x110 0x9"},
    ),
    "ForebaySeenCutShort": (
        {f"forebay_seen_cut_short_total{{{OURS}}}": "0 7x119"},
        {f"forebay_seen_cut_short_total{{{OURS}}}": "0x115 7x5"},
    ),
    "ForebayOutageBufferFilling": (
        buffered(bytes="0+1x120", max_bytes="1000x120", oldest_seconds="0+60x120", max_seconds="86400x120"),
        buffered(bytes="0x120", max_bytes="1000x120", oldest_seconds="70000+60x120", max_seconds="86400x120"),
    ),
    # It may take its time while the broker is away, and a little afterwards.
    "ForebayOutageBufferNotEmptied": (
        {**buffered(webhooks="0x50 9x69"), f"forebay_ingest_broker_up{{{OURS}}}": "1x50 0x62 1x6"},
        {**buffered(webhooks="0x50 9x69"), f"forebay_ingest_broker_up{{{OURS}}}": "1x50 0x50 1x18"},
    ),
    "ForebayOrphans": ({'forebay_orphans{broker="b"}': "0x120"}, {'forebay_orphans{broker="b"}': "2x120"}),
    "ForebayBrokerNotSeen": (
        {'forebay_operator_broker_up{broker="b"}': "1x120"},
        {'forebay_operator_broker_up{broker="b"}': "0x120"},
    ),
    "ForebayReconcileFailing": (
        {'forebay_operator_reconcile_errors_total{kind="a"}': "0x120"},
        {'forebay_operator_reconcile_errors_total{kind="a"}': "0+1x120"},
    ),
}
AT_MINUTE = 119


def rules() -> list[dict[str, Any]]:
    """Those of a source and those of the operator."""
    (own,) = objects(SOURCE, Platform(apis=frozenset({PROMETHEUS_RULE})))
    chart = yaml.safe_load((TREE / "charts/forebay/files/rules.yaml").read_text())
    return [*own["spec"]["groups"], *chart["groups"]]


RULES = {rule["alert"]: rule for group in rules() for rule in group["rules"]}


def test_the_rules_are_such_as_prometheus_takes(promtool: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": rules()}))
    assert f"SUCCESS: {len(RULES)} rules found" in said(promtool, "check", "rules", "rules.yaml", where=tmp_path)


def test_every_alert_fires_when_it_should_and_not_when_all_is_well(promtool: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": rules()}))
    tests = [case for name, both in CASES.items() for case in (_case(name, both[0], False), _case(name, both[1], True))]
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(whole))
    assert "SUCCESS" in said(promtool, "test", "rules", "tests.yaml", where=tmp_path)


def _case(name: str, series: Series, fires: bool) -> dict[str, Any]:
    """promtool compares whole alerts, texts and all, so it is asked for the count of those that fire."""
    count = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
    return {
        "name": f"{name} {'fires' if fires else 'does not fire'}",
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [
            {
                "expr": count,
                "eval_time": f"{AT_MINUTE}m",
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
        ],
    }


def test_every_alert_has_a_case_here_and_every_case_an_alert() -> None:
    assert set(CASES) == set(RULES)
    assert len(RULES) == len(alerts(SOURCE)) + 3


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    pages = {page.stem for page in (TREE / "docs/runbooks").glob("Forebay*.md")}
    assert pages == set(RULES)
    for name, rule in RULES.items():
        assert rule["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{name}.md")


def test_the_commands_that_runbooks_name_are_there() -> None:
    reference = (TREE / "docs/reference/cli.md").read_text()
    for page in (TREE / "docs/runbooks").glob("*.md"):
        for command in re.findall(r"kubectl forebay ((?:dlq )?[a-z-]+)", page.read_text()):
            assert f"forebay {command}" in reference, f"{page.name}: {command}"


def test_alerts_that_are_disabled_and_clusters_without_the_api_have_no_rule() -> None:
    off = read_source(manifest(spec__monitoring={"alerts": {"state": "Disabled"}}))
    assert not objects(off, Platform(apis=frozenset({PROMETHEUS_RULE})))
    assert not objects(SOURCE, Platform())


def test_how_long_it_has_to_be_so_can_be_said_but_what_fires_at_once_still_does() -> None:
    quick = read_source(manifest(spec__monitoring={"alerts": {"holdFor": "30s"}}))
    (rule,) = objects(quick, Platform(apis=frozenset({PROMETHEUS_RULE})))
    holds = {one["alert"]: one["for"] for one in rule["spec"]["groups"][0]["rules"]}
    assert holds["ForebayDeadLetters"] == holds["ForebayIngestFailing"] == "0m"
    assert {hold for hold in holds.values() if hold != "0m"} == {"30s"}
