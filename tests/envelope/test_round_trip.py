"""An envelope survives its way through the broker unchanged, whatever bytes it holds; a stranger's message never raises."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.amqp.publisher import Publisher
from forebay.envelope import (
    ANSWER_LENGTH,
    ATTEMPTS_BYTES,
    ATTEMPTS_KEPT,
    ERROR_LENGTH,
    GROWTH,
    AmqpMessage,
    Attempt,
    Claim,
    DeadLetter,
    Envelope,
    UndecodableError,
    claim_key,
    decode,
    encode,
)
from tests.publishing.wire import published

FRAME_MAX = 131_072
COUNTS = st.integers(0, 2**53)
WORDS = st.text(max_size=40)
HEADER_BYTES = st.binary(max_size=60).map(lambda value: value.replace(b"\r", b" ").replace(b"\n", b" ").strip())
NAMES = st.from_regex(rb"[A-Za-z0-9-]{1,20}", fullmatch=True)
HEADERS = st.lists(st.tuples(NAMES, HEADER_BYTES), max_size=8)
ATTEMPTS = st.lists(
    st.builds(
        Attempt,
        at=COUNTS,
        ms=COUNTS,
        error=st.text(max_size=ERROR_LENGTH),
        status=st.none() | COUNTS,
        answer=st.text(max_size=100),
    ),
    max_size=ATTEMPTS_KEPT,
).map(tuple)
ENVELOPES = st.builds(
    Envelope,
    id=st.text(min_size=1, max_size=60),
    source=WORDS,
    queue=WORDS,
    method=WORDS,
    target=st.binary(max_size=60).map(lambda value: value.decode("latin-1")),
    received_at=COUNTS,
    client=WORDS,
    header_block=st.binary(max_size=300),
    body=st.binary(max_size=300),
    content_type=st.none() | WORDS,
    delivery_id=st.none() | WORDS,
    event_type=st.none() | WORDS,
    traceparent=st.none() | WORDS,
    attempts_made=COUNTS,
    attempts=ATTEMPTS,
    first_failed_at=st.none() | COUNTS,
    dead=st.none() | st.builds(DeadLetter, reason=WORDS, detail=WORDS, at=COUNTS),
    replayed_from=st.none() | WORDS,
)
CLAIMED = st.builds(
    dataclasses.replace,
    ENVELOPES,
    source=st.just("payments/github"),
    body=st.just(b""),
    claim=st.builds(
        Claim,
        key=st.uuids().map(lambda one: claim_key("payments/github", str(one))),
        size=st.integers(1, 2**53),
        sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    ),
)


def envelope(**changes: Any) -> Envelope:
    fields: dict[str, Any] = {
        "id": "01a20f4c-1b9b-7b23-92f2-62d89942ae50", "source": "payments/github", "queue": "default", "method": "POST",
        "target": "/payments/github?a=1", "received_at": 1_790_000_000_123, "client": "10.0.0.1",
        "header_block": b"Host: x\r\nX-A: 1\r\nx-a: 2\r\n", "body": b"{}",
    }  # fmt: skip
    return Envelope(**{**fields, **changes})


def decoded(message: AmqpMessage) -> Envelope:
    return decode(message.message_id, message.content_type, message.headers, message.body)


@given(ENVELOPES | CLAIMED)
def test_what_is_encoded_comes_back_the_same(original: Envelope) -> None:
    assert decoded(encode(original)) == original


CLAIM = Claim(key="forebay/payments/github/01a2", size=9, sha256="0" * 64)


def test_a_forebay_that_knows_no_claims_does_not_take_an_empty_body_for_the_webhook() -> None:
    assert encode(envelope()).headers["forebay-envelope"] == 1
    assert encode(envelope(body=b"", claim=CLAIM)).headers["forebay-envelope"] == 2
    assert envelope(body=b"", claim=CLAIM).size == 9


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("forebay-claim-key", "forebay/payments/other/01a2"),
        ("forebay-claim-key", "forebay/payments/github/../other/01a2"),
        ("forebay-claim-key", "forebay/payments/github/"),
        ("forebay-claim-key", "/etc/passwd"),
        ("forebay-claim-key", None),
        ("forebay-claim-bytes", 0),
        ("forebay-claim-bytes", "9"),
        ("forebay-claim-sha256", "0" * 63),
        ("forebay-claim-sha256", "0" * 63 + "G"),
    ],
)
def test_a_reference_leads_nowhere_but_to_a_body_of_its_source(header: str, value: object) -> None:
    message = encode(envelope(body=b"", claim=CLAIM))
    message.headers[header] = value
    with pytest.raises(UndecodableError):
        decoded(message)


@given(HEADERS)
def test_the_original_headers_keep_order_duplicates_and_every_byte(headers: list[tuple[bytes, bytes]]) -> None:
    block = b"".join(b"%b: %b\r\n" % item for item in headers)
    back = decoded(encode(envelope(header_block=block)))
    assert [(name.encode("latin-1"), value.encode("latin-1")) for name, value in back.headers] == headers


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
KNOWN = sorted({*encode(envelope(dead=DeadLetter(reason="x", detail="y", at=1))).headers, "forebay-attempts",
                "forebay-attempts-made", "forebay-first-failed-at", "forebay-delivery-id", "forebay-event-type",
                "traceparent", "forebay-replayed-from", "forebay-claim-key", "forebay-claim-bytes",
                "forebay-claim-sha256"})  # fmt: skip
JSON_TEXTS = st.sampled_from([
    "null", "1", '"x"', "{}", "[null]", "[1]", "[[]]", '[{"at":1}]', '[{"at":Infinity,"ms":1,"error":"","status":null}]',
    '[{"at":NaN,"ms":1,"error":"","status":null}]', '[{"at":1e999,"ms":1,"error":"","status":null}]',
    '[{"at":-1,"ms":1,"error":"","status":null}]', '[{"at":"1","ms":1,"error":"","status":null}]',
    '[{"at":1,"ms":true,"error":"","status":null}]', '[{"at":1,"ms":1,"error":"","status":"x"}]',
    '[{"at":' + "9" * 5000 + ',"ms":1,"error":"","status":null}]', "[" * 100_000, '{"at":1}', "not json",
])  # fmt: skip


@given(
    st.none() | ANYTHING,
    st.none() | ANYTHING,
    st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=10), ANYTHING | JSON_TEXTS, max_size=12),
    st.booleans(),
)
def test_any_message_is_an_envelope_or_undecodable_and_nothing_else(
    message_id: Any, content_type: Any, headers: dict[str, Any], complete: bool
) -> None:
    given_headers = {**(encode(envelope()).headers if complete else {}), **headers}
    try:
        found = decode(message_id, content_type, given_headers, b"x")
    except UndecodableError:
        return
    # What was decoded can be worked with to its end, and sent on.
    last = found.failed(Attempt(at=1, ms=1, error="no", status=None)).buried("exhausted", "no", 1)
    assert decoded(encode(last.revived())).id == found.id
    assert on_the_wire(encode(last))


@given(JSON_TEXTS)
def test_attempts_that_make_no_sense_are_undecodable(text: str) -> None:
    headers = {**encode(envelope()).headers, "forebay-attempts": text}
    if text == "{}":  # nothing to iterate over: no attempts
        assert decode("x", None, headers, b"").attempts == ()
    else:
        with pytest.raises(UndecodableError, match="forebay-attempts"):
            decode("x", None, headers, b"")


@pytest.mark.parametrize("name", ["forebay-envelope", "forebay-source", "forebay-queue", "forebay-method",
                                  "forebay-target", "forebay-received-at", "forebay-client", "forebay-headers"])  # fmt: skip
def test_a_missing_header_is_named(name: str) -> None:
    headers = {key: value for key, value in encode(envelope()).headers.items() if key != name}
    with pytest.raises(UndecodableError, match=name):
        decode("x", None, headers, b"")


def test_a_newer_envelope_is_told_apart_from_a_broken_one() -> None:
    with pytest.raises(UndecodableError, match="version 3 is not known"):
        decode("x", None, {**encode(envelope()).headers, "forebay-envelope": 3}, b"")


def test_no_message_id_is_undecodable() -> None:
    for message_id in (None, ""):
        with pytest.raises(UndecodableError, match="message_id"):
            decode(message_id, None, encode(envelope()).headers, b"")


@pytest.mark.parametrize("value", [-1, 2**53 + 1, 2**63 - 1])
def test_numbers_that_nothing_can_be_computed_with_are_undecodable(value: int) -> None:
    with pytest.raises(UndecodableError, match="out of range"):
        decode("x", None, {**encode(envelope()).headers, "forebay-received-at": value}, b"")


def test_only_the_last_attempts_are_remembered_in_full() -> None:
    worn = envelope()
    for number in range(ATTEMPTS_KEPT + 5):
        worn = worn.failed(Attempt(at=number, ms=1, error="no", status=500))
    assert worn.attempt == ATTEMPTS_KEPT + 6
    assert [attempt.at for attempt in worn.attempts] == list(range(5, ATTEMPTS_KEPT + 5))
    assert worn.first_failed_at == 0


def test_a_revived_dead_letter_is_as_it_came_in_but_for_its_mark() -> None:
    fresh = envelope()
    worn = fresh.failed(Attempt(at=1, ms=1, error="no")).failed(Attempt(at=2, ms=1, error="no"))
    revived = worn.buried("exhausted", "gave up", 1_790_000_000_000).revived()
    assert revived == dataclasses.replace(fresh, replayed_from="exhausted at 2026-09-21T14:13:20Z after 2 attempts")


def test_a_healthy_webhook_revived_from_a_queue_says_so() -> None:
    assert envelope().revived().replayed_from == "a queue"


def test_the_details_of_a_dead_letter_are_cut() -> None:
    assert envelope().buried("handler", "x" * 1000, 1).dead == DeadLetter(reason="handler", detail="x" * 300, at=1)


@pytest.mark.parametrize("character", ["x", "\0", "é", "\U0001f600", '"'])
@pytest.mark.parametrize("answers", [0, 10, ANSWER_LENGTH])
def test_a_webhook_never_grows_by_more_than_is_kept_free_for_it(character: str, answers: int) -> None:
    worn = fresh = envelope()
    for _ in range(ATTEMPTS_KEPT + 1):
        error, answer = character * ERROR_LENGTH, character * answers
        worn = worn.failed(Attempt(at=2**53, ms=2**53, error=error, status=599, answer=answer))
    last = worn.buried("permanent-status", character * ERROR_LENGTH, 2**53)
    last = dataclasses.replace(last, replayed_from=last.revived().replayed_from)
    assert len(on_the_wire(encode(last))) - len(on_the_wire(encode(fresh))) <= GROWTH


def test_the_last_answers_are_kept_as_far_as_there_is_room() -> None:
    worn = envelope()
    for number in range(ATTEMPTS_KEPT):
        worn = worn.failed(Attempt(at=number, ms=1, error="HTTP 500", status=500, answer="x" * ANSWER_LENGTH))
    kept = [attempt.at for attempt in worn.attempts if attempt.answer]
    assert kept == list(range(ATTEMPTS_KEPT - len(kept), ATTEMPTS_KEPT))
    assert len(kept) == 7
    assert len(encode(worn).headers["forebay-attempts"]) < ATTEMPTS_BYTES + 100 * ATTEMPTS_KEPT


def test_an_attempt_without_an_answer_is_written_as_it_always_was() -> None:
    text = encode(envelope().failed(Attempt(at=1, ms=2, error="no"))).headers["forebay-attempts"]
    assert text == '[{"at":1,"ms":2,"error":"no","status":null}]'


def on_the_wire(message: AmqpMessage) -> bytes:
    publisher = Publisher.__new__(Publisher)  # encoding needs nothing of a connection but this
    publisher.frame_max = 4 * FRAME_MAX
    return publisher.encode("forebay.a.b", "forebay.a.b.default", message)


@given(st.dictionaries(st.text(min_size=1, max_size=30), ANYTHING, max_size=6))
def test_headers_of_any_kind_can_be_sent_on(headers: dict[str, Any]) -> None:
    message = AmqpMessage(message_id="x", timestamp=1, content_type=None, headers=headers, body=b"")
    (publish,) = published(on_the_wire(message))
    found = publish.properties.headers
    assert found.keys() == headers.keys()
    for name, value in headers.items():
        if isinstance(value, (str, int)) or value is None:
            assert found[name] == value
