"""A request that came in one piece is read as by a parser of its own; and nothing that a sender sends is left to the next sender's."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forebay.settings import IngestLimits
from forebay_ingest.parsing import Whole, WholeReader, made_parser
from tests.receiving.corpus import CORPUS, EMPTY, GOOD, NEXT, SPICES, edited, req, segments_of

STREAMS = tuple(b"".join(segments_of(name)) for name in CORPUS)
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), st.sampled_from(SPICES)), max_size=3)
SENT = st.builds(edited, st.sampled_from((*STREAMS, GOOD, GOOD, NEXT)), EDITS)
LIMITS = IngestLimits(body_bytes=4096, header_bytes=8190)


class Flow:
    """What a parser of a connection's own tells of bodies."""

    def pause_reading(self) -> None: ...
    def resume_reading(self, *, resume_parser: bool = True) -> None: ...


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def as_read_alone(data: bytes, loop: asyncio.AbstractEventLoop) -> tuple[Any, bytes, bool]:
    """What a parser of its own makes of it: head and body, and whether it reads the next request when its time has come."""
    parser = made_parser(LIMITS, loop, Flow())
    ((head, body),), _, _ = parser.feed_data(data)
    assert body.is_eof()
    content = body.read_nowait()
    parser.message_consumed()
    left, _, _ = parser.feed_data(b"")
    assert not left
    if head.should_close:
        return head, content, True
    ((following, _),), _, _ = parser.feed_data(NEXT)
    return head, content, following.raw_headers == ((b"Host", b"x"), (b"Content-Length", b"1"))


def same(found: Whole | None, head: Any, body: bytes) -> bool:
    names = ("method", "path", "version", "headers", "raw_headers", "should_close", "chunked", "upgrade", "url")
    return found is not None and found[2] == body and all(getattr(found[0], n) == getattr(head, n) for n in names)


@given(st.lists(SENT, min_size=1, max_size=6))
@example([b"\r\n" + GOOD])
@example([b"\n" + GOOD])
def test_what_is_read_the_short_way_is_what_a_parser_of_its_own_reads(
    loop: asyncio.AbstractEventLoop, streams: list[bytes]
) -> None:
    reader = WholeReader(LIMITS, loop)
    for data in streams:
        found = reader.read(data)
        if found is not None:
            head, body, goes_on = as_read_alone(data, loop)
            assert same(found, head, body)
            assert goes_on
            assert data.endswith(found[1] + b"\r\n" + body)
            assert found[1].count(b"\n") == len(head.raw_headers)


@given(st.lists(SENT, min_size=1, max_size=6))
def test_nothing_of_one_sender_is_left_to_the_next(loop: asyncio.AbstractEventLoop, streams: list[bytes]) -> None:
    reader = WholeReader(LIMITS, loop)
    head, body, _ = as_read_alone(GOOD, loop)
    for data in streams:
        reader.read(data)
        assert same(reader.read(GOOD), head, body), data


@pytest.mark.parametrize("name", ["a plain webhook", "GET with a body", "Connection close", "HTTP/1.0"])
def test_usual_requests_are_read_the_short_way(loop: asyncio.AbstractEventLoop, name: str) -> None:
    alone = segments_of(name)[0].removesuffix(NEXT)
    reader = WholeReader(LIMITS, loop)
    for _ in range(3):
        found = reader.read(alone)
        assert found is not None
        assert found[2] == b"abc"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GOOD[:-1], id="a body that is not complete"),
        pytest.param(GOOD[: GOOD.index(b"\r\n\r\n") + 4], id="a head alone"),
        pytest.param(GOOD[:20], id="half a head"),
        pytest.param(GOOD + NEXT, id="two requests"),
        pytest.param(EMPTY, id="no body"),
        pytest.param(req("X: " + "a" * 5000, "Content-Length: 3", body=b"abc"), id="a large head"),
    ],
)
def test_what_is_not_one_whole_request_is_left_to_the_long_way(loop: asyncio.AbstractEventLoop, data: bytes) -> None:
    assert WholeReader(LIMITS, loop).read(data) is None
