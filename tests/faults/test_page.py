"""The figures in docs/failure-model.md are those of the committed results."""

import json
from typing import Any

import pytest

from bench.faults.page import FILE, RESULTS, page

TEXT = FILE.read_text("utf-8")
MEASURED = json.loads(RESULTS.read_text())


def test_the_page_has_the_committed_figures() -> None:
    assert page(TEXT, MEASURED) == TEXT, "run `make reference`"


def test_a_figure_that_changes_is_on_the_page() -> None:
    plain = MEASURED["kinds"]["plain"]
    calm = plain["phases"]["calm"]
    changed = MEASURED | {
        "duplicates": 4_711,
        "kinds": {"plain": plain | {"lost": 3, "phases": {"calm": calm | {"refused": {"down": 1, "timeout": 2}}}}},
    }
    told = page(TEXT, changed)
    assert "| 4,711 |" in told
    assert told.count("| 3, 0 |") == 1
    assert "| 3 (timeout, down) |" in told
    assert "`rate-limit` | " not in told.partition("## Measured")[2]
    assert told.partition("## Measured")[0] == TEXT.partition("## Measured")[0]


def test_a_page_without_a_place_for_a_figure_is_not_written() -> None:
    with pytest.raises(ValueError, match="duplicates"):
        page(TEXT.replace("| duplicates | 104", "| twice | 104"), MEASURED)


@pytest.mark.parametrize(
    "change", [{"quick": True}, {"refused_by_status": {"500": 1, "503": 9}}, {"refused_without_retry_after": 1}]
)
def test_results_of_which_the_words_are_not_true_are_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="every refusal was a 503"):
        page(TEXT, MEASURED | change)
