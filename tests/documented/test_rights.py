"""docs/rbac.md is made from the chart's rules, and reads all of them."""

import json
from pathlib import Path

import pytest
from tools import rights_reference

from tests.support.helm import Helm
from tests.support.parts import part


def test_the_page_of_rights_is_that_of_the_chart() -> None:
    assert rights_reference.FILE.read_text("utf-8") == rights_reference.page(), "run `make reference`"


@pytest.mark.builds("helm-3")
@pytest.mark.parametrize(("which", "role"), [("rules", "ClusterRole"), ("leaseRules", "Role")])
def test_no_rule_that_helm_renders_is_left_out(which: str, role: str, tmp_path: Path) -> None:
    helm = Helm(part("helm-3"), tmp_path)
    (rendered,) = (one["rules"] for one in helm.objects({"rbac": {"aggregate": False}}) if one["kind"] == role)
    read = [one.rule for one in rights_reference.rules(which)]
    assert sorted(map(json.dumps, read)) == sorted(map(json.dumps, rendered))
