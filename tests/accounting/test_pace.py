"""What is said of the pace of a source: which webhook has overtaken another of its key, and what the destination's clock shows."""

import math
from pathlib import Path

import pytest

from bench.faults import pace
from bench.faults.acts import Act
from bench.faults.kinds import FEATURES, TOGETHER, Kind
from bench.faults.ledger import Answer, Entry, Ledger
from bench.faults.order import pairs
from bench.faults.rounds import Round
from bench.faults.webhooks import KEYS


def entry(number: int, sent: float, *, acked: bool = True, came: float = math.inf, ended: float = math.inf) -> Entry:
    """A webhook that was answered half a second after it was sent."""
    return Entry(
        number=number, phase="calm", first_sent=sent, sent=sent, answered=sent + 0.5, deliveries=1, dead=0, event_id="",
        answer=Answer.ACKED if acked else Answer.REFUSED, came=came, ended=ended, cause="",
    )  # fmt: skip


def overtaken(*entries: Entry) -> list[tuple[int, int]]:
    """Of webhooks of one key."""
    return [(pair.first.number, pair.second.number) for pair in pairs(entries, lambda _: "a") if pair.overtaken]


def test_who_comes_before_the_destination_is_done_with_an_earlier_one_has_overtaken_it() -> None:
    first = entry(1, 0, came=2, ended=3)
    assert overtaken(first, entry(2, 1, came=3.1)) == []
    assert overtaken(first, entry(2, 1, came=2.9)) == [(1, 2)]


def test_of_two_that_were_on_their_way_at_once_neither_is_the_first() -> None:
    assert overtaken(entry(1, 0, came=2, ended=3), entry(2, 0.4, came=1)) == []


def test_one_that_was_refused_has_no_place_in_the_order_and_keeps_to_that_of_others_all_the_same() -> None:
    assert overtaken(entry(1, 0, acked=False, came=5, ended=6), entry(2, 1, came=2)) == []
    assert overtaken(entry(1, 0, came=5, ended=6), entry(2, 1, acked=False, came=2)) == [(1, 2)]


def test_what_the_destination_was_never_done_with_is_another_matter() -> None:
    assert overtaken(entry(1, 0), entry(2, 1, came=2)) == []


def test_keys_are_nothing_to_each_other() -> None:
    found = pairs([entry(1, 0, came=5, ended=6), entry(2, 1, came=2)], str)
    assert list(found) == []


def ledger(attempts: int, every_s: float) -> Ledger:
    """As many webhooks, each acknowledged before the next of its key is sent, and delivered at once."""
    made = Ledger("cafe")
    for number in range(attempts):
        now = number * every_s
        made.ack(made.send(now), now + every_s, f"id-{number}")
        made.come(number, now + every_s, 1)
        made.deliver(number, now + every_s, f"id-{number}")
    return made


def kind(name: str) -> Kind:
    return next(kind for kind in FEATURES if kind.name == name)


def figures(of: Kind, book: Ledger) -> dict[str, object]:
    return pace.paced(of.source("http://127.0.0.1:9/", Path("/tmp/bodies")), of.habits, book)


def test_the_worst_ten_seconds_are_compared_with_the_rate_limit() -> None:
    for rate in (300, 400):
        told = figures(kind("rate-limit"), ledger(20 * rate, 1 / rate))["worst_window_ratio"]
        assert told == pytest.approx(rate / 300, rel=0.01)


def test_every_webhook_that_has_one_before_it_is_counted_and_who_overtook_is_named() -> None:
    book = ledger(2 * KEYS + 1, 0.01)
    assert figures(kind("ordering"), book)["in_order"] == KEYS + 1
    late = book.send(10)
    book.ack(late, 11, "late")
    last = book.send(12)  # of another key
    book.come(last, 12, 1)
    told = figures(kind("ordering"), book)
    assert (told["overtaken"], told["overtakings"]) == (0, [])
    for _ in range(KEYS - 2):
        book.send(13)
    of_the_same = book.send(14)
    book.come(of_the_same, 15, 1)
    book.deliver(late, 16, "late")
    told = figures(kind("ordering"), book)
    assert told["overtaken"] == 1
    assert f"webhook {late}," in str(told["overtakings"])


def test_attempts_while_the_destination_wants_none_are_told_for_each_webhook_that_was_sent_then() -> None:
    book = ledger(1, 1)
    with book.during("destination busy"):
        for _ in range(4):
            book.send(5)
        book.come(0, 6, 1)
    assert figures(kind("breaker"), book) == {"busy_ratio": 0.25, "failing_ratio": None}


def test_what_was_taken_and_refused_while_the_broker_was_away_is_counted() -> None:
    book = ledger(3, 1)
    with book.during("broker away"):
        book.ack(book.send(5), 6, "a")
        book.refuse(book.send(5), 6, 503, "storage", retry_after=True)
    told = figures(kind("outage-buffer"), book)
    assert (told["taken_while_away"], told["refused_while_away"]) == (1, 1)


def test_a_source_has_bars_for_what_it_asks_for_and_what_is_played() -> None:
    def bars(*acts: str) -> set[str]:
        played = tuple(Act(name=name, play=_nothing) for name in acts)
        return {bar.key.rpartition(".")[2] for bar in pace.bars(Round(kind=TOGETHER, acts=played))}

    always = {"worst_window_ratio", "overtaken", "in_order", "copies_dropped", "large_delivered"}
    assert bars("calm") == always
    everything = bars("destination busy", "destination fails", "SIGTERM of each worker")
    assert everything == always | {"at_once_ratio", "failing_ratio", "busy_ratio"}


async def _nothing(_: object) -> None: ...
