"""Every object of the golden files is one that a real API server takes, by every field: a misspelled one would be no field.

The APIs of others are there by their authors' own CRDs (tools/build.py), so a field that they do not have, or have otherwise,
is refused here and not at a user's.
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.control_plane import ControlPlane

from forebay_operator.desired.platform import CHILD_KINDS
from tests.desired.test_goldens import CASES

CHART = sorted((Path(__file__).parents[1] / "chart" / "cases").glob("*.golden.yaml"))
GOLDENS = [path.with_suffix(".golden.yaml") for path in CASES]


def objects(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text("utf-8")) if one]


def said(plane: ControlPlane, items: list[dict[str, Any]]) -> list[str]:
    """What the API server says of each, as it would of the operator's own request."""
    command = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
    try:
        return plane.kubectl(*command, stdin=yaml.safe_dump_all(items)).splitlines()
    except subprocess.CalledProcessError as error:
        return str(error.output).splitlines()


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.name.partition(".")[0])
def test_an_api_server_takes_what_a_source_becomes(equipped: ControlPlane, path: Path) -> None:
    items = objects(path)
    lines = said(equipped, items)
    assert [line for line in lines if "serverside-applied (server dry run)" not in line] == []
    assert len(lines) == len(items)


@pytest.mark.parametrize("path", CHART, ids=lambda path: path.name.partition(".")[0])
def test_an_api_server_takes_what_the_chart_installs(equipped: ControlPlane, path: Path) -> None:
    lines = said(equipped, objects(path))
    assert [line for line in lines if "serverside-applied (server dry run)" not in line] == []


def test_every_kind_of_child_is_among_them() -> None:
    kinds = {(item["apiVersion"], item["kind"]) for path in GOLDENS for item in objects(path)}
    assert kinds == set(CHILD_KINDS)


# kind → where, and what is not there
UNKNOWN: dict[str, tuple[tuple[str | int, ...], str]] = {
    "PodMonitor": (("spec", "podMetricsEndpoints", 0), "honourLabels"),
    "PrometheusRule": (("spec", "groups", 0, "rules", 0), "when"),
    "ScaledObject": (("spec", "fallback"), "behaviour"),
    "TriggerAuthentication": (("spec",), "secretRef"),
    "HTTPRoute": (("spec", "rules", 0), "path"),
    "Deployment": (("spec", "template", "spec", "containers", 0), "environment"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_field_that_does_not_exist_is_refused(equipped: ControlPlane, kind: str) -> None:
    item = next(one for path in GOLDENS for one in objects(path) if one["kind"] == kind)
    where, name = UNKNOWN[kind]
    place: Any = item
    for step in where:
        place = place[step]
    place[name] = "something"
    (line,) = said(equipped, [item])
    assert name in line
