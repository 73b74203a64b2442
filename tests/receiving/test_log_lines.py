"""One line per event that a person can read and a program can parse, and trace contexts that can be trusted to be some."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.telemetry import Log, Throttle, traceparent

VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.text()))


def written(form: str, level: str = "info", **fields: Any) -> str:
    stream = io.StringIO()
    Log({"part": "ingest"}, form=form, stream=stream, clock=lambda: 1_790_000_000.5).write(
        level, "request.refused", fields
    )
    return stream.getvalue()


def test_a_line_for_a_terminal() -> None:
    assert written("text", status=401, cause="signature", note="two words") == (
        '14:13:20.500 info ingest: request.refused  status=401 cause=signature note="two words"\n'
    )


def test_a_line_for_a_collector() -> None:
    assert json.loads(written("json", status=401, absent=None)) == {
        "time": "2026-09-21T14:13:20.500Z", "level": "info", "event": "request.refused", "part": "ingest", "status": 401,
    }  # fmt: skip


@pytest.mark.parametrize("form", ["json", "text"])
@given(fields=st.dictionaries(st.from_regex(r"[a-z]{3,8}", fullmatch=True), VALUES, max_size=5))
def test_whatever_a_stranger_sends_an_event_is_one_line_of_printable_text(form: str, fields: dict[str, Any]) -> None:
    line = written(form, **{f"x_{name}": value for name, value in fields.items()})
    assert line.endswith("\n")
    assert line[:-1].isprintable()


def test_lines_below_the_level_are_not_written() -> None:
    assert written("json", "debug") == ""


def test_a_reader_who_left_stops_nothing() -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    Log({}, stream=Closed()).info("x")


def test_a_flood_of_one_kind_is_a_few_lines_and_a_count() -> None:
    now = [0.0]
    throttle = Throttle(2, clock=lambda: now[0])
    assert [throttle.admit("a") for _ in range(5)] == [0, 0, None, None, None]
    assert throttle.admit("b") == 0
    now[0] = 1.0
    assert [throttle.admit("a") for _ in range(3)] == [3, 0, None]


GOOD = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_context_is_taken_over_as_it_is() -> None:
    assert traceparent(GOOD) == GOOD.decode()


@pytest.mark.parametrize(
    "header",
    [
        None, b"", b"x", GOOD.upper(), GOOD + b"\n", b" " + GOOD, GOOD[:-1], GOOD + b"-x", GOOD.replace(b"00-", b"ff-", 1),
        b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", b"00-4bf92f3577b34da6a3ce929d0e0e4736-" + b"0" * 16 + b"-01",
        GOOD.replace(b"4", b"\xc2\xb2"),
    ],
)  # fmt: skip
def test_what_is_no_trace_context_is_dropped(header: bytes | None) -> None:
    assert traceparent(header) is None
