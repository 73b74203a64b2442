"""Reads what the broker delivers to a consumer, at a third of the cost of pika's general decoder.

Every other frame goes to pika as it came, so that the connection, its channels and heartbeats stay pika's. The wire format is
https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf (§2.3.5 frames, §4.2.5 tables); a test compares what is decoded here
with what pika makes of the same bytes, however they are cut.

No message ends the connection, whatever is in its headers: the broker would hand it out again and again, and with each loss
of the connection everything else that was handed out would come closer to its delivery limit.
"""

import struct
from collections.abc import Callable
from typing import Any

import pika.data
import pika.exceptions
import pika.frame
from pika.adapters.asyncio_connection import AsyncioConnection

from forebay.amqp.frames import FRAME_OVERHEAD
from forebay.amqp.writer import check_pika

# Bytes to read from the socket at once; pika's own 4 KiB hold two webhooks.
RECEIVE = 32 * 1024

_METHOD, _HEADER, _BODY, _END = 1, 2, 3, 0xCE
_CONTENT = struct.Struct(">HHQH").unpack_from  # class, weight, body size, property flags
_UINT32 = _LENGTH = struct.Struct(">I").unpack_from
_INT32 = struct.Struct(">i").unpack_from
_INT64 = struct.Struct(">q").unpack_from
_TAG = struct.Struct(">QB").unpack_from  # delivery tag, redelivered
_DELIVER = b"\x00\x3c\x00\x3c"  # class basic, method deliver

# Property flags (see frames.py): those that a webhook has, and what of them has to be decoded.
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE = 1 << 15, 1 << 13, 1 << 12
_MESSAGE_ID, _TIMESTAMP, _APP_ID = 1 << 7, 1 << 6, 1 << 3
_UNUSUAL = 0xFFFF & ~(_CONTENT_TYPE | _HEADERS | _DELIVERY_MODE | _MESSAGE_ID | _TIMESTAMP | _APP_ID)
# All properties in their order on the wire, as (flag, bytes); 0 bytes is a short string.
_PROPERTIES = (
    (_CONTENT_TYPE, 0), (1 << 14, 0), (_HEADERS, 0), (_DELIVERY_MODE, 1), (1 << 11, 1), (1 << 10, 0), (1 << 9, 0),
    (1 << 8, 0), (_MESSAGE_ID, 0), (_TIMESTAMP, 8), (1 << 5, 0), (1 << 4, 0), (_APP_ID, 0), (1 << 2, 0),
)  # fmt: skip

# Bytes of the values that pika may not be able to read, by their kind: times, and floats that are no number.
_SIZES = {ord("T"): 8, ord("f"): 4, ord("d"): 8}
_NESTED = b"FA"  # tables and arrays: four bytes say how many follow


class Delivery:
    """One message as the broker handed it out."""

    __slots__ = ("body", "content_type", "delivery_tag", "headers", "message_id", "redelivered", "routing_key")

    def __init__(self, delivery_tag: int, redelivered: bool, routing_key: str) -> None:
        self.delivery_tag = delivery_tag
        self.redelivered = redelivered
        self.routing_key = routing_key
        self.message_id: str | None = None
        self.content_type: str | None = None
        self.headers: dict[str, Any] = {}
        self.body = b""


class FrameReader:
    """Takes the place of pika's frame loop on one connection, whose one channel consumes."""

    def __init__(self, connection: AsyncioConnection, on_delivery: Callable[[Delivery], None]) -> None:
        self._connection: Any = connection
        self._on_delivery = on_delivery
        self._rest = take_over(connection, self.feed)
        self._open: Delivery | None = None  # its content is still coming
        self._parts: list[bytes] = []
        self._missing = 0  # bytes of its body

    def feed(self, data: bytes) -> None:
        """Take bytes from the socket."""
        buffer = self._rest + data if self._rest else data
        self._connection.bytes_received += len(data)  # pika's heartbeats watch it
        offset, size = 0, len(buffer)
        while end := end_of_frame(buffer, offset, size):
            self._frame(buffer[offset], buffer, offset, end)
            offset = end
        self._rest = buffer[offset:]

    def _frame(self, kind: int, buffer: bytes, start: int, end: int) -> None:
        begin = start + 7
        if kind == _METHOD and buffer[begin : begin + 4] == _DELIVER:
            self._open = _begun(buffer, begin + 4)
        elif self._open is None or kind not in (_HEADER, _BODY):
            hand_to_pika(self._connection, buffer[start:end])
        elif kind == _HEADER:
            self._missing = _described(self._open, buffer, begin)
            self._parts = []
            self._deliver_if_complete()
        else:
            self._parts.append(buffer[begin : end - 1])
            self._missing -= end - 1 - begin
            self._deliver_if_complete()

    def _deliver_if_complete(self) -> None:
        delivery = self._open
        if self._missing > 0 or delivery is None:
            return
        self._open, parts = None, self._parts
        delivery.body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._on_delivery(delivery)


def take_over(connection: AsyncioConnection, feed: Callable[[bytes], None]) -> bytes:
    """Let `feed` read what comes on a connection, in place of pika. Returns the bytes that pika had not read yet."""
    check_pika()
    inside: Any = connection  # below pika's public face; see check_pika
    unread: bytes = inside._frame_buffer  # noqa: SLF001
    inside._frame_buffer = b""  # noqa: SLF001
    inside._on_data_available = feed  # noqa: SLF001
    inside._transport._MAX_RECV_BYTES = RECEIVE  # noqa: SLF001
    return unread


def end_of_frame(buffer: bytes, offset: int, size: int) -> int:
    """Where the frame at `offset` of `size` bytes ends, 0 if it is not complete yet."""
    if size - offset < FRAME_OVERHEAD:
        return 0
    end = offset + int(_LENGTH(buffer, offset + 3)[0]) + FRAME_OVERHEAD
    if end > size:
        return 0
    if buffer[end - 1] != _END:
        raise pika.exceptions.InvalidFrameError("Invalid FRAME_END marker")
    return end


def hand_to_pika(connection: Any, frame: bytes) -> None:
    """Let pika have a frame that is not ours to read."""
    if not connection.is_closed:
        connection._process_frame(pika.frame.decode_frame(frame)[1])  # noqa: SLF001


def _begun(buffer: bytes, offset: int) -> Delivery:
    """The delivery that a `basic.deliver` announces."""
    offset += 1 + buffer[offset]  # the consumer's tag: there is one consumer
    tag, redelivered = _TAG(buffer, offset)
    offset += 9
    offset += 1 + buffer[offset]  # the exchange
    return Delivery(tag, bool(redelivered), _text(buffer[offset + 1 : offset + 1 + buffer[offset]]))


def _described(delivery: Delivery, buffer: bytes, offset: int) -> int:
    """Read the properties into the delivery; the size of its body."""
    _, _, size, flags = _CONTENT(buffer, offset)
    offset += 14
    if flags & _UNUSUAL:
        _read_unusual(delivery, flags, buffer, offset)
        return int(size)
    if flags & _CONTENT_TYPE:
        delivery.content_type, offset = _short(buffer, offset)
    if flags & _HEADERS:
        delivery.headers, offset = _table(buffer, offset)
    if flags & _DELIVERY_MODE:
        offset += 1
    if flags & _MESSAGE_ID:
        delivery.message_id, offset = _short(buffer, offset)
    return int(size)


def _read_unusual(delivery: Delivery, flags: int, buffer: bytes, offset: int) -> None:
    """Properties of which some are such as no webhook of ours has."""
    for flag, size in _PROPERTIES:
        if not flags & flag:
            continue
        if flag == _HEADERS:
            delivery.headers, offset = _table(buffer, offset)
        elif flag == _CONTENT_TYPE:
            delivery.content_type, offset = _short(buffer, offset)
        elif flag == _MESSAGE_ID:
            delivery.message_id, offset = _short(buffer, offset)
        else:
            offset += size or 1 + buffer[offset]


def _short(buffer: bytes, offset: int) -> tuple[str, int]:
    end = offset + 1 + buffer[offset]
    return _text(buffer[offset + 1 : end]), end


def _table(buffer: bytes, offset: int) -> tuple[dict[str, Any], int]:
    (length,) = _UINT32(buffer, offset)
    offset += 4
    end = offset + length
    table: dict[str, Any] = {}
    while offset < end:
        start = offset + 1
        offset = start + buffer[offset]
        name = _text(buffer[start:offset])
        kind = buffer[offset]
        if kind == 83:  # S, a long string
            (length,) = _UINT32(buffer, offset + 1)
            start = offset + 5
            offset = start + length
            table[name] = _text_or_bytes(buffer[start:offset])
        elif kind == 108:  # l, 64 bits
            (table[name],) = _INT64(buffer, offset + 1)
            offset += 9
        elif kind == 73:  # I, 32 bits
            (table[name],) = _INT32(buffer, offset + 1)
            offset += 5
        else:
            table[name], offset = _strange(buffer, offset, end)
    return table, end


def _strange(buffer: bytes, offset: int, end: int) -> tuple[Any, int]:
    """A value that our own messages do not have: as pika reads it, or its bytes, kind and all, where pika can not.

    RabbitMQ takes times beyond the year 9999 and tables in tables a thousand deep.
    """
    try:
        value, after = pika.data.decode_value(buffer, offset)
    except Exception:  # noqa: BLE001  # whatever it is, the connection must not end of it
        after = min(_end_of_value(buffer, offset, end), end)
        return buffer[offset:after], after
    return value, int(after)


def _end_of_value(buffer: bytes, offset: int, end: int) -> int:
    kind = buffer[offset]
    if kind in _NESTED:
        return offset + 5 + int(_UINT32(buffer, offset + 1)[0])
    # After a kind that nobody knows nothing can be told apart: all that follows belongs to it.
    return offset + 1 + _SIZES[kind] if kind in _SIZES else end


def _text(value: bytes) -> str:
    """A short string; one that is no UTF-8 is read as Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _text_or_bytes(value: bytes) -> str | bytes:
    """A long string, which may hold anything."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
