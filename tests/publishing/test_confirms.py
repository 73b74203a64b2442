"""What the confirm reader makes of the broker's bytes is what pika makes of them, however they are cut."""

from types import SimpleNamespace
from typing import Any, cast

import pika.frame
import pika.spec
from hypothesis import example, given
from hypothesis import strategies as st

from forebay.amqp.confirms import ConfirmReader

TAGS = st.integers(1, 2**64 - 1)
RETURN = (
    pika.frame.Method(1, pika.spec.Basic.Return(312, "NO_ROUTE", "exchange", "key")),
    pika.frame.Header(1, 4, pika.spec.BasicProperties(message_id="m")),
    pika.frame.Body(1, b"body"),
)
SAID = st.one_of(
    st.builds(lambda tag, multiple: (pika.frame.Method(1, pika.spec.Basic.Ack(tag, multiple)),), TAGS, st.booleans()),
    st.builds(lambda tag, multiple: (pika.frame.Method(1, pika.spec.Basic.Nack(tag, multiple)),), TAGS, st.booleans()),
    st.just((pika.frame.Heartbeat(),)),
    st.just(RETURN),
)


class Connection(SimpleNamespace):
    """As much of pika's connection as the reader touches. `heard` is what it and the reader's owner hear, in order."""

    def __init__(self, buffered: bytes = b"") -> None:
        super().__init__(_frame_buffer=buffered, bytes_received=0, is_closed=False, _transport=SimpleNamespace())
        self.heard: list[Any] = []

    def _process_frame(self, frame: Any) -> None:
        self.heard.append(frame.marshal())


def reader(connection: Connection) -> ConfirmReader:
    return ConfirmReader(cast("Any", connection), lambda tag, multiple: connection.heard.append((tag, bool(multiple))))


def expected(frame: Any) -> Any:
    method = getattr(frame, "method", None)
    if isinstance(method, pika.spec.Basic.Ack):
        return method.delivery_tag, method.multiple
    return frame.marshal()


@given(st.lists(SAID, max_size=8), st.integers(1, 60))
@example([RETURN, (pika.frame.Method(1, pika.spec.Basic.Ack(1, False)),)], 1000)
def test_confirms_are_read_as_pika_reads_them_and_all_else_goes_to_pika_in_its_turn(said: list[Any], size: int) -> None:
    frames = [frame for together in said for frame in together]
    data = b"".join(frame.marshal() for frame in frames)
    connection = Connection(buffered=data[:5])
    confirms = reader(connection)
    for start in range(5, len(data), size):
        confirms.feed(data[start : start + size])
    assert connection.heard == [expected(frame) for frame in frames]
    assert connection.bytes_received == max(len(data) - 5, 0)
    assert connection._frame_buffer == b""


def test_a_connection_that_is_closed_hears_no_more() -> None:
    connection = Connection()
    connection.is_closed = True
    reader(connection).feed(pika.frame.Heartbeat().marshal())
    assert connection.heard == []
