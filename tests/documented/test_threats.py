"""docs/threat-model.md names tests; each of them is there."""

import re
from pathlib import Path

TREE = Path(__file__).parents[2]


def test_every_test_that_the_threat_model_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (TREE / "docs" / "threat-model.md").read_text("utf-8")))
    files = (file.read_text("utf-8") for file in (TREE / "tests").rglob("test_*.py"))
    known = {name for text in files for name in re.findall(r"def (test_\w+)", text)}
    assert named
    assert named - known == set()
