"""What is wrong with a manifest is said all at once, with its place and what to write instead."""

from pathlib import Path

import pytest

from forebay.manifest import ManifestError, load
from tests.support import golden

REJECTED = sorted((Path(__file__).parent / "rejected").glob("*.yaml"))


@pytest.mark.parametrize("path", REJECTED, ids=lambda path: path.stem)
def test_a_rejected_manifest_says_why(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with pytest.raises(ManifestError) as raised:
        load(path.name)
    golden.check(path.with_suffix(".txt"), f"{raised.value}\n")


@pytest.mark.parametrize("path", REJECTED, ids=lambda path: path.stem)
def test_every_fault_has_a_place_in_the_file_and_a_remedy(path: Path) -> None:
    with pytest.raises(ManifestError) as raised:
        load(path)
    lines = path.read_text("utf-8").splitlines()
    for fault in raised.value.faults:
        assert fault.where == str(path)
        assert 1 <= fault.line <= len(lines) + 1
        assert 1 <= fault.column <= 200
        assert fault.message
        assert fault.remedy
