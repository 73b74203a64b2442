"""Where a fault run writes its account."""

import pytest

from bench.faults.options import options
from bench.verdict import TREE

RESULTS = TREE / "bench/results/faults.json"


@pytest.mark.parametrize("arguments", [[], ["--minutes", "5"], ["--long", "--only", "broker hangs"]], ids=" ".join)
def test_a_run_that_is_short_or_plays_a_few_acts_leaves_the_published_account_alone(arguments: list[str]) -> None:
    assert options(7, arguments).output == TREE / ".forebay/faults.json"


@pytest.mark.parametrize("arguments", [["--long"], ["--minutes", "45"]], ids=" ".join)
def test_a_long_run_publishes_its_account(arguments: list[str]) -> None:
    assert options(7, arguments).output == RESULTS
