"""By its key a webhook gets into a lane: always the same one where order is kept, one aside where it floods. No key is an error."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from forebay.settings import Lanes, Route
from forebay_ingest import shares
from forebay_ingest.lanes import FAULTS, KEY_LENGTH, Place, spread
from forebay_ingest.routing import Router
from forebay_ingest.shares import Shares

QUEUES = (Route(queue="default"),)


class Counts:
    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.aside = 0

    def key_fault(self, fault: str) -> None:
        self.faults[fault] += 1

    def busy(self) -> None:
        self.aside += 1


def router(lanes: Lanes, counts: Counts, now: float = 0.0) -> Router:
    return Router(QUEUES, None, spread(lanes, ["default"], counts, lambda: now))


def place(lanes: Lanes, body: Any = None, counts: Counts | None = None, **headers: str) -> Place:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    _, lane, key, _ = router(lanes, counts or Counts()).route(named, "", content)
    return lane, key


BY_PATH, BY_HEADER = Lanes(json_path="shop.id", ordered=8), Lanes(header="X-Shop", ordered=8)


def test_a_key_has_one_lane_wherever_it_is_found() -> None:
    assert place(BY_PATH, {"shop": {"id": "s1"}}) == place(BY_HEADER, X_Shop="s1") == ("default:0", "s1")
    assert place(BY_PATH, {"shop": {"id": 17}}) == place(BY_HEADER, X_Shop="17")


def test_keys_are_spread_over_all_lanes() -> None:
    found = Counter(place(BY_HEADER, X_Shop=f"shop-{number}")[0] for number in range(800))
    assert set(found) == {f"default:{number}" for number in range(8)}
    assert max(found.values()) < 150


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "missing"), (b"{", "missing"), (b"\xff\xfe", "missing"), ({}, "missing"), ({"shop": {"id": ""}}, "missing"),
        ({"shop": {"id": None}}, "type"), ({"shop": {"id": True}}, "type"), ({"shop": {"id": 1.5}}, "type"),
        ({"shop": {"id": ["a"]}}, "type"), ({"shop": {"id": {}}}, "type"), (b'{"shop": {"id": ' + b"9" * 5000 + b"}}", "missing"),
    ],
)  # fmt: skip
def test_without_a_usable_key_a_webhook_stays_in_its_queue_and_is_counted(body: Any, fault: str) -> None:
    for lanes in (BY_PATH, Lanes(json_path="shop.id")):
        counts = Counts()
        assert place(lanes, body, counts) == (None, None)
        assert counts.faults == {fault: 1}


def test_of_a_huge_key_the_beginning_counts() -> None:
    counts = Counts()
    lane, key = place(BY_HEADER, counts=counts, X_Shop="x" * 10_000)
    assert key == "x" * KEY_LENGTH
    assert lane == place(BY_HEADER, X_Shop="x" * KEY_LENGTH)[0]
    assert counts.faults == {"long": 1}


@given(
    st.binary(max_size=80)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda v: json.dumps({"a": v}).encode())
)
def test_any_body_gives_a_place_and_at_most_one_fault(body: bytes) -> None:
    counts = Counts()
    lane, key = place(Lanes(json_path="a", ordered=3), body, counts)
    assert (lane is None) == (key is None)
    assert sum(counts.faults.values()) <= 1
    assert set(counts.faults) <= set(FAULTS)


def test_a_key_that_floods_is_put_aside_and_the_others_are_not() -> None:
    counts = Counts()
    routes = router(Lanes(header="X-Shop"), counts)

    def lane(shop: str) -> str | None:
        return routes.route(CIMultiDict({"X-Shop": shop}), "", b"")[1]

    for turn in range(40):
        assert {lane(f"shop-{number}") for number in range(20)} == {None}
        flood = {lane("flood") for _ in range(100)}
        assert flood == {"default:busy"} or not turn
    assert counts.aside > 3900


def test_a_key_that_sends_little_is_not_put_aside_and_neither_are_equals() -> None:
    slow, equals = Shares(lambda: 0.0), Shares(lambda: 0.0)
    assert not any(slow.excessive("a") for _ in range(shares.LEAST - 1))
    equals.excessive("b")
    assert not any(equals.excessive(key) for _ in range(1000) for key in ("a", "b", "b", "a"))


def test_a_key_that_is_alone_is_put_aside_before_others_come() -> None:
    alone = Shares(lambda: 0.0)
    assert [alone.excessive("a") for _ in range(1000)].count(False) == shares.LEAST - 1


def test_a_flood_that_is_over_is_forgotten() -> None:
    now = [0.0]
    counts = Shares(lambda: now[0])
    for _ in range(1000):
        counts.excessive("flood")
        counts.excessive("other") if _ % 100 == 0 else None
    assert counts.excessive("flood")
    for _ in range(10):
        now[0] += shares.HALF_LIFE_S
        counts.excessive("other")
    assert not counts.excessive("flood")


def test_however_many_keys_there_are_a_bounded_number_is_remembered() -> None:
    counts = Shares(lambda: 0.0)
    for number in range(5 * shares.KEYS + 50):
        counts.excessive(f"shop-{number}")
        for _ in range(10):
            counts.excessive("flood")
    assert len(counts._counts) <= shares.KEYS + 1  # nothing else tells what is remembered
    assert counts.excessive("flood")
