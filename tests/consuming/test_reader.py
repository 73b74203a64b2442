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

from forebay.amqp import frames
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


def nested(depth: int) -> bytes:
    """A value that is a table in a table in a table …"""
    value = b"V"
    for _ in range(depth):
        value = b"F" + frames.length(inner := frames.short(b"a") + value) + inner
    return value


BEYOND_TIME = b"T" + (2**63).to_bytes(8, "big")
NO_NUMBER = b"d\x7f\xf8\0\0\0\0\0\0"
STRANGE = [
    pytest.param(BEYOND_TIME, id="a time beyond the year 9999"),
    pytest.param(NO_NUMBER, id="a float that is no number"),
    pytest.param(nested(5000), id="tables a thousand deep"),
    pytest.param(b"A" + frames.length(BEYOND_TIME) + BEYOND_TIME, id="a list that holds one"),
]


@pytest.mark.parametrize("unusual", [False, True])
@pytest.mark.parametrize("value", STRANGE)
def test_a_value_that_pika_can_not_read_is_kept_as_bytes(value: bytes, unusual: bool) -> None:
    table = frames.text_item(b"first", b"1") + frames.short(b"strange") + value + frames.text_item(b"last", b"2")
    (one,) = read(with_table(table, unusual), whole)
    assert one.headers == {"first": "1", "strange": value, "last": "2"}
    assert (one.content_type, one.message_id, one.body) == ("a/b", "m", b"body")


def test_what_follows_a_kind_that_nobody_knows_is_kept_with_it() -> None:
    strange = b"Z\x01\x02" + frames.text_item(b"last", b"2")
    (one,) = read(with_table(frames.text_item(b"first", b"1") + frames.short(b"strange") + strange), whole)
    assert one.headers == {"first": "1", "strange": strange}
    assert (one.message_id, one.body) == ("m", b"body")


def with_table(table: bytes, unusual: bool = False) -> bytes:
    """The frames of a delivery with this table of headers, to the byte; with a priority if it is to be unusual."""
    flags = (1 << 15) | (1 << 13) | (1 << 7) | ((1 << 11) if unusual else 0)
    properties = (
        frames.short(b"a/b") + frames.length(table) + table + (b"\x05" if unusual else b"") + frames.short(b"m")
    )
    header = b"\x00\x3c\x00\x00" + (4).to_bytes(8, "big") + flags.to_bytes(2, "big") + properties
    method = pika.frame.Method(1, pika.spec.Basic.Deliver("ctag", 1, False, "exchange", "q")).marshal()
    framed = b"\x02\x00\x01" + frames.length(header) + header + b"\xce"
    return bytes(method + framed + pika.frame.Body(1, b"body").marshal())


def test_bytes_that_are_no_frame_end_the_connection() -> None:
    with pytest.raises(pika.exceptions.InvalidFrameError):
        read(b"\x01\x00\x01\x00\x00\x00\x00X", whole)


def test_a_connection_that_was_closed_meanwhile_is_not_disturbed() -> None:
    connection = Connection()
    connection.is_closed = True
    assert read(pika.frame.Heartbeat().marshal(), whole, connection) == []
    assert connection.processed == []
