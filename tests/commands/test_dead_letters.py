"""Dead letters as values: whoever made them, which are meant, and what a person sees of them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.envelope import Attempt, Envelope, decode, encode
from forebay.errors import SpecError
from forebay.topology import Names
from forebay_cli.dead.choice import Choice, moment
from forebay_cli.dead.letter import Letter, read
from forebay_cli.dead.show import body_lines, full, sections, summary
from tests.support.envelopes import envelope

NAMES = Names("payments", "github")
DIED = 1_790_000_100_000
BURIED = (
    envelope().failed(Attempt(at=DIED - 5000, ms=12, error="HTTP 503", status=503)).buried("exhausted", "why", DIED)
)


def letter(of: Envelope, **headers: Any) -> Letter:
    message = encode(of)
    return read(message.message_id, message.content_type, {**message.headers, **headers}, message.body, NAMES)


def death(**changes: Any) -> dict[str, Any]:
    return {
        "count": 1,
        "reason": "delivery_limit",
        "queue": "forebay.payments.github.default",
        "time": datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC).replace(tzinfo=None),
        "exchange": "forebay.payments.github",
        "routing-keys": ["forebay.payments.github.default"],
        **changes,
    }


def test_a_letter_of_a_worker_says_why_it_died() -> None:
    dead = letter(BURIED)
    assert (dead.id, dead.reason, dead.detail, dead.queue, dead.died_at) == (
        BURIED.id,
        "exhausted",
        "why",
        "default",
        DIED,
    )


def test_a_letter_of_the_broker_says_so_too_and_a_stay_in_a_delay_tier_is_no_death() -> None:
    tier = death(reason="expired", queue="forebay.delay.5")
    dead = letter(envelope(), **{"x-death": [tier, death()]})
    assert (dead.reason, dead.died_at) == ("delivery-limit", 1_790_000_000_000)
    assert "no worker lived" in dead.detail


def test_what_the_destination_answered_stands_below_the_attempt_unless_its_line_says_it_all() -> None:
    attempts = [
        Attempt(at=DIED, ms=1, error="HTTP 500: no order", status=500, answer="no\norder"),
        Attempt(at=DIED, ms=1, error="HTTP 500: <h1>Oh", status=500, answer="<h1>Oh\n  dear</h1>"),
    ]
    worn = envelope()
    for attempt in attempts:
        worn = worn.failed(attempt)
    dead = letter(worn.buried("exhausted", "why", DIED))
    lines = dict(sections(dead))["attempts (2)"]
    assert [line[5:] for line in lines if line.startswith("     |")] == ["| <h1>Oh", "|   dear</h1>"]
    assert [attempt["answer"] for attempt in full(dead)["attempts"]] == ["no\norder", "<h1>Oh\n  dear</h1>"]


def test_a_replayed_letter_is_as_it_came_in_but_for_where_it_comes_from() -> None:
    message = letter(BURIED, **{"x-death": [death()]}).revived()
    again = decode(message.message_id, message.content_type, message.headers, message.body)
    assert again.replayed_from == "exhausted at 2026-09-21T14:15:00Z after 1 attempts"
    assert again.attempt == 1
    assert encode(again).headers.keys() == {*encode(envelope()).headers, "forebay-replayed-from"}
    assert (again.body, again.header_block, again.id) == (BURIED.body, BURIED.header_block, BURIED.id)


def test_what_is_no_envelope_is_replayed_byte_for_byte_without_its_obituary() -> None:
    headers = {"forebay-reason": "undecodable", "forebay-detail": "no version", "forebay-dead-at": DIED, "own": "kept"}
    dead = read(None, "text/x", {**headers, "forebay-queue": "releases", "x-death": [death()]}, b"\x00\xff", NAMES)
    assert (dead.reason, dead.detail, dead.died_at, dead.queue) == ("undecodable", "no version", DIED, "releases")
    assert dead.id.startswith("raw-")
    message = dead.revived()
    assert (message.body, message.content_type) == (b"\x00\xff", "text/x")
    assert message.headers == {"own": "kept", "forebay-queue": "releases"}


def test_what_is_no_envelope_and_died_of_the_broker_knows_its_queue_from_it() -> None:
    dead = read("id-1", None, {"x-death": [death()]}, b"", NAMES)
    assert (dead.id, dead.queue, dead.died_at) == ("id-1", "default", 1_790_000_000_000)


@pytest.mark.parametrize("at", [-1, 0, 2**62])
def test_a_time_that_somebody_made_up_hinders_no_replay(at: int) -> None:
    dead = letter(envelope().buried("exhausted", "", at))
    assert dead.died_at is None
    assert (dead.reason, dead.revived().body) == ("exhausted", envelope().body)
    assert list(sections(dead))


@given(
    st.none() | st.text(),
    st.dictionaries(
        st.sampled_from(["x-death", "forebay-queue", "forebay-reason", "forebay-dead-at", "forebay-envelope", "y"]),
        st.none() | st.integers() | st.text() | st.binary() | st.lists(st.dictionaries(st.text(), st.integers())),
    ),
    st.binary(),
)
def test_any_message_can_be_read_and_shown(id_: str | None, headers: dict[str, Any], body: bytes) -> None:
    dead = read(id_, None, headers, body, NAMES)
    assert dead.revived().body == body
    json.dumps(full(dead))
    assert list(sections(dead))


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        (Choice(), True),
        (Choice(ids=frozenset({BURIED.id})), True),
        (Choice(ids=frozenset({"other"})), False),
        (Choice(reasons=frozenset({"gone", "exhausted"})), True),
        (Choice(reasons=frozenset({"gone"})), False),
        (Choice(event_types=frozenset({"pu*"})), True),
        (Choice(event_types=frozenset({"pus"})), False),
        (Choice(queues=frozenset({"default"})), True),
        (Choice(queues=frozenset({"releases"})), False),
        (Choice(since=DIED), True),
        (Choice(since=DIED + 1), False),
        (Choice(until=DIED), False),
        (Choice(until=DIED + 1), True),
        (Choice(reasons=frozenset({"exhausted"}), queues=frozenset({"releases"})), False),
    ],
)
def test_a_letter_is_meant_if_every_condition_holds(choice: Choice, meant: bool) -> None:  # a case's
    assert choice.means(letter(BURIED)) is meant


def test_a_letter_without_a_time_or_type_is_not_meant_by_either() -> None:
    dead = read("x", None, {}, b"", NAMES)
    assert Choice().means(dead)
    assert not Choice(since=0).means(dead)
    assert not Choice(event_types=frozenset({"*"})).means(dead)


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("30s", 970_000),
        ("1.5m", 910_000),
        ("1970-01-01T00:00:10Z", 10_000),
        ("1970-01-01T01:00:10+01:00", 10_000),
        ("1970-01-02", 86_400_000),
    ],
)
def test_times_are_so_long_ago_or_a_date(text: str, millis: int) -> None:
    assert moment(text, now=1000.0) == millis


@pytest.mark.parametrize("text", ["", "yesterday", "5", "m", "-5m", "2026-13-01"])
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(SpecError, match="2h or 3d"):
        moment(text, now=0.0)


def test_showing_a_letter_tells_every_attempt_the_headers_and_the_body() -> None:
    shown = dict(sections(letter(BURIED)))
    assert shown["why"][0] == "exhausted: why"
    assert shown["attempts (1)"] == ["  1. 2026-09-21T14:14:55Z      12 ms  status 503  HTTP 503"]
    assert "X-GitHub-Event: push" in shown["headers"]
    assert shown["body (37 bytes, application/json)"] == ["{", '  "zen": "Keep it logically awesome."', "}"]


def test_attempts_that_are_not_remembered_are_counted() -> None:
    failing = envelope()
    for number in range(25):
        failing = failing.failed(Attempt(at=DIED, ms=1, error=f"e{number}"))
    shown = dict(sections(letter(failing.buried("exhausted", "", DIED))))["attempts (25)"]
    assert shown[0].startswith("the first 5 are not")
    assert shown[1].startswith("  6. ")
    assert shown[-1].endswith("no answer  e24")


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"", []),
        (b"a=1&b=2", ["a=1&b=2"]),
        ('{"ü": 1}'.encode(), ["{", '  "ü": 1', "}"]),
        (b"\x1b[2J", ["1b 5b 32 4a                                      .[2J"]),
        (b"\xff" * 17, ["ff " * 15 + "ff" + " " * 1 + " ................"[0:], "ff" + " " * 46 + " ."]),
    ],
)
def test_a_body_is_shown_as_json_as_text_or_in_hex(body: bytes, lines: list[str]) -> None:
    assert [line.split() for line in body_lines(body)] == [line.split() for line in lines]


def test_a_long_body_of_bytes_says_how_to_save_it() -> None:
    assert body_lines(b"\xff" * 1000)[-1] == "… and 744 more; --body-to FILE saves them"


def test_a_list_says_when_why_and_of_what() -> None:
    told = summary(letter(BURIED))
    assert (told["reason"], told["event_type"], told["attempts_made"], told["died_at"]) == (
        "exhausted", "push", 1, "2026-09-21T14:15:00Z",
    )  # fmt: skip


def test_a_body_that_is_no_text_reaches_scripts_in_base64() -> None:
    assert full(letter(envelope(body=b"\xff").buried("gone", "", DIED)))["body_base64"] == "/w=="
