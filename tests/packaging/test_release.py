"""What a release publishes: the workflow is one that GitHub understands, and the bills of materials say what is needed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import multidict
import pytest
from tools.images import COMPONENTS, RELEASE, REPOSITORY
from tools.sbom import bill
from tools.without_symbols import main as take_symbols

from tests.support.parts import part

TREE = Path(__file__).resolve().parents[2]
WORKFLOW = TREE / ".github/workflows/release.yml"


@pytest.mark.builds("actionlint")
def test_the_workflow_is_one_that_github_understands() -> None:
    said = subprocess.run([part("actionlint"), "-no-color", WORKFLOW], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def test_it_publishes_each_image_under_the_name_that_the_chart_asks_for() -> None:
    text = WORKFLOW.read_text()
    assert f"component: [{', '.join(COMPONENTS)}]" in text
    assert f"tags: {REPOSITORY}${{{{ matrix.component }}}}:" in text
    given = set(re.findall(r"^ {12}([A-Z]+)=", text, re.MULTILINE))
    last = (TREE / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert given == set(re.findall(r"^ARG ([A-Z]+)", last, re.MULTILINE))


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_bill_of_materials_has_the_components_own_needs_alone(component: str) -> None:
    told = bill(component)
    assert told["bomFormat"] == "CycloneDX"
    assert told["metadata"]["component"]["name"] == f"forebay-{component}"
    assert told["metadata"]["component"]["version"] == RELEASE
    names = {one["name"] for one in told["components"]}
    assert {"forebay", "aiohttp", "pika"} <= names
    assert ("kopf" in names) == (component == "operator")
    assert not {"pytest", "ruff"} & names
    assert all("purl" in one for one in told["components"] if not one["name"].startswith("forebay"))


def test_a_library_without_its_symbols_is_smaller_and_does_what_it_did(tmp_path: Path) -> None:
    package = tmp_path / "multidict"
    shutil.copytree(Path(multidict.__file__).parent, package)
    before = sum(path.stat().st_size for path in package.glob("*.so"))
    take_symbols(str(tmp_path))
    assert sum(path.stat().st_size for path in package.glob("*.so")) < before / 2
    used = "import multidict; print(multidict.__file__, multidict.CIMultiDict(a=1)['A'])"
    said = subprocess.run([sys.executable, "-c", used], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.split()[:2] == [str(package / "__init__.py"), "1"]
