"""What the chart renders for the installs that people make; both majors of Helm render the same."""

from pathlib import Path

import pytest
import yaml

from tests.support import golden
from tests.support.helm import Helm

CASES = sorted(path for path in (Path(__file__).parent / "cases").glob("*.yaml") if ".golden" not in path.name)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_values_become_these_objects(path: Path, helm: Helm) -> None:
    golden.check(path.with_suffix(".golden.yaml"), _without_crd(helm.render(yaml.safe_load(path.read_text()) or {})))


def _without_crd(text: str) -> str:
    """The CRD has a test of its own, and 2,000 lines."""
    parts = text.removeprefix("---\n").split("\n---\n")
    kept = [part.strip("\n") for part in parts if "\nkind: CustomResourceDefinition\n" not in part]
    return "\n---\n".join(kept) + "\n"
