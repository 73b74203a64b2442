"""Who has a public address that several want, in whatever order they are seen."""

from itertools import permutations
from typing import Any

from forebay_operator.addresses import Addresses


def _body(name: str, created: str, path: str = "/a") -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": name[::-1], "creationTimestamp": created}
    expose = {"ingress": {"className": "nginx", "host": "h.example"}}
    return {"metadata": metadata, "spec": {"ingest": {"path": path, "expose": expose}}}


def _winners(bodies: list[dict[str, Any]]) -> list[str]:
    addresses = Addresses()
    for body in bodies:
        addresses.see(body)
    names = (body["metadata"]["name"] for body in bodies)
    return [name for name in names if addresses.taken("ns", name) is None]


def test_the_oldest_has_it_and_of_the_same_second_the_first_by_name() -> None:
    bodies = [
        _body("bz", "2026-01-01T00:00:01Z"),
        _body("ca", "2026-01-01T00:00:01Z"),
        _body("a", "2026-01-01T00:00:02Z"),
    ]
    assert all(_winners(list(order)) == ["bz"] for order in permutations(bodies))


def test_a_slash_at_the_end_is_no_other_address_and_a_longer_path_is() -> None:
    old, new = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"
    assert _winners([_body("one", old), _body("two", new, "/a/")]) == ["one"]
    assert _winners([_body("one", old), _body("two", new, "/a/b"), _body("three", new, "/ab")]) == [
        "one",
        "two",
        "three",
    ]


def test_who_went_or_was_made_anew_has_it_no_longer() -> None:
    addresses = Addresses()
    first, second = _body("one", "2026-01-01T00:00:01Z"), _body("two", "2026-01-01T00:00:02Z")
    addresses.see(first)
    assert addresses.see(second) == {("ns", "one")}
    assert addresses.see(_body("one", "2026-01-01T00:00:03Z")) == set()
    assert addresses.taken("ns", "two") is None
    assert addresses.see(second, gone=True) == {("ns", "one")}
    assert addresses.taken("ns", "one") is None
