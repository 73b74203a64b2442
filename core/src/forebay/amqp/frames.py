"""AMQP 0-9-1 frames of a publish and of an acknowledge, encoded without pika's objects. Reads nothing, changes nothing.

The wire format is https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf (§4.2.3 frames, §4.2.5 values and tables); a test
decodes what is encoded here with pika's own decoder. Everything that is the same for all webhooks of a source is encoded
once. Joining a publish's frames into one buffer and writing the buffers of one loop turn together saves about a third
of the endpoint's CPU.
"""

import struct

_METHOD, _HEADER, _BODY, _END = 1, 2, 3, b"\xce"
_FRAME = struct.Struct(">BHI")
_CONTENT = struct.Struct(">HHQH")
_LONG_STRING = struct.Struct(">cI")
_INT64 = struct.Struct(">cq")
_UINT64 = struct.Struct(">Q")
_ACK = struct.Struct(">BHIHHQBB")

_BASIC = 60
_PUBLISH = struct.Struct(">HHH").pack(_BASIC, 40, 0)
_MANDATORY = b"\x01"

# Property flags of basic (§1.8.3 of the reference): content-type, headers, delivery-mode, message-id, timestamp, app-id.
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE = 1 << 15, 1 << 13, 1 << 12
_MESSAGE_ID, _TIMESTAMP, _APP_ID = 1 << 7, 1 << 6, 1 << 3
_FLAGS = _HEADERS | _DELIVERY_MODE | _MESSAGE_ID | _TIMESTAMP | _APP_ID
_PERSISTENT = b"\x02"

CHANNEL = 1  # the one channel of a link
MAX_SHORT = 255  # bytes of a short string
FRAME_OVERHEAD = 8


class OversizedError(ValueError):
    """Properties and headers that do not fit into their one frame: the broker would close the connection."""


def cut(text: str) -> bytes:
    """As much of a text as a short string holds, in whole characters."""
    encoded = text.encode("utf-8", "replace")
    return encoded if len(encoded) <= MAX_SHORT else encoded[:MAX_SHORT].decode("utf-8", "ignore").encode()


def short(value: bytes) -> bytes:
    """A short string (message ids, names). The caller keeps it within MAX_SHORT bytes."""
    return bytes((len(value),)) + value


def text_item(name: bytes, value: bytes) -> bytes:
    """One item of a header table: a long string."""
    return short(name) + _LONG_STRING.pack(b"S", len(value)) + value


def int_item(name: bytes, value: int) -> bytes:
    """One item of a header table: a signed 64-bit integer."""
    return short(name) + _INT64.pack(b"l", value)


def method_frame(channel: int, exchange: bytes, routing_key: bytes) -> bytes:
    """The first frame of a mandatory `basic.publish`; the same for every webhook of a queue."""
    arguments = _PUBLISH + short(exchange) + short(routing_key) + _MANDATORY
    return _FRAME.pack(_METHOD, channel, len(arguments)) + arguments + _END


def content_frames(
    channel: int,
    *,
    content_type: bytes | None,
    table: bytes,
    message_id: bytes,
    timestamp: int,
    app_id: bytes,
    body: bytes,
    frame_max: int,
    reserve: int = 0,
) -> bytes:
    """The header frame and body frames of a persistent message; `table` is the joined items of its header table.

    Raises OversizedError if the header frame would leave less than `reserve` bytes of `frame_max` free.
    """
    flags, kind = (_FLAGS, b"") if content_type is None else (_FLAGS | _CONTENT_TYPE, short(content_type))
    payload = b"".join(
        (
            _CONTENT.pack(_BASIC, 0, len(body), flags),
            kind,
            len(table).to_bytes(4, "big"),
            table,
            _PERSISTENT,
            short(message_id),
            _UINT64.pack(timestamp),
            short(app_id),
        )
    )
    if len(payload) > frame_max - FRAME_OVERHEAD - reserve:
        raise OversizedError(f"headers of {len(payload)} bytes do not fit into a frame of {frame_max}")
    header = _FRAME.pack(_HEADER, channel, len(payload))
    size = len(body)
    if 0 < size <= frame_max - FRAME_OVERHEAD:
        return b"".join((header, payload, _END, _FRAME.pack(_BODY, channel, size), body, _END))
    return b"".join((header, payload, _END, *_body_frames(channel, body, frame_max - FRAME_OVERHEAD)))


def _body_frames(channel: int, body: bytes, size: int) -> list[bytes]:
    parts: list[bytes] = []
    for start in range(0, len(body), size):
        part = body[start : start + size]
        parts += (_FRAME.pack(_BODY, channel, len(part)), part, _END)
    return parts


def ack_frame(channel: int, delivery_tag: int) -> bytes:
    """`basic.ack` of one delivery."""
    return _ACK.pack(_METHOD, channel, 13, _BASIC, 80, delivery_tag, 0, 0xCE)
