"""What a fault run plays, and where it writes its account."""

import pytest

from bench.faults.acts import ROUND
from bench.faults.kinds import FEATURES, KINDS
from bench.faults.options import options
from bench.faults.rounds import Share
from bench.verdict import TREE

RESULTS = TREE / "bench/results/faults.json"


SOME = [[], ["--minutes", "5"], ["--long", "--only", "broker hangs"], ["--long", "--kind", "ordering"]]


@pytest.mark.parametrize("arguments", SOME, ids=" ".join)
def test_a_run_that_is_short_or_plays_a_part_leaves_the_published_account_alone(arguments: list[str]) -> None:
    assert options(7, arguments).output == TREE / ".forebay/faults.json"


@pytest.mark.parametrize("arguments", [["--long"], ["--minutes", "45"]], ids=" ".join)
def test_a_long_run_publishes_its_account(arguments: list[str]) -> None:
    assert options(7, arguments).output == RESULTS


def played(*arguments: str) -> dict[str, set[str]]:
    """The acts of each kind of source."""
    return {one.kind.name: {act.name for act in one.acts} for one in options(7, arguments).rounds}


def test_a_short_run_plays_every_act_and_everything_that_a_source_can_ask_for() -> None:
    found = played()
    assert set.union(*found.values()) == {act.name for act in ROUND} - {
        "broker away"
    }  # tests/broker/test_outage.py plays it
    assert set(found) == {"plain", "together"}


def test_a_long_run_plays_every_kind_of_source() -> None:
    found = played("--long")
    assert set(found) == {kind.name for kind in KINDS}
    for kind in FEATURES:
        assert {"kills of everything", "memory alarm", "destination busy", "workers paused"} <= found[kind.name]


def test_an_act_alone_is_played_with_the_plain_source_and_with_those_that_are_named() -> None:
    assert played("--only", "memory alarm") == {"plain": {"memory alarm"}}
    assert played("--only", "memory alarm", "--kind", "ordering") == {"ordering": {"memory alarm"}}


def test_what_needs_a_storage_is_played_where_there_is_one() -> None:
    assert {kind for kind, acts in played("--long").items() if "storage away" in acts} == {
        "large-bodies",
        "outage-buffer",
        "together",
    }
    assert {kind for kind, acts in played("--long").items() if "broker away" in acts} == {"outage-buffer"}


def test_a_source_is_played_again_if_most_of_another_round_falls_into_its_share() -> None:
    share = Share(rest_s=600.0, sources=3)
    assert not share.is_over(100.0, 1)
    assert share.is_over(140.0, 1)
    assert not share.is_over(140.0, 2)
    assert share.is_over(170.0, 2)


def test_the_last_source_is_played_until_the_time_is_over() -> None:
    share = Share(rest_s=200.0, sources=1)
    assert not share.is_over(199.0, 1)
    assert share.is_over(200.0, 1)


def test_a_short_run_plays_each_source_once() -> None:
    assert all(Share(rest_s=-90.0, sources=sources).is_over(60.0, 1) for sources in (2, 1))
