"""A few seconds of everything a stranger might send, beside legitimate webhooks that must not suffer; and who watches the watcher."""

from pathlib import Path

import pytest

from bench.fuzz import report
from bench.fuzz.answers import NotHTTPError, answers
from bench.fuzz.options import Options, Pace
from bench.fuzz.run import perform
from bench.fuzz.seen import Seen
from bench.fuzz.shots import shot

# Of deadlines so short that each is met several times, and of more connections than there may be.
SHORT = Pace(
    calm_s=1,
    attack_s=6,
    rounds=2,
    shots=150,
    idle=(250, 600),
    slow=12,
    rate=100,
    limits="{connections: 400, firstByteTimeout: 1s, headersTimeout: 1s, bodyTimeout: 2s, keepAliveTimeout: 2s}",
)
SEED = 20261128  # the same shots each time: new ones are for `make fuzz`


@pytest.mark.faults
async def test_whatever_strangers_send_legitimate_webhooks_are_taken_and_the_endpoint_lives(tmp_path: Path) -> None:
    given = Options(pace=SHORT, quick=True, seed=SEED, shot=None, suite=None, output=tmp_path / "fuzz.json")
    results = await perform(given)
    # How fast they are taken is measured where the machine is not shared with other tests.
    assert [one for one in report.missed(results, quick=True) if "p99" not in one] == []
    assert results["legitimate"]["acked"] > 500
    assert results["attack"]["shots"] > 500
    assert results["attack"]["accepted"] > 0
    assert {"202", "400", "401", "404", "431"} <= results["attack"]["statuses"].keys()
    assert results["attack"]["crowd"]["slow head"]["answers"]["408"] > 0
    assert results["displaced"] > 0


def test_a_shot_is_drawn_from_its_seed_and_number_alone() -> None:
    drawn = [shot(7, number, "f00d", "/hook") for number in range(500)]
    assert drawn == [shot(7, number, "f00d", "/hook") for number in range(500)]
    assert len({one.kind for one in drawn}) == 10
    assert drawn != [shot(8, number, "f00d", "/hook") for number in range(500)]


REFUSED = b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 2\r\nAllow: POST\r\n\r\n"


def test_answers_to_head_have_no_body_and_others_do() -> None:
    found, cut = answers(REFUSED + REFUSED + b"{}" + REFUSED)
    assert ([one.status for one in found], cut) == ([405] * 3, b"")


@pytest.mark.parametrize("size", [20, len(REFUSED) + 1])
def test_an_answer_that_was_cut_is_told_apart(size: int) -> None:
    found, cut = answers((REFUSED + b"{}")[:size])
    assert ([one.status for one in found], len(cut)) == ([], size)


@pytest.mark.parametrize(
    "text", [b"HTTP/1.1 99 No\r\n\r\n", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"]
)
def test_what_is_no_answer_is_found(text: bytes) -> None:
    with pytest.raises(NotHTTPError):
        answers(text)


@pytest.mark.parametrize(
    ("came", "found"),
    [
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", "answered 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "answered 200"),
        (b"Traceback (most recent call last)\r\n\r\n", "not HTTP"),
        (REFUSED + b"{", "an answer cut short"),
        (b"", None),
        (REFUSED + b"{}", None),
    ],
)
def test_what_no_stranger_should_see_is_a_finding(came: bytes, found: str | None) -> None:
    seen = Seen()
    seen.answered(shot(1, 1, "f00d", "/hook"), came, ended=True)
    assert list(seen.found) == ([found] if found else [])
