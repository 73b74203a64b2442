"""What the confirm reader makes of the broker's bytes is what pika makes of them, however they are cut."""

import asyncio
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pika.exceptions
import pika.frame
import pika.spec
import pytest
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

    def __init__(self, buffered: bytes = b"", sock: socket.socket | None = None) -> None:
        transport = SimpleNamespace(_sock=sock)
        super().__init__(_frame_buffer=buffered, bytes_received=0, is_closed=False, _transport=transport)
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


@pytest.fixture
def broker() -> Iterator[tuple[socket.socket, Connection]]:
    """The broker's end of a connection, and the connection."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield theirs, Connection(sock=ours)


def ack(tag: int) -> bytes:
    return cast("bytes", pika.frame.Method(1, pika.spec.Basic.Ack(tag)).marshal())


def test_a_look_reads_what_has_come_and_waits_for_nothing(broker: tuple[socket.socket, Connection]) -> None:
    theirs, connection = broker
    confirms = reader(connection)
    confirms.look()
    theirs.sendall(ack(1) + ack(2)[:9])
    confirms.look()
    assert connection.heard == [(1, False)]
    confirms.feed(ack(2)[9:])  # the loop's next turn
    assert connection.heard == [(1, False), (2, False)]


def test_whoever_hears_of_a_confirm_and_looks_for_more_disturbs_nothing(
    broker: tuple[socket.socket, Connection],
) -> None:
    theirs, connection = broker
    heard: list[int] = []

    def on_ack(tag: int, _: int) -> None:
        heard.append(tag)
        confirms.look()

    confirms = ConfirmReader(cast("Any", connection), on_ack)
    theirs.sendall(ack(3))
    confirms.feed(ack(1) + ack(2) + ack(3)[:9])  # the rest of this one comes after all that is in the socket
    confirms.feed(ack(3)[9:])
    assert heard == [1, 2, 3]
    confirms.look()
    assert heard == [1, 2, 3, 3]


@pytest.mark.parametrize("way", ["orderly", "reset"])
def test_the_end_of_a_connection_is_left_to_pika(way: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        if way == "reset":
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        connection = Connection(sock=ours)
        reader(connection).look()
        assert connection.heard == []
        assert ours.recv(1) == b""  # as pika will find it


@pytest.mark.parametrize("first", ["looked for", "read by pika"])
async def test_what_can_not_be_understood_ends_the_connection_and_not_the_publish(
    broker: tuple[socket.socket, Connection], first: str
) -> None:
    theirs, connection = broker
    ended: list[Exception] = []
    connection._transport._initiate_abort = ended.append
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    confirms = reader(connection)
    broken = ack(1) + ack(2)[:-1] + b"?"
    if first == "looked for":
        theirs.sendall(broken)
        confirms.look()
        assert [type(error) for error in ended] == [pika.exceptions.InvalidFrameError]
        assert told == ended
    else:
        with pytest.raises(pika.exceptions.InvalidFrameError):
            confirms.feed(broken)
    ended.clear()
    theirs.sendall(ack(3) + broken)  # in the same turn; pika takes it ill to be told twice
    confirms.look()
    assert connection.heard == [(1, False)]
    assert ended == []
