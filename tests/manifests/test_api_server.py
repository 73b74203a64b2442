"""What a real API server says of each example and each manifest that is wrong: it refuses it, or the operator will."""

import subprocess
from pathlib import Path

import pytest
from tools.control_plane import ControlPlane

from tests.support import golden

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/source.yaml"))
REJECTED = sorted((Path(__file__).parent / "rejected").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_example_is_taken(control_plane: ControlPlane, path: Path) -> None:
    said = control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(path))
    assert "(server dry run)" in said


@pytest.mark.parametrize("path", REJECTED, ids=lambda path: path.stem)
def test_what_is_said_of_a_manifest_that_is_wrong(control_plane: ControlPlane, path: Path) -> None:
    """What the schema can not tell is taken here, and becomes a condition."""
    try:
        said = control_plane.kubectl("create", "--dry-run=server", "--validate=strict", "-f", str(path))
    except subprocess.CalledProcessError as error:
        said = error.output
    lines = sorted(said.replace(str(path), path.name).splitlines())  # it tells in any order
    golden.check(path.with_suffix(".api.txt"), "\n".join(lines) + "\n")
