"""docs/rbac.md is made from the chart's rules, and reads all of them."""

import json
from pathlib import Path

import pytest
from tools import rights_reference
from tools.build import BuildError, built

from tests.support.helm import Helm


def test_the_page_of_rights_is_that_of_the_chart() -> None:
    assert rights_reference.FILE.read_text("utf-8") == rights_reference.page(), "run `make reference`"


@pytest.mark.parametrize(("part", "role"), [("rules", "ClusterRole"), ("leaseRules", "Role")])
def test_no_rule_that_helm_renders_is_left_out(part: str, role: str, tmp_path: Path) -> None:
    try:
        helm = Helm(built("helm-3"), tmp_path)
    except BuildError as error:
        pytest.skip(f"Helm: {error}")
    (rendered,) = (one["rules"] for one in helm.objects({"rbac": {"aggregate": False}}) if one["kind"] == role)
    read = [one.rule for one in rights_reference.rules(part)]
    assert sorted(map(json.dumps, read)) == sorted(map(json.dumps, rendered))
