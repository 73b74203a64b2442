"""What the frame reader makes of the broker's bytes is what pika makes of them, however they are cut."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pika.exceptions
import pika.frame
import pika.spec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.amqp.reader import Delivery, FrameReader

SHORT = st.text(max_size=60).filter(lambda text: len(text.encode()) < 256)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=300) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SHORT, inner, max_size=3),
    max_leaves=6,
)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "content_type": SHORT,
        "content_encoding": SHORT,
        "headers": st.dictionaries(SHORT, VALUES, max_size=8),
        "delivery_mode": st.sampled_from([1, 2]),
        "priority": st.integers(0, 255),
        "correlation_id": SHORT,
        "reply_to": SHORT,
        "message_id": SHORT,
        "timestamp": st.integers(0, 2**62),
        "type": SHORT,
        "app_id": SHORT,
    },
)
DELIVERIES = st.tuples(st.integers(1, 2**64 - 1), st.booleans(), SHORT, PROPERTIES, st.binary(max_size=300))


class Connection(SimpleNamespace):
    """As much of pika's connection as the reader touches."""

    def __init__(self, buffered: bytes = b"") -> None:
        super().__init__(
            _frame_buffer=buffered, bytes_received=0, is_closed=False, _transport=SimpleNamespace(), processed=[]
        )
        self._process_frame = self.processed.append


def wire(tag: int, redelivered: bool, key: str, properties: dict[str, Any], body: bytes, part: int = 100) -> bytes:
    """The frames of a delivery as pika would send them."""
    method = pika.spec.Basic.Deliver("ctag", tag, redelivered, "exchange", key)
    frames = [pika.frame.Method(1, method), pika.frame.Header(1, len(body), pika.spec.BasicProperties(**properties))]
    frames += [pika.frame.Body(1, body[start : start + part]) for start in range(0, len(body), part)]
    return b"".join(frame.marshal() for frame in frames)


def pikas(properties: dict[str, Any]) -> Any:
    """The properties as pika reads what it wrote."""
    marshaled = pika.frame.Header(1, 0, pika.spec.BasicProperties(**properties)).marshal()
    found: Any = pika.frame.decode_frame(marshaled)[1]
    return found.properties


def read(data: bytes, cut: Callable[[bytes], list[bytes]], connection: Connection | None = None) -> list[Delivery]:
    found: list[Delivery] = []
    reader = FrameReader(connection or Connection(), found.append)
    for piece in cut(data):
        reader.feed(piece)
    return found


def whole(data: bytes) -> list[bytes]:
    return [data]


@given(st.lists(DELIVERIES, min_size=1, max_size=4), st.integers(1, 200))
def test_a_delivery_is_read_as_pika_reads_it(deliveries: list[Any], size: int) -> None:
    data = b"".join(wire(*delivery) for delivery in deliveries)
    found = read(data, lambda data: [data[start : start + size] for start in range(0, len(data), size)])
    assert len(found) == len(deliveries)
    for one, (tag, redelivered, key, properties, body) in zip(found, deliveries, strict=True):
        expected = pikas(properties)
        assert (one.delivery_tag, one.redelivered, one.routing_key, one.body) == (tag, redelivered, key, body)
        assert (one.message_id, one.content_type) == (expected.message_id, expected.content_type)
        assert one.headers == (expected.headers or {})


def test_what_pika_had_already_is_not_forgotten() -> None:
    data = wire(7, False, "q", {"message_id": "m"}, b"body")
    connection = Connection(buffered=data[:30])
    (one,) = read(data[30:], whole, connection)
    assert (one.delivery_tag, one.message_id, one.body) == (7, "m", b"body")
    assert connection._frame_buffer == b""


def test_every_other_frame_goes_to_pika_in_its_order() -> None:
    heartbeat = pika.frame.Heartbeat().marshal()
    cancelled = pika.frame.Method(1, pika.spec.Basic.Cancel("ctag", True)).marshal()
    connection = Connection()
    data = heartbeat + wire(1, False, "q", {}, b"x") + cancelled + wire(2, True, "q", {}, b"")
    found = read(data, whole, connection)
    assert [one.delivery_tag for one in found] == [1, 2]
    kinds = [type(frame).__name__ for frame in connection.processed]
    assert kinds == ["Heartbeat", "Method"]
    assert connection.bytes_received == len(data)


def test_a_heartbeat_may_come_between_the_frames_of_a_delivery() -> None:
    data = wire(1, False, "q", {}, b"x" * 250)
    method, rest = data[:40], data[40:]
    end = 8 + int.from_bytes(data[3:7], "big")
    method, rest = data[:end], data[end:]
    connection = Connection()
    (one,) = read(method + pika.frame.Heartbeat().marshal() + rest, whole, connection)
    assert one.body == b"x" * 250
    assert len(connection.processed) == 1


def test_a_message_that_was_returned_goes_to_pika_whole() -> None:
    method = pika.spec.Basic.Return(312, "NO_ROUTE", "exchange", "key")
    content = [pika.frame.Header(1, 1, pika.spec.BasicProperties()), pika.frame.Body(1, b"x")]
    data = b"".join(frame.marshal() for frame in [pika.frame.Method(1, method), *content])
    connection = Connection()
    assert read(data, whole, connection) == []
    assert len(connection.processed) == 3


def test_text_that_is_no_utf8_is_kept() -> None:
    headers = {"binary": b"\xff\xfe", "latin": "é"}
    (one,) = read(wire(1, False, "q", {"headers": headers, "message_id": "m"}, b""), whole)
    assert one.headers["latin"] == "é"
    assert one.headers["binary"] == b"\xff\xfe"


def test_bytes_that_are_no_frame_end_the_connection() -> None:
    with pytest.raises(pika.exceptions.InvalidFrameError):
        read(b"\x01\x00\x01\x00\x00\x00\x00X", whole)


def test_a_connection_that_was_closed_meanwhile_is_not_disturbed() -> None:
    connection = Connection()
    connection.is_closed = True
    assert read(pika.frame.Heartbeat().marshal(), whole, connection) == []
    assert connection.processed == []
