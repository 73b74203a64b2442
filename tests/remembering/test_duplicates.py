"""The decision about each webhook: a copy waits for the first, takes its place if that one fails, and nothing is dropped wrongly."""

import asyncio
from collections.abc import Callable

import pytest

from forebay.settings import Answer, IngestLimits
from forebay.signatures.replies import Reply
from forebay_ingest import answers
from forebay_ingest.duplicates import Duplicates
from forebay_ingest.receive import Respond, Verdict

FAILED = answers.BROKER_REFUSALS["disconnected"]
DUPLICATE = Reply(200, (("Content-Type", "text/plain; charset=utf-8"), ("X-Forebay-Duplicate", "true")), b"thanks")


class Confirmed(set[bytes]):
    """A memory."""

    known = set.__contains__

    def confirmed(self, digest: bytes) -> None:
        assert digest not in self
        self.add(digest)


class Place:
    """The decision with a broker in whose place the test speaks."""

    def __init__(self, **limits: int) -> None:
        self.memory = Confirmed()
        self.duplicates = Duplicates(
            lambda headers, target, body: headers.get("id", "").encode() or None,
            self.memory, Answer(status=200, body="thanks"), IngestLimits(**limits),
        )  # fmt: skip
        self.published: list[Respond] = []  # what waits for the broker's word

    def send(self, one: str, publish: Callable[[Respond], None] | None = None, body: bytes = b"x") -> list[Verdict]:
        verdicts: list[Verdict] = []
        self.duplicates.pass_on({"id": one}, "/", body, verdicts.append, publish or self.published.append)
        return verdicts


def test_what_was_confirmed_is_dropped_and_answered_like_the_first() -> None:
    place = Place()
    first = place.send("a")
    place.published[0](b"id-1")
    assert (first, place.send("a")) == ([b"id-1"], [DUPLICATE])
    assert (len(place.published), place.duplicates.dropped) == (1, 1)


def test_a_copy_that_comes_before_the_confirm_waits_for_it() -> None:
    place = Place()
    first, second, third = place.send("a"), place.send("a"), place.send("a")
    assert (second, third, len(place.published)) == ([], [], 1)
    place.published[0](b"id-1")
    assert (first, second, third) == ([b"id-1"], [DUPLICATE], [DUPLICATE])


async def test_if_the_first_fails_the_copies_are_published_one_after_the_other() -> None:
    place = Place()
    first, second, third = place.send("a"), place.send("a"), place.send("a")
    place.published[0](FAILED)
    assert (first, second) == ([FAILED], [])
    assert not place.memory
    await asyncio.sleep(0)
    assert len(place.published) == 2
    fourth = place.send("a")
    place.published[1](FAILED)
    await asyncio.sleep(0)
    place.published[2](b"id-3")
    assert (second, third, fourth) == ([FAILED], [b"id-3"], [DUPLICATE])
    assert place.memory == {b"a"}


async def test_a_thousand_copies_meet_a_broker_that_is_down() -> None:
    place = Place()
    place.send("a")
    copies = [place.send("a", lambda respond: respond(FAILED)) for _ in range(1000)]
    place.published[0](FAILED)
    for _ in range(1002):
        await asyncio.sleep(0)
    assert copies == [[FAILED]] * 1000
    place.send("a")
    assert len(place.published) == 2


def test_a_webhook_without_an_id_is_published_and_counted() -> None:
    place = Place()
    place.send("")
    place.send("")
    assert (len(place.published), place.duplicates.unidentified, place.duplicates.dropped) == (2, 2, 0)


async def test_a_webhook_that_can_not_be_published_lets_the_next_copy_try() -> None:
    def broken(_: Respond) -> None:
        raise ValueError("broken")

    place, told = Place(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    with pytest.raises(ValueError, match="broken"):
        place.send("a", broken)
    place.send("a")
    second, third = place.send("a", broken), place.send("a")
    place.published[0](FAILED)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert second == [answers.UNHANDLED]
    assert len(told) == 1
    place.published[1](b"id-3")
    assert third == [b"id-3"]


@pytest.mark.parametrize("limits", [{"in_flight_bytes": 25}, {"in_flight": 2}])
def test_what_waits_is_bounded(limits: dict[str, int]) -> None:
    place = Place(**limits)
    copies = [place.send("a", body=b"x" * 10) for _ in range(5)]
    busy = answers.BROKER_REFUSALS["busy"]
    assert copies == [[], [], [], [busy], [busy]]
    place.published[0](b"id-1")
    assert copies[:3] == [[b"id-1"], [DUPLICATE], [DUPLICATE]]
    place.send("b")
    assert place.send("b", body=b"x" * 25) == []
