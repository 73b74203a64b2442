"""The five distributions: one version, each with what it needs and nothing of the others."""

import re
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

TREE = Path(__file__).resolve().parents[2]
MEMBERS = {
    "core": "forebay",
    "operator": "forebay_operator",
    "ingest": "forebay_ingest",
    "worker": "forebay_worker",
    "cli": "forebay_cli",
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The files of each member's wheel."""
    out = tmp_path_factory.mktemp("wheels")
    subprocess.run(["uv", "build", "--quiet", "--wheel", "--all-packages", "--out-dir", out], cwd=TREE, check=True)
    packed = {wheel.name.split("-")[0]: zipfile.ZipFile(wheel).namelist() for wheel in out.glob("*.whl")}
    return {member: packed[f"forebay_{member}" if member != "core" else "forebay"] for member in MEMBERS}


def test_all_members_have_one_version_and_ask_for_it() -> None:
    version = _project("core")["version"]
    for member in MEMBERS:
        project = _project(member)
        assert project["version"] == version, member
        siblings = [need for need in project["dependencies"] if need.startswith("forebay")]
        assert all(need.endswith(f"=={version}") for need in siblings), siblings


def test_a_wheel_holds_its_own_package_and_no_other(wheels: dict[str, list[str]]) -> None:
    for member, package in MEMBERS.items():
        tops = {name.split("/")[0] for name in wheels[member]}
        assert {top for top in tops if not top.endswith(".dist-info")} == {package}
        assert f"{package}/py.typed" in wheels[member]


def test_a_wheel_holds_every_file_of_its_package(wheels: dict[str, list[str]]) -> None:
    for member, package in MEMBERS.items():
        folder = TREE / member / "src"
        wanted = {
            str(path.relative_to(folder))
            for path in (folder / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted <= set(wheels[member]), member


def test_the_folders_that_would_shadow_a_module_are_no_packages() -> None:
    # operator/__init__.py would break `import operator` for every script started in the root.
    for folder in ("operator", "tests", "worker", "core", "ingest", "cli"):
        assert not (TREE / folder / "__init__.py").exists()
    assert not list((TREE / "tests").rglob("__init__.py"))


def test_the_data_plane_needs_little() -> None:
    wanted = {"ingest": {"forebay", "aiohttp", "uvloop"}, "worker": {"forebay", "aiohttp", "uvloop"}}
    for member, names in wanted.items():
        assert {re.split(r"[\[>=<]", need)[0] for need in _project(member)["dependencies"]} == names


def test_every_target_that_the_readme_names_is_there() -> None:
    makefile = (TREE / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make (\w+)", (TREE / "README.md").read_text("utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def _project(member: str) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((TREE / member / "pyproject.toml").read_text("utf-8"))["project"]
    return project
