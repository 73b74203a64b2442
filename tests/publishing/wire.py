"""What was written for the broker, read back by pika's own decoder."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pika import frame, spec


@dataclass(frozen=True, slots=True)
class Published:
    """One publish as the broker sees it."""

    exchange: str
    routing_key: str
    mandatory: bool
    properties: spec.BasicProperties
    body: bytes
    sizes: tuple[int, ...]  # of all its frames, with their overhead


def frames_of(data: bytes) -> Iterator[tuple[Any, int]]:
    """The frames and their sizes. Fails if anything is left over."""
    while data:
        size, found = frame.decode_frame(data)
        assert found is not None, f"{len(data)} bytes are no whole frame"
        yield found, size
        data = data[size:]


def published(data: bytes) -> list[Published]:
    """All publishes in what was written."""
    pending = list(frames_of(data))
    found = []
    while pending:
        method, first = pending.pop(0)
        assert isinstance(method.method, spec.Basic.Publish)
        head, second = pending.pop(0)
        assert isinstance(head, frame.Header)
        body, sizes = b"", [first, second]
        while len(body) < head.body_size:
            part, size = pending.pop(0)
            assert isinstance(part, frame.Body)
            body += part.fragment
            sizes.append(size)
        assert len(body) == head.body_size
        assert {method.channel_number, head.channel_number} == {1}
        found.append(
            Published(
                method.method.exchange, method.method.routing_key, method.method.mandatory,
                head.properties, body, tuple(sizes),
            )
        )  # fmt: skip
    return found
