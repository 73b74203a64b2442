"""The first route that matches wins, and `default` takes the rest; a body is parsed only if a rule needs it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from forebay.settings import Match, Route
from forebay_ingest.routing import KEPT, Router


def queue_of(
    match: Match,
    *,
    headers: dict[str, str] | None = None,
    suffix: str = "",
    body: bytes = b"",
    event_type: str | None = None,
) -> str:
    router = Router((Route(queue="special", match=match), Route(queue="default")), event_type)
    return router.route(CIMultiDict(headers or {}), suffix, body)[0]


EVENT = "header:X-Event"


@pytest.mark.parametrize(
    ("patterns", "event", "matches"),
    [
        (("push",), "push", True), (("push",), "Push", False), (("push",), "pushes", False), (("push", "ping"), "ping", True),
        (("invoice.*",), "invoice.paid", True), (("invoice.*",), "invoice", False), (("*",), "anything", True),
        (("*",), None, False), (("push",), None, False),
    ],
)  # fmt: skip
def test_by_event_type(patterns: tuple[str, ...], event: str | None, matches: bool) -> None:
    headers = {} if event is None else {"x-event": event}
    found = queue_of(Match(event_types=patterns), headers=headers, event_type=EVENT)
    assert found == ("special" if matches else "default")


@pytest.mark.parametrize(
    ("values", "sent", "matches"),
    [((), "x", True), ((), None, False), (("a", "b"), "b", True), (("a",), "A", False), (("a",), None, False)],
)
def test_by_header(values: tuple[str, ...], sent: str | None, matches: bool) -> None:
    headers = {} if sent is None else {"X-KIND": sent}
    found = queue_of(Match(header="x-kind", header_values=values), headers=headers)
    assert found == ("special" if matches else "default")


@pytest.mark.parametrize(
    ("path", "values", "body", "matches"),
    [
        ("a.b", ("1",), {"a": {"b": 1}}, True), ("a.b", ("true",), {"a": {"b": True}}, True),
        ("a.b", ("null",), {"a": {"b": None}}, True), ("a.b", (), {"a": {"b": None}}, True), ("a.b", (), {"a": {}}, False),
        ("a.1", ("x",), {"a": ["y", "x"]}, True), ("a.2", (), {"a": ["y", "x"]}, False), ("a.-1", (), {"a": ["y"]}, False),
        ("a", ("x",), {"a": "y"}, False), ("a", (), [1], False), ("0", ("1",), [1], True), ("a.b", (), {"a": "text"}, False),
    ],
)  # fmt: skip
def test_by_json(path: str, values: tuple[str, ...], body: Any, matches: bool) -> None:
    found = queue_of(Match(json_path=path, json_values=values), body=json.dumps(body).encode())
    assert found == ("special" if matches else "default")


@pytest.mark.parametrize(("suffix", "matches"), [("/eu", True), ("/x/eu", True), ("", False), ("/eu/", False)])
def test_by_path_suffix(suffix: str, matches: bool) -> None:
    assert queue_of(Match(path_suffix="/eu"), suffix=suffix) == ("special" if matches else "default")


def test_all_conditions_must_hold() -> None:
    match = Match(header="x", json_path="a", path_suffix="/eu")
    body = b'{"a": 1}'
    assert queue_of(match, headers={"x": "1"}, suffix="/eu", body=body) == "special"
    assert queue_of(match, headers={}, suffix="/eu", body=body) == "default"
    assert queue_of(match, headers={"x": "1"}, suffix="", body=body) == "default"
    assert queue_of(match, headers={"x": "1"}, suffix="/eu", body=b"{}") == "default"


def test_the_first_that_matches_wins() -> None:
    routes = (
        Route(queue="a", match=Match(header="x")),
        Route(queue="b", match=Match(header="x")),
        Route(queue="default"),
    )
    assert Router(routes, None).route(CIMultiDict({"X": "1"}), "", b"")[0] == "a"


def test_without_a_route_for_all_the_last_one_takes_what_none_matches() -> None:
    assert Router((Route(queue="a", match=Match(header="x")),), None).route(CIMultiDict(), "", b"")[0] == "a"


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b"null", b'"text"', b"1e999", b"9" * 5000])
def test_a_body_that_is_no_json_matches_no_path_and_raises_nothing(body: bytes) -> None:
    assert queue_of(Match(json_path="a.b"), body=body) == "default"


def test_a_body_is_not_parsed_unless_a_rule_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("it was parsed"))
    assert queue_of(Match(header="x"), body=b"{}", event_type="json:type") == "default"
    assert queue_of(Match(event_types=("a",)), headers={"X-Event": "a"}, body=b"{}", event_type=EVENT) == "special"


def test_a_body_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bytes] = []
    real = json.loads

    def loads(text: bytes) -> Any:
        calls.append(text)
        return real(text)

    monkeypatch.setattr(json, "loads", loads)
    routes = tuple(Route(queue=str(number), match=Match(json_path=f"a{number}")) for number in range(5))
    routes += (Route(queue="b", match=Match(event_types=("x",))), Route(queue="default"))
    assert Router(routes, "json:type").route(CIMultiDict(), "", b'{"type": "y"}') == ("default", None, None, "y")
    assert len(calls) == 1


def test_an_event_type_is_text_of_bounded_length() -> None:
    router = Router((Route(queue="a", match=Match(event_types=("x",))), Route(queue="default")), "json:type")
    assert router.route(CIMultiDict(), "", json.dumps({"type": "y" * 1000}).encode())[-1] == "y" * KEPT
    for value in (1, None, ["x"], {"x": 1}):
        assert router.route(CIMultiDict(), "", json.dumps({"type": value}).encode())[-1] is None
    long = Router((Route(queue="default"),), EVENT).route(CIMultiDict({"X-Event": "y" * 1000}), "", b"")
    assert long == ("default", None, None, "y" * KEPT)


@given(st.binary(max_size=60), st.from_regex(r"[a-z0-9.]{1,10}", fullmatch=True))
def test_any_body_and_any_path_give_a_queue(body: bytes, path: str) -> None:
    assert queue_of(Match(json_path=path, json_values=("x",)), body=body) in ("special", "default")
