"""The recipe of the images, as far as it can be read without building them: tests/cluster runs what comes of it."""

import re
import tomllib
from pathlib import Path

from tools.images import COMPONENTS, RELEASE, REPOSITORY, sources

from forebay_operator.desired.platform import Platform

TREE = Path(__file__).resolve().parents[2]
RECIPE = (TREE / "Dockerfile").read_text()


def test_an_image_is_called_what_the_operator_and_the_chart_ask_for() -> None:
    usual = Platform()
    assert usual.ingest_image == f"{REPOSITORY}ingest:{RELEASE}"
    assert usual.worker_image == f"{REPOSITORY}worker:{RELEASE}"
    assert f"repository: {REPOSITORY}operator" in (TREE / "charts/forebay/values.yaml").read_text()
    assert f"ARG VERSION={RELEASE}\n" in RECIPE


def test_each_image_has_a_program_to_start() -> None:
    for component in COMPONENTS:
        project = tomllib.loads((TREE / component / "pyproject.toml").read_text())["project"]
        assert f"forebay-{component}" in project["scripts"]


def test_what_the_recipe_copies_is_let_through_to_docker_and_nothing_else_is() -> None:
    copied = {one for line in re.findall(r"^COPY (?!--from)(.*) \S+$", RECIPE, re.MULTILINE) for one in line.split()}
    assert all((TREE / path).exists() for path in copied)
    let_through = re.findall(r"^!(.*)$", (TREE / ".dockerignore").read_text(), re.MULTILINE)
    assert set(let_through) == copied


def test_every_member_of_the_lock_file_is_described_to_uv() -> None:
    members = tomllib.loads((TREE / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
    assert all(f"COPY {member}/pyproject.toml {member}/\n" in RECIPE for member in members)


def test_containers_are_nobody_by_number_and_need_no_shell() -> None:
    last = RECIPE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["', last, re.MULTILINE)
    assert "RUN" not in last
    assert "VOLUME" not in last


def test_an_image_is_built_anew_for_a_changed_source_of_its_own_and_for_nothing_else() -> None:
    before = {component: sources(component) for component in COMPONENTS}
    page, source = TREE / "docs/an-untracked-page.md", TREE / "worker/src/forebay_worker/an_untracked_module.py"
    shared = TREE / "core/src/forebay/an_untracked_module.py"
    try:
        page.write_text("x")
        assert _changed(before) == set()
        source.write_text("x = 1")
        assert _changed(before) == {"worker"}
        shared.write_text("x = 1")
        assert _changed(before) == set(COMPONENTS)
    finally:
        for path in (page, source, shared):
            path.unlink(missing_ok=True)


def _changed(before: dict[str, str]) -> set[str]:
    return {component for component, key in before.items() if sources(component) != key}
