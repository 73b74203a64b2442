"""What is concluded of one webhook from its dead letter, the workers' lines and the queues; and what is left open."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from forebay.envelope import Attempt, Envelope, encode
from forebay.identity import born, uuid7
from forebay.topology import Names
from forebay_cli.dead.letter import Letter, read
from forebay_cli.life.facts import Facts, Queue
from forebay_cli.life.life import Life, life
from forebay_cli.life.said import holds, said
from forebay_cli.life.show import as_json, screen
from tests.support.envelopes import envelope

NAMES = Names("payments", "github")
ACCEPTED = 1_790_000_000_000  # 2026-09-21T14:13:20Z
NOW = ACCEPTED + 3_600_000
ID = uuid7(ACCEPTED, "0123456789abcdef012")
NONE = {"default": Queue(waiting=0, in_flight=0)}


def line(event: str, at: int, **fields: Any) -> str:
    """A line of a worker, `at` ms after the webhook was accepted."""
    second, millis = divmod(ACCEPTED + at, 1000)
    stamp = f"2026-09-21T14:{13 + (second - ACCEPTED // 1000 + 20) // 60:02d}:{(second - ACCEPTED // 1000 + 20) % 60:02d}.{millis:03d}Z"
    known = {"time": stamp, "event": event, "id": ID, "queue": "default", "delivery_id": "theirs", "ms": 10.0}
    return json.dumps({**known, **fields})


def retry(number: int, at: int, tier: int = 5) -> str:
    return line("delivery.retry", at, attempt=number, status=503, error="HTTP 503", retry_in_s=tier)


def told(*lines: str, wanted: str = ID, **changes: Any) -> Life:
    now = changes.pop("now", NOW)
    facts = Facts(
        wanted=wanted, source="payments/github", now=now, letter=None, letters_seen=True,
        said=said(lines, wanted, now), queues=NONE,
    )  # fmt: skip
    return life(dataclasses.replace(facts, **changes))


def letter(of: Envelope) -> Letter:
    message = encode(of)
    return read(message.message_id, message.content_type, message.headers, message.body, NAMES)


def moments(one: Life) -> list[tuple[str, str]]:
    return [(moment.what, moment.text) for moment in one.moments]


def test_a_dead_letter_tells_each_attempt_and_the_logs_why_it_waited() -> None:
    worn = envelope(id=ID, received_at=ACCEPTED)
    for at in (3000, 8050, 30000):
        worn = worn.failed(Attempt(at=ACCEPTED + at, ms=10, error="HTTP 503", status=503))
    buried = letter(worn.buried("exhausted", "no success in 3 attempts", ACCEPTED + 30010))
    one = told(retry(1, 3010), retry(2, 8060, tier=8), letter=buried)
    assert moments(one) == [
        ("accepted", "stored by the broker and answered 2xx"),
        ("waited", "3.0 s in the queue"),
        ("attempt", "1 after 10 ms: HTTP 503"),
        ("waited", "5 s retry delay"),
        ("attempt", "2 after 10 ms: HTTP 503"),
        ("waited", "8 s retry delay, then 13.9 s for its turn in the queue"),
        ("attempt", "3 after 10 ms: HTTP 503"),
        ("dead", "exhausted: no success in 3 attempts"),
    ]
    assert (one.now.place, one.now.sure) == ("dead letters", True)
    assert one.now.next == f"repair the destination, then forebay dlq replay {ID}"
    without = told(letter=buried)
    assert ("waited", "21.9 s: retry delay, then its turn in the queue") in moments(without)


def test_a_wait_says_what_held_the_workers_meanwhile() -> None:
    lines = [
        json.dumps({"time": "2026-09-21T14:13:00Z", "event": "pace.held", "reasons": ["rate-limit"], "most": 0}),
        "14:13:22.000 info worker: pace.free  ",
        "14:13:27.000 info worker: pace.held  reasons=\"['breaker', 'retry-after']\" most=0 for_s=30.0",
    ]
    held = holds(lines, ACCEPTED + 60_000)
    one = told(retry(1, 3010), retry(2, 28_010, tier=5), holds=held, now=ACCEPTED + 60_000)
    assert [text for what, text in moments(one) if what == "waited"] == [
        "3.0 s in the queue (the workers were held: rate-limit)",
        "5 s retry delay, then 20.0 s for its turn in the queue (the workers were held: breaker, retry-after)",
    ]
    assert one.now.text.endswith("in its queue or in flight; the workers are held: breaker, retry-after")
    free = told(retry(1, 3010), retry(2, 28_010), holds=held[:2], now=ACCEPTED + 60_000)
    assert "held" not in f"{moments(free)[3:]}{free.now.text}"


def test_attempts_that_nobody_remembers_are_said_to_be_missing() -> None:
    worn = envelope(id=ID, received_at=ACCEPTED)
    for number in range(22):
        worn = worn.failed(Attempt(at=ACCEPTED + 10_000 * number, ms=10, error="HTTP 503", status=503))
    one = told(letter=letter(worn.buried("exhausted", "", ACCEPTED + 300_000)))
    assert moments(one)[1][0] == "missing"
    assert moments(one)[1][1].startswith("attempts 1 to 2: ")
    gaps = told(retry(1, 10), retry(4, 30_000), now=ACCEPTED + 30_001)
    assert [text.partition(":")[0] for what, text in moments(gaps) if what == "missing"] == ["attempts 2 to 3"]


def test_a_replay_begins_a_life_anew() -> None:
    one = told(
        retry(1, 10),
        line("delivery.dead", 6000, attempt=2, reason="exhausted", error="HTTP 503"),
        line("delivery.ok", 60_000, attempt=1, status=200, replayed_from="exhausted at 2026-09-21T14:13:26Z after 2 attempts"),
    )  # fmt: skip
    assert [what for what, _ in moments(one)] == [
        "accepted", "attempt", "waited", "attempt", "dead", "replayed", "attempt"
    ]  # fmt: skip
    assert moments(one)[-1] == ("attempt", "1 after 10 ms: delivered, HTTP 200")
    assert (one.now.place, one.now.sure, one.now.text) == ("delivered", True, "delivered at 2026-09-21T14:14:20Z")


def test_what_waits_in_a_tier_is_told_until_when() -> None:
    one = told(retry(1, 10, tier=20), now=ACCEPTED + 9000)
    assert (one.now.place, one.now.sure) == ("delay tier", True)
    assert one.now.text == "in the delay tier of 20 s until 2026-09-21T14:13:40Z; then attempt 2"
    late = told(retry(1, 10, tier=20), now=ACCEPTED + 30_000, orphans=3)
    assert (late.now.place, late.now.sure) == ("queue", False)
    assert "due again since 2026-09-21T14:13:40Z" in late.now.text
    assert "3 orphans" in late.now.text


def test_what_was_given_up_and_is_no_dead_letter_is_gone_unless_they_could_not_be_seen() -> None:
    dead = line("delivery.dead", 10, attempt=1, reason="gone", error="HTTP 410")
    assert told(dead).now.place == "gone"
    assert told(dead, letters_seen=False).now.place == "dead letters"
    assert told(dead).now.next == "forebay dlq list"


def test_a_handler_that_drops_it_is_quoted() -> None:
    one = told(line("delivery.dropped", 10, attempt=1, error="not for us"))
    assert (one.now.place, one.now.text) == ("dropped", "the handler dropped it: not for us")


@pytest.mark.parametrize(
    ("queue", "place"),
    [
        (Queue(waiting=0, in_flight=0), "delivered"),
        (Queue(waiting=9, in_flight=2, oldest_at=ACCEPTED + 5000), "delivered"),
        (Queue(waiting=9, in_flight=2, oldest_at=ACCEPTED - 5000), "queue"),
        (Queue(waiting=0, in_flight=1, oldest_at=ACCEPTED), "queue"),
        (Queue(waiting=9, in_flight=0), "queue"),
        (Queue(waiting=9, in_flight=None), "queue"),
        (Queue(waiting=None, in_flight=3), "not known"),
    ],
)
def test_what_nobody_logged_is_a_guess_by_where_the_workers_are(queue: Queue, place: str) -> None:
    one = told(queues={"default": queue})
    assert (one.now.place, one.now.sure) == (place, False)


def test_where_there_are_lanes_the_age_of_others_tells_nothing() -> None:
    busy = {"default": Queue(waiting=9, in_flight=2, oldest_at=ACCEPTED + 5000)}
    assert told(queues=busy, in_order=False).now.place == "not known"
    assert told(in_order=False).now.place == "delivered"


def test_what_waits_behind_an_earlier_one_of_its_key_names_it() -> None:
    waits = line("order.waits", 20, behind="the-earlier")
    one = told(waits, in_order=False, by_key=True)
    assert moments(one)[1] == ("order", "waits behind the-earlier, an earlier one of its key that is tried again")
    assert (one.now.place, one.now.sure) == ("lane", False)
    assert one.now.text.endswith("it waits behind the-earlier, an earlier one of its key")
    assert one.now.next == "forebay explain the-earlier"
    later = told(waits, line("order.next", 9000), retry(1, 9020), now=ACCEPTED + 10_000)
    assert [what for what, _ in moments(later)] == ["accepted", "waited", "order", "order", "attempt"]
    assert moments(later)[3] == ("order", "its turn has come")
    done = told(waits, line("order.next", 9000))
    assert (done.now.place, done.now.sure) == ("delivered", False)


def test_what_is_tried_again_in_its_lane_is_in_no_tier() -> None:
    rests = line("delivery.retry", 10, attempt=1, status=503, error="HTTP 503", retry_in_s=20, in_place=True, key="s1")
    one = told(rests, now=ACCEPTED + 9000)
    assert (one.now.place, one.now.sure) == ("lane", True)
    assert one.now.text == "in its place in its lane, where its key waits: attempt 2 at 2026-09-21T14:13:40Z"
    assert told(rests).now.text.endswith("it is due again")
    held = told(line("delivery.retry", 10, attempt=9, error="HTTP 503", retry_in_s=60, in_place=True, held=True))
    assert held.now.text.startswith("held in its lane after its last attempt")
    assert "afterDeadLetter" in held.now.next


def test_where_keys_have_an_order_it_is_named_as_what_a_webhook_may_wait_for() -> None:
    busy = {"default": Queue(waiting=9, in_flight=2)}
    assert told(queues=busy, in_order=False, by_key=True).now.text.endswith(
        "9 wait, each behind the earlier ones of its key"
    )


def test_an_id_that_nobody_knows_is_said_to_be_unknown() -> None:
    one = told(wanted="72d3162e-cc78-11e3-81ab-4c9367dc0958")
    assert (one.now.place, one.now.sure, one.moments) == ("not known", False, ())


def test_the_providers_id_leads_to_ours() -> None:
    one = told(retry(1, 10), wanted="theirs")
    assert one.id == ID
    assert one.moments[0].at == ACCEPTED


def test_the_next_command_is_one_that_can_be_run_where_the_question_was_asked() -> None:
    dead = line("delivery.dead", 10, attempt=1, reason="gone", error="HTTP 410")
    words: dict[str, Any] = {"program": "kubectl forebay", "words": ("github",), "flags": ("-n", "payments")}
    assert told(dead, **words).now.next == "kubectl forebay dlq list github -n payments"


def test_a_line_for_people_is_read_as_well_as_one_for_machines() -> None:
    text = (
        f'14:13:21.010 info worker: delivery.retry  source=payments/github queue=default id={ID} attempt=1'
        ' status=503 error="HTTP 503: \\"no\\"" retry_in_s=5 ms=10.0 age_s=86401.01'
    )  # fmt: skip
    (one,) = said([text, "noise", f"{{broken {ID}"], ID, NOW + 10 * 86_400_000)
    assert (one.event, one.at) == ("delivery.retry", ACCEPTED + 86_401_010)
    assert (one.fields["error"], one.number("retry_in_s")) == ('HTTP 503: "no"', 5)


VALUES = st.integers() | st.floats() | st.text() | st.none() | st.booleans() | st.lists(st.integers(), max_size=2)
FIELDS = st.dictionaries(
    st.sampled_from(["attempt", "ms", "status", "error", "retry_in_s", "age_s", "queue", "replayed_from", "reason"]),
    VALUES,
)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["delivery.ok", "delivery.retry", "delivery.dead", "other"]), FIELDS), max_size=4
    )
)
def test_any_lines_are_read_and_shown(lines: list[tuple[str, dict[str, Any]]]) -> None:
    as_text = [
        f"14:13:20.000 info worker: {event}  id={ID} " + " ".join(f"{name}={value}" for name, value in fields.items())
        for event, fields in lines
    ]
    one = told(*as_text, *(json.dumps({"time": "2026-09-21T14:13:20Z", "event": e, "id": ID, **f}) for e, f in lines))
    json.dumps(as_json(one, ()))
    Console(quiet=True).print(screen(one, ("why",)))


def test_the_time_of_an_id_is_the_time_it_was_made() -> None:
    assert born(ID) == ACCEPTED
    assert born("72d3162e-cc78-11e3-81ab-4c9367dc0958") is None
    assert born("") is None


def test_a_screen_of_a_strangers_text_moves_no_cursor() -> None:
    worn = envelope(id=ID, event_type="push\x1b[2J").failed(
        Attempt(at=ACCEPTED, ms=1, error="HTTP 500: <h1>Oh", status=500, answer="<h1>Oh\n \x1b[2Jdear")
    )
    console = Console(width=120)
    with console.capture() as captured:
        console.print(screen(told(letter=letter(worn.buried("gone", "\x1b[2J", ACCEPTED))), ()))
    assert "\x1b[2J" not in captured.get()
    assert "dear" in captured.get()
