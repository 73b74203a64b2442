"""The health script of docs/how-to/gitops.md, run by the Lua that Argo CD has built in, on what the operator says."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from forebay.manifest import read_source
from forebay_operator.conditions import Observed, Trouble, conditions, dated, refused
from forebay_operator.world import Progress
from tests.support.parts import part
from tests.support.sources import manifest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "gitops.md"
SCRIPT = yaml.safe_load(PAGE.read_text("utf-8").split("```yaml\n")[1].split("```")[0])["data"][
    "resource.customizations.health.forebay.dev_WebhookSource"
]
UP = Progress(wanted=2, ready=2)
WELL = Observed(ingest=UP, workers={"default": UP})
NO_SECRET = Observed(unaccepted=Trouble("SecretMissing", "There is no Secret."))
pytestmark = pytest.mark.builds("glua")


def test_a_source_that_the_operator_has_not_seen_progresses(tmp_path: Path) -> None:
    assert health(manifest(), tmp_path) == ("Progressing", "The operator has not looked at it yet.")


def test_a_status_of_a_former_spec_says_nothing(tmp_path: Path) -> None:
    old = said(WELL)
    old["metadata"]["generation"] = 4
    assert health(old, tmp_path)[0] == "Progressing"


def test_a_source_that_is_ready_is_healthy(tmp_path: Path) -> None:
    assert health(said(WELL), tmp_path) == ("Healthy", "A webhook sent now is accepted, queued and delivered.")


def test_one_that_comes_up_or_rolls_out_progresses(tmp_path: Path) -> None:
    assert health(said(Observed()), tmp_path)[0] == "Progressing"
    rolling = Observed(ingest=Progress(wanted=2, ready=2, rolled_out=False), workers={"default": UP})
    assert health(said(rolling), tmp_path)[0] == "Progressing"


def test_one_that_waits_for_a_person_is_degraded_and_says_why(tmp_path: Path) -> None:
    assert health(said(NO_SECRET), tmp_path) == ("Degraded", "There is no Secret.")
    refusal = _with_status(manifest(), dated(refused("spec.worker: no"), (), 3, "now"))
    assert health(refusal, tmp_path) == ("Degraded", "spec.worker: no")


@pytest.mark.parametrize("what", ["Ingest", "Workers", "All"])
def test_one_that_rests_is_suspended(what: str, tmp_path: Path) -> None:
    assert health(said(WELL, spec__suspend=what), tmp_path)[0] == "Suspended"


def said(observed: Observed, **changes: Any) -> dict[str, Any]:
    """A source, with the status that the operator gives it."""
    source = manifest(**changes)
    return _with_status(source, dated(conditions(read_source(source), observed), (), 3, "2026-11-26T00:00:00Z"))


def _with_status(source: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        **source,
        "metadata": {**source["metadata"], "generation": 3},
        "status": {"observedGeneration": 3, "conditions": found},
    }


def health(source: dict[str, Any], folder: Path) -> tuple[str, str]:
    """What the script says of a source."""
    lua = part("glua")
    program = folder / "health.lua"
    called = "local found = health()\nprint(found.status)\nprint(found.message)\n"
    program.write_text(f"obj = {_lua(source)}\nfunction health()\n{SCRIPT}\nend\n{called}")
    told = subprocess.run([lua, program], capture_output=True, text=True, check=True).stdout
    status, message = told.splitlines()
    return status, message


def _lua(value: Any) -> str:
    """The value as Lua spells it; text without escapes that only JSON knows."""
    match value:
        case dict():
            return "{" + ", ".join(f"[ {_lua(key)} ] = {_lua(part)}" for key, part in value.items()) + "}"
        case list():
            return "{" + ", ".join(_lua(part) for part in value) + "}"
        case bool() | None:
            return {True: "true", False: "false", None: "nil"}[value]
        case str():
            return "[==[" + value + "]==]"
        case _:
            return repr(value)
