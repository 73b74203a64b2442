"""The prepared frames say the same as the envelope, read with pika's decoder; whatever a stranger's request holds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.amqp.frames import OversizedError
from forebay.envelope import GROWTH, decode, encode
from forebay.settings import IngestSettings, Route, Verification
from forebay_ingest.prepared import Prepared, Received
from tests.publishing.wire import Published, published

FRAME_MAX = 131_072
ID = b"01a20f4c-1b9b-7b23-92f2-62d89942ae50"
SETTINGS = IngestSettings(
    source="payments/github",
    routes=(Route(queue="urgent"), Route(queue="default")),
    verification=Verification(provider="None"),
    path="/",
)
PREPARED = Prepared(SETTINGS)

# As aiohttp's parser hands them out: UTF-8 where it is, escaped bytes where not.
PARSED = st.binary(max_size=60).map(lambda value: value.decode("utf-8", "surrogateescape"))
WEBHOOKS = st.builds(
    Received,
    event_id=st.just(ID),
    method=st.sampled_from(["POST", "PUT"]),
    target=PARSED,
    received_at=st.integers(0, 2**48),
    client=st.sampled_from([b"10.0.0.1", b"::1", b"?"]),
    header_block=st.binary(max_size=300),
    content_type=st.none() | PARSED,
    delivery_id=st.none() | PARSED,
    event_type=st.none() | st.text(max_size=40),
    traceparent=st.none() | st.just("00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
    body=st.binary(max_size=300),
)


def received(**changes: Any) -> Received:
    fields: dict[str, Any] = {
        "event_id": ID, "method": "POST", "target": "/a", "received_at": 1_790_000_000_123, "client": b"10.0.0.1",
        "header_block": b"Host: x\r\n", "content_type": None, "delivery_id": None, "event_type": None,
        "traceparent": None, "body": b"",
    }  # fmt: skip
    return Received(**{**fields, **changes})


def sent(webhook: Received, queue: str = "default", frame_max: int = FRAME_MAX) -> Published:
    found = published(PREPARED.publish(queue, webhook, frame_max))
    assert len(found) == 1
    assert max(found[0].sizes) <= frame_max
    return found[0]


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@given(WEBHOOKS, st.sampled_from(["default", "urgent"]))
def test_a_prepared_publish_is_the_envelope(webhook: Received, queue: str) -> None:
    publish = sent(webhook, queue)
    assert (publish.exchange, publish.routing_key) == ("forebay.payments.github", f"forebay.payments.github.{queue}")
    assert publish.mandatory
    assert publish.properties.delivery_mode == 2
    assert publish.body == webhook.body
    properties = publish.properties
    envelope = decode(properties.message_id, properties.content_type, properties.headers, publish.body)
    assert envelope.id == ID.decode()
    assert (envelope.source, envelope.queue) == ("payments/github", queue)
    assert (envelope.method, envelope.client) == (webhook.method, webhook.client.decode())
    assert envelope.received_at == webhook.received_at
    assert envelope.target.encode("latin-1") == as_bytes(webhook.target)
    assert envelope.header_block == webhook.header_block
    assert (envelope.delivery_id is None) == (webhook.delivery_id is None)
    assert (envelope.event_type is None) == (webhook.event_type is None)
    assert envelope.traceparent == webhook.traceparent
    # Field by field what the slow way would have sent.
    slow = encode(envelope)
    assert (properties.message_id, properties.timestamp, properties.app_id) == (
        slow.message_id,
        slow.timestamp,
        slow.app_id,
    )
    assert properties.content_type == slow.content_type
    assert properties.headers == slow.headers


@given(PARSED.filter(str.isascii))
def test_an_event_type_of_ascii_is_kept_as_it_is(text: str) -> None:
    assert sent(received(event_type=text)).properties.headers["forebay-event-type"] == text


def test_text_beyond_ascii_is_readable_in_the_management_ui() -> None:
    headers = sent(received(event_type="gelöscht", delivery_id="äb")).properties.headers
    assert (headers["forebay-event-type"], headers["forebay-delivery-id"]) == ("gelöscht", "äb")


@pytest.mark.parametrize("text", ["\ud800", "a\ud83d"])
def test_an_event_type_that_is_no_unicode_is_sent_all_the_same(text: str) -> None:
    assert "?" in sent(received(event_type=text)).properties.headers["forebay-event-type"]


@pytest.mark.parametrize(
    "content_type", ["a/" + "b" * 300, "a/" + "é" * 200, "a/b" + "\udcff" * 300, "a/" + "\U0001f600" * 100]
)
def test_a_content_type_beyond_a_short_string_is_cut_in_whole_characters(content_type: str) -> None:
    kept = sent(received(content_type=content_type)).properties.content_type
    assert isinstance(kept, str)
    assert len(kept.encode()) <= 255
    assert kept.startswith("a/")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json; charset=utf-8"])
def test_a_content_type_is_kept_as_it_is(content_type: str) -> None:
    assert sent(received(content_type=content_type)).properties.content_type == content_type


@pytest.mark.parametrize("size", [0, 1, FRAME_MAX - 9, FRAME_MAX - 8, FRAME_MAX - 7, 2 * (FRAME_MAX - 8), 1024 * 1024])
def test_a_body_of_any_size_arrives_whole_in_frames_that_the_broker_takes(size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    publish = sent(received(body=body[:size]))
    assert publish.body == body[:size]
    assert len(publish.sizes) == 2 + -(-size // (FRAME_MAX - 8))


@pytest.mark.parametrize("frame_max", [4096, 8192, 65536, FRAME_MAX])
def test_the_frames_fit_what_the_broker_negotiated(frame_max: int) -> None:
    assert sent(received(body=b"x" * 100_000), frame_max=frame_max).body == b"x" * 100_000


def test_headers_that_no_frame_can_carry_are_refused_instead_of_breaking_the_connection() -> None:
    with pytest.raises(OversizedError):
        sent(received(header_block=b"a" * FRAME_MAX))


@given(st.integers(0, FRAME_MAX))
def test_what_is_taken_in_leaves_room_for_every_retry_and_its_burial(size: int) -> None:
    try:
        publish = sent(received(header_block=b"a" * size))
    except OversizedError:
        assert size > FRAME_MAX - GROWTH - 1000
        return
    assert publish.sizes[1] <= FRAME_MAX - GROWTH


def test_default_limits_always_fit_even_if_every_byte_is_doubled() -> None:
    limits = SETTINGS.limits
    block = b"\xff" * (limits.header_bytes - 16 * 1024)
    worst = sent(received(header_block=block, target="/" + "\udcff" * (16 * 1024), delivery_id="é" * 200))
    assert worst.sizes[1] <= FRAME_MAX - GROWTH
