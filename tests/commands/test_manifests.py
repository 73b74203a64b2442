"""init, validate and render."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from forebay import manifest
from forebay.errors import SpecError
from forebay_cli.commands.init import NAMES, begin, template
from forebay_operator.desired import Platform, desired
from tests.support.command_line import forebay

Capture = pytest.CaptureFixture[str]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

BROKEN = """\
apiVersion: forebay.dev/v1alpha1
kind: WebhookSource
metadata: {name: github}
spec:
  ingest:
    verification: {provider: GitHb, secretRefs: [{name: github-webhook, key: secret}]}
  worker:
    destination: {url: "htp://orders"}
"""


@pytest.mark.parametrize("kind", NAMES)
def test_what_init_prints_is_the_example_word_by_word(kind: str, capsys: Capture) -> None:
    example = EXAMPLES / NAMES[kind] / "source.yaml"
    assert template(kind) == example.read_text("utf-8"), (
        f"cp {example} cli/src/forebay_cli/templates/{NAMES[kind]}.yaml"
    )
    assert forebay(capsys, "init", kind).out == template(kind)


@pytest.mark.parametrize("kind", NAMES)
def test_what_init_prints_is_valid_and_commented(kind: str) -> None:
    assert len(manifest.parse(template(kind)).sources) == 1
    assert "#" in template(kind)


def test_validate_says_which_sources_are_fine(capsys: Capture) -> None:
    ran = forebay(capsys, "validate", "-f", str(EXAMPLES / "github"))
    assert (ran.status, ran.out, ran.err) == (0, "default/github is valid\n", "")


def test_validate_gives_each_fault_a_line_with_its_place_field_and_remedy(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "source.yaml"
    file.write_text(BROKEN)
    ran = forebay(capsys, "validate", "-f", str(file))
    first, second = ran.err.splitlines()
    assert ran.status == 2
    assert first.startswith(f"error: {file}:6:")
    assert "spec.ingest.verification.provider" in first
    assert first.endswith("; write GitHub")
    assert "spec.worker.destination.url" in second


def test_validate_tells_scripts_the_same(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "source.yaml"
    file.write_text(BROKEN)
    ran = forebay(capsys, "validate", "-f", str(file), "-o", "json")
    told = json.loads(ran.out)
    assert (ran.status, ran.err, told["valid"]) == (2, "", False)
    assert [(fault["line"], fault["path"]) for fault in told["faults"]] == [
        (6, "spec.ingest.verification.provider"),
        (8, "spec.worker.destination.url"),
    ]


def test_a_file_without_a_source_is_not_valid(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "nothing.yaml"
    file.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
    assert "no WebhookSource" in forebay(capsys, "validate", "-f", str(file)).err
    assert json.loads(forebay(capsys, "validate", "-f", str(file), "-o", "json").out)["valid"] is False


def test_render_prints_what_the_operator_would_apply(capsys: Capture) -> None:
    ran = forebay(capsys, "render", "-f", str(EXAMPLES / "github"))
    source = manifest.load(EXAMPLES / "github").sources[0]
    expected = json.loads(json.dumps(desired(source, Platform())))
    assert list(yaml.safe_load_all(ran.out)) == expected
    assert "ingest.json: |" in ran.out


def test_a_handlers_project_is_valid_and_passes_its_own_tests(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "orders"
    said = forebay(capsys, "init", "python-handler", "--into", str(folder))
    assert said.out.count("wrote") == 3
    assert (folder / "handler.py").read_text() == (EXAMPLES / "python-handler/handler.py").read_text()
    assert len(manifest.load(folder / "source.yaml").sources) == 1
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_handler.py"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "4 passed" in ran.stdout, ran.stdout + ran.stderr


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("mine")
    with pytest.raises(SpecError, match=r"handler\.py is there already; name another folder"):
        begin("python-handler", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["handler.py"]
    assert (tmp_path / "handler.py").read_text() == "mine"
