"""The endpoint reads HTTP as aiohttp's server does, byte for byte; each difference is written down with its reason."""

import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.receiving.corpus import CORPUS, SPICES, edited, segments_of, split
from tests.receiving.side_by_side import BODY_LIMIT, METHODS, Pair, Said, both

# name -> (ours, theirs, why). `theirs` is what aiohttp makes of all of it in one segment.
DIFFERENCES: dict[str, tuple[Said, Said, str]] = {
    **dict.fromkeys(
        ("TE empty", "CL too small"),
        (
            Said(("2xx", "4xx"), open=False),
            Said(("4xx",), open=False),
            "aiohttp forgets a whole request if what follows in the same segment is an error; ours was whole, and answered",
        ),
    ),
    **dict.fromkeys(
        ("Connection close", "HTTP/1.0"),
        (
            Said(("2xx",), open=False),
            Said(("4xx",), open=False),
            "the same: what follows the last request of a connection is an error to aiohttp, and nothing to us",
        ),
    ),
    **dict.fromkeys(
        ("CL beyond the limit", "chunked beyond the limit"),
        (
            Said(("4xx",), open=False),
            Said(("4xx",), open=True),
            "we refuse from the head or at the limit, with the rest unread, so the connection can not go on",
        ),
    ),
    **dict.fromkeys(
        ("HTTP/0.9 alone", "HTTP/0.9 of a lost space", "HTTP/2.0 alone"),
        (
            Said(("4xx",), open=False),
            Said(("2xx",), open=False),
            "who means another HTTP than 1.0 or 1.1 means other rules too, or has lost a space",
        ),
    ),
    "asterisk form": (
        Said(("4xx", "2xx"), open=True),
        Said(("2xx", "2xx"), open=True),
        "* is no path below the source's",
    ),
    "authority form": (
        Said(("2xx",), open=False),
        Said(("2xx", "2xx"), open=True),
        "what follows a CONNECT is no HTTP; no source takes the method anyway",
    ),
    "HTTP/1.0 kept alive": (
        Said(("2xx",), open=False),
        Said(("2xx", "2xx"), open=True),
        "keep-alive was never part of HTTP/1.0, and proxies get it wrong",
    ),
    **dict.fromkeys(
        ("Upgrade h2c", "Upgrade h2c and more behind"),
        (
            Said(("2xx",), open=False),
            Said(("2xx",), open=True),
            "the parser drops what follows an offer to upgrade; we say that the connection ends, aiohttp leaves it hanging",
        ),
    ),
    **dict.fromkeys(
        ("Upgrade websocket", "Upgrade websocket, chunked"),
        (
            Said(("2xx",), open=False),
            Said(("2xx", "2xx"), open=True),
            "the parser stops at an offer of WebSocket; we take the webhook and end the connection",
        ),
    ),
}


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it tells each bad request with its traceback
    async with both(tmp_path) as servers:
        yield servers


async def test_we_read_everything_as_aiohttp_does_but_for_what_is_written_down(pair: Pair) -> None:
    found = {}
    for name in CORPUS:
        ours, theirs = await pair.ours(segments_of(name)), await pair.theirs(segments_of(name))
        if ours != theirs:
            found[name] = (ours, theirs)
    assert found == {name: (ours, theirs) for name, (ours, theirs, _) in DIFFERENCES.items()}


async def test_it_does_not_matter_how_a_stream_is_split(pair: Pair) -> None:
    for name in CORPUS:
        stream = b"".join(segments_of(name))
        bytewise = tuple(bytes((byte,)) for byte in stream[:600]) + ((stream[600:],) if stream[600:] else ())
        assert await pair.ours(bytewise) == await pair.ours((stream,)), name
        taken = pair.taken()
        assert taken[: len(taken) // 2] == taken[len(taken) // 2 :], name


SPICE = st.sampled_from(SPICES)
PLAIN = st.sampled_from(sorted(name for name in CORPUS if name not in DIFFERENCES))
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), SPICE | st.binary(max_size=2)), max_size=4)
STREAMS = st.builds(
    lambda names, edits: edited(b"".join(b"".join(segments_of(name)) for name in names), edits),
    st.lists(PLAIN, min_size=1, max_size=3),
    EDITS,
) | st.binary(max_size=200)
CUTS = st.lists(st.floats(0, 1), max_size=6)


# A request line that ends after the target: at the beginning of a line, or right behind the body before it.
WITHOUT_VERSION = rb"(?m:(?:^[A-Z]+|%b) [^ \r\n]* *\r?$)" % "|".join(METHODS).encode()


def explained(stream: bytes, ours: Said, theirs: Said) -> bool:
    """Whether one of the differences above is the reason."""
    if theirs == Said(("4xx",), open=False):
        return not ours.open  # it forgot what was whole before the error, or minds what follows the last request
    lower = stream.lower()
    if not ours.open and (b"upgrade" in lower or b"connect" in lower or b"http/1.0" in lower or b"413" in lower):
        return True
    if "4xx" in ours.classes and re.search(WITHOUT_VERSION + rb"|HTTP/(0\.9|2\.0)", stream):
        return True
    said = re.findall(rb"(?i)content-length[ \t]*:[ \t]*([0-9]{1,20})", stream)
    too_large = len(stream) > BODY_LIMIT or any(int(length) > BODY_LIMIT for length in said)
    return b"*" in stream or ("4xx" in ours.classes and too_large)


# The same examples each time: a new one is for whoever searches (with more examples, and not derandomized), not for whoever
# changes something else.
FUZZ = settings(
    max_examples=300,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)


@FUZZ
@given(STREAMS, CUTS)
async def test_mutilated_requests_are_read_as_aiohttp_does_however_they_are_split(
    pair: Pair, stream: bytes, cuts: list[float]
) -> None:
    ours = await pair.ours(split(stream, cuts))
    taken = pair.taken()
    assert ours == await pair.ours((stream,))
    assert taken == pair.taken()
    assert "5xx" not in ours.classes
    theirs = await pair.theirs((stream,))
    assert ours == theirs or explained(stream, ours, theirs)
