"""The publish of a webhook, with everything prepared that is the same for all webhooks of a queue.

The result is byte for byte what `forebay.envelope.encode` describes; a test decodes it with pika and with
`forebay.envelope.decode`. It is the endpoint's hottest code: about 5 µs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from forebay.amqp import frames
from forebay.amqp.frames import cut, int_item, text_item
from forebay.envelope import APP_ID, GROWTH, VERSION
from forebay.settings import IngestSettings
from forebay.topology import Names

_APP_ID = APP_ID.encode()


@dataclass(slots=True)
class Received:
    """One webhook as it came in, before it is an envelope."""

    event_id: bytes
    method: str
    target: str
    received_at: int  # ms since 1970
    client: bytes
    raw_headers: Sequence[tuple[bytes, bytes]]
    content_type: str | None
    delivery_id: str | None
    event_type: str | None
    traceparent: str | None
    body: bytes


class Prepared:
    """Makes the frames of a source's publishes."""

    def __init__(self, settings: IngestSettings) -> None:
        names = Names.of(settings.source)
        queues = [route.queue for route in settings.routes]
        exchange = names.exchange.encode()
        self._methods = {
            queue: frames.method_frame(frames.CHANNEL, exchange, names.queue(queue).encode()) for queue in queues
        }
        self._tables = {
            queue: int_item(b"forebay-envelope", VERSION)
            + text_item(b"forebay-source", settings.source.encode())
            + text_item(b"forebay-queue", queue.encode())
            for queue in queues
        }

    def publish(self, queue: str, received: Received, frame_max: int) -> bytes:
        """All frames of the publish of one webhook. Raises OversizedError for headers that are too large to be kept."""
        block = b"".join([b"%b: %b\r\n" % item for item in received.raw_headers])
        items = [
            self._tables[queue],
            text_item(b"forebay-method", received.method.encode()),
            text_item(b"forebay-target", _text(received.target)),
            int_item(b"forebay-received-at", received.received_at),
            text_item(b"forebay-client", received.client),
            text_item(b"forebay-headers", block if block.isascii() else _readable(block)),
        ]
        if received.delivery_id is not None:
            items.append(text_item(b"forebay-delivery-id", received.delivery_id.encode("utf-8", "replace")))
        if received.event_type is not None:
            items.append(text_item(b"forebay-event-type", received.event_type.encode("utf-8", "replace")))
        if received.traceparent is not None:
            items.append(text_item(b"traceparent", received.traceparent.encode()))
        return self._methods[queue] + frames.content_frames(
            frames.CHANNEL,
            # One that is too long is still whole in the header block.
            content_type=None if received.content_type is None else cut(received.content_type),
            table=b"".join(items),
            message_id=received.event_id,
            timestamp=received.received_at // 1000,
            app_id=_APP_ID,
            body=received.body,
            frame_max=frame_max,
            reserve=GROWTH if frame_max >= 2 * GROWTH else 0,
        )


def _text(value: str) -> bytes:
    return value.encode() if value.isascii() else _readable(value.encode("utf-8", "surrogateescape"))


def _readable(value: bytes) -> bytes:
    """Any bytes as UTF-8 text that leads back to them: read as Latin-1."""
    return value.decode("latin-1").encode()
