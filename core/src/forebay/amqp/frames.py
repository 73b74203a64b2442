"""AMQP 0-9-1 frames of a publish and of an acknowledge, encoded without pika's objects. Reads nothing, changes nothing.

The wire format is https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf (§4.2.3 frames, §4.2.5 values and tables); a test
decodes what is encoded here with pika's own decoder. Everything that is the same for all webhooks of a source is encoded
once. Joining a publish's frames into one buffer and writing the buffers of one loop turn together saves about a third
of the endpoint's CPU.
"""

import struct

_METHOD, _HEADER, _BODY, _END = 1, 2, 3, b"\xce"
_FRAME = struct.Struct(">BHI")
_END_AND_FRAME = struct.Struct(">BBHI")
_ACK = struct.Struct(">BHIHHQBB")

_BASIC, _ACK_METHOD = 60, 80
_PUBLISH = struct.Struct(">HHH").pack(_BASIC, 40, 0)
_MANDATORY = b"\x01"

# Property flags of basic (§1.8.3 of the reference): content-type, headers, delivery-mode, message-id, timestamp, app-id.
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE = 1 << 15, 1 << 13, 1 << 12
_MESSAGE_ID, _TIMESTAMP, _APP_ID = 1 << 7, 1 << 6, 1 << 3
_FLAGS = _HEADERS | _DELIVERY_MODE | _MESSAGE_ID | _TIMESTAMP | _APP_ID
# A content header up to its property flags: the frame's own three, class, a weight that is always 0, the body's size, flags.
_CONTENT = struct.Struct(">BHIHHQH")
_PERSISTENT = b"\x02"
# Bytes of a content header's payload that are always there: what is packed but for the frame's own seven, and the table's length.
_FIXED = _CONTENT.size - 7 + 4

CHANNEL = 1  # the one channel of a link
MAX_SHORT = 255  # bytes of a short string
FRAME_OVERHEAD = 8
# What every `basic.ack` begins with; then come the delivery tag and whether it stands for all up to it.
ACK_BEGINS = struct.pack(">BHIHH", _METHOD, CHANNEL, 13, _BASIC, _ACK_METHOD)


# The length before a long string or a table; a number of an item, and a time in seconds.
uint32 = struct.Struct(">I").pack
int64 = struct.Struct(">q").pack


class OversizedError(ValueError):
    """Properties and headers that do not fit into their one frame: the broker would close the connection."""


def cut(text: str) -> bytes:
    """As much of a text as a short string holds, in whole characters."""
    encoded = text.encode("utf-8", "replace")
    return encoded if len(encoded) <= MAX_SHORT else encoded[:MAX_SHORT].decode("utf-8", "ignore").encode()


def short(value: bytes) -> bytes:
    """A short string (message ids, names). The caller keeps it within MAX_SHORT bytes."""
    return bytes((len(value),)) + value


def length(value: bytes) -> bytes:
    """The length that comes before a long string or a table."""
    return uint32(len(value))


def text_key(name: bytes) -> bytes:
    """What an item of a header table begins with if it is a long string; then come its length and itself."""
    return short(name) + b"S"


def text_item(name: bytes, value: bytes) -> bytes:
    """One item of a header table: a long string."""
    return text_key(name) + length(value) + value


def int_key(name: bytes) -> bytes:
    """What an item of a header table begins with if it is a signed 64-bit integer; then come its eight bytes."""
    return short(name) + b"l"


def int_item(name: bytes, value: int) -> bytes:
    """One item of a header table: a signed 64-bit integer."""
    return int_key(name) + int64(value)


def method_frame(exchange: bytes, routing_key: bytes) -> bytes:
    """The first frame of a mandatory `basic.publish`; the same for every webhook of a queue."""
    arguments = _PUBLISH + short(exchange) + short(routing_key) + _MANDATORY
    return _FRAME.pack(_METHOD, CHANNEL, len(arguments)) + arguments + _END


def after_table(message_id: bytes, timestamp: int, app_id: bytes) -> bytes:
    """What follows the header table in the content header of a persistent message. `timestamp` is in seconds since 1970."""
    return b"".join((_PERSISTENT, short(message_id), int64(timestamp), short(app_id)))


def publish_frames(
    method: bytes, kind: bytes, table: bytes, after: bytes, body: bytes, *, frame_max: int, reserve: int = 0
) -> bytes:
    """All frames of the publish of a persistent message.

    `method` is its `method_frame`, `kind` its content type as a short string, or nothing; `table` the joined items of its header
    table, and `after` what follows that. Raises OversizedError if the header frame would leave less than `reserve` bytes of
    `frame_max` free.
    """
    size, payload = len(body), _FIXED + len(kind) + len(table) + len(after)
    if payload > frame_max - FRAME_OVERHEAD - reserve:
        raise OversizedError(f"headers of {payload} bytes do not fit into a frame of {frame_max}")
    flags = _FLAGS | _CONTENT_TYPE if kind else _FLAGS
    content = _CONTENT.pack(_HEADER, CHANNEL, payload, _BASIC, 0, size, flags)
    if 0 < size <= frame_max - FRAME_OVERHEAD:
        between = _END_AND_FRAME.pack(0xCE, _BODY, CHANNEL, size)
        return b"".join((method, content, kind, uint32(len(table)), table, after, between, body, _END))
    bodies = _body_frames(body, frame_max - FRAME_OVERHEAD)
    return b"".join((method, content, kind, uint32(len(table)), table, after, _END, *bodies))


def _body_frames(body: bytes, size: int) -> list[bytes]:
    parts: list[bytes] = []
    for start in range(0, len(body), size):
        part = body[start : start + size]
        parts += (_FRAME.pack(_BODY, CHANNEL, len(part)), part, _END)
    return parts


def ack_frame(delivery_tag: int, *, multiple: bool = False) -> bytes:
    """`basic.ack` of one delivery, or of all up to it."""
    return _ACK.pack(_METHOD, CHANNEL, 13, _BASIC, _ACK_METHOD, delivery_tag, multiple, 0xCE)
