"""The client against a real server on a loopback socket that answers exactly the bytes it is told to."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forebay_worker import http_client
from forebay_worker.dial import Dialer, NoAnswer, Origin
from forebay_worker.http_client import HttpClient
from tests.support.destination import (
    Answer,
    Destination,
    Request,
    destination,
    in_turn,
    is_silent,
    resets,
    says,
    then_closes,
)
from tests.support.waiting import eventually

HEAD = b"POST /hook HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


def client_of(server: Destination, timeout_s: float = 5.0) -> HttpClient:
    dialer = Dialer(Origin(host="127.0.0.1", port=server.port), lambda _: None)
    return HttpClient(dialer, connect_timeout=timeout_s, timeout=timeout_s)


@asynccontextmanager
async def serving(answer: Answer, timeout_s: float = 5.0) -> AsyncIterator[tuple[HttpClient, Destination]]:
    async with destination(answer) as server:
        client = client_of(server, timeout_s)
        yield client, server
        await client.close()


async def post(client: HttpClient, head: bytes = HEAD, body: bytes = b"hi") -> http_client.Answer:
    return await client.send(head, body, bodyless=head.startswith(b"HEAD"))


async def no_answer(client: HttpClient) -> NoAnswer:
    with pytest.raises(NoAnswer) as caught:
        await post(client)
    return caught.value


async def test_a_request_arrives_as_it_was_written() -> None:
    async with serving(says(OK)) as (client, server):
        assert (await post(client)).status == 200
        assert (server.requests[0].head, server.requests[0].body) == (HEAD, b"hi")


async def test_one_connection_serves_many_requests() -> None:
    async with serving(says(OK)) as (client, server):
        for _ in range(20):
            await post(client)
        assert server.connections == 1


async def test_as_many_connections_as_requests_at_once_are_kept() -> None:
    async with serving(says(OK)) as (client, server):
        for _ in range(5):
            await asyncio.gather(*(post(client) for _ in range(4)))
        assert server.connections == 4


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        pytest.param(b"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nbad", 500, b"bad", id="length"),
        pytest.param(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", 500, b"", id="empty"),
        pytest.param(b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", 404, b"", id="no reason"),
        pytest.param(
            b"HTTP/1.1 503 Oh\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nba\r\n1;x=y\r\nd\r\n0\r\nTrailer: t\r\n\r\n",
            503,
            b"bad",
            id="chunked with extension and trailer",
        ),
        pytest.param(EMPTY, 204, b"", id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", id="304"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"", id="100"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + OK, 200, b"", id="several 103"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302, b"", id="redirect"),
        pytest.param(b"HTTP/1.1 429 \xff\xfe\r\nX: \xff\r\nContent-Length: 0\r\n\r\n", 429, b"", id="not ASCII"),
    ],
)
@pytest.mark.parametrize("split", [False, True], ids=["at once", "byte by byte"])
async def test_every_way_to_frame_an_answer_is_read_and_the_connection_kept(
    answer: bytes, status: int, text: bytes, split: bool
) -> None:
    pieces = [answer[i : i + 1] for i in range(len(answer))] if split else [answer]
    async with serving(says(*pieces)) as (client, server):
        for _ in range(2):
            found = await post(client)
            assert (found.status, found.text) == (status, text)
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 500 Oh\r\n\r\nuntil the end", id="no length"),
        pytest.param(b"HTTP/1.0 500 Oh\r\n\r\nuntil the end", id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\nuntil the end", id="said so"),
    ],
)
async def test_an_answer_may_end_with_the_connection(answer: bytes) -> None:
    async with serving(then_closes(says(answer))) as (client, server):
        for _ in range(2):
            found = await post(client)
            assert (found.status, found.text) == (500, b"until the end")
        assert server.connections == 2


@pytest.mark.parametrize(
    "last",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_connection_that_the_destination_will_close_is_not_used_again(last: bytes) -> None:
    async with serving(says(last)) as (client, server):
        await post(client)
        await post(client)
        assert server.connections == 2


async def test_the_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    async with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")) as (client, server):
        head = b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n"
        assert (await post(client, head, b"")).status == 200
        assert (await post(client, head, b"")).status == 200
        assert server.connections == 1


async def test_head_and_post_share_a_connection() -> None:
    answer = in_turn(says(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"), says(OK))
    async with serving(answer) as (client, server):
        assert (await post(client, b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n", b"")).status == 200
        assert (await post(client)).status == 200
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", id="in the body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal", id="in a chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="in the headers"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="after 100"),
        pytest.param(b"", id="at once"),
    ],
)
async def test_half_an_answer_is_no_answer(answer: bytes) -> None:
    async with serving(then_closes(says(answer))) as (client, _):
        assert (await no_answer(client)).cause == "closed"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="not HTTP"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x16", id="TLS"),
        pytest.param(b"HTTP/1.1 abc\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx", id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="no chunk size"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000 + b"\r\n\r\n", id="huge header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 200 + b"\r\n", id="many headers"),
        pytest.param(b"HTTP/1.1 200 " + b"x" * 9000 + b"\r\n\r\n", id="huge reason"),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", id="101"
        ),
    ],
)
async def test_what_is_no_http_is_no_answer_and_ends_the_connection(answer: bytes) -> None:
    async with serving(says(answer)) as (client, server):
        assert (await no_answer(client)).cause == "protocol"
        await eventually(lambda: _is(server.open == 0))


async def test_a_reset_is_no_answer() -> None:
    async with serving(resets) as (client, _):
        assert (await no_answer(client)).cause == "closed"


async def test_a_silent_destination_is_given_up_in_time() -> None:
    async with serving(is_silent, timeout_s=0.1) as (client, server):
        error = await no_answer(client)
        assert (error.cause, str(error)) == ("timeout", "no answer within 0.1 s")
        await eventually(lambda: _is(server.open == 0))


async def test_a_destination_that_never_ends_its_answer_is_given_up_in_time() -> None:
    async def drips(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    async with serving(drips, timeout_s=0.1) as (client, _):
        assert (await no_answer(client)).cause == "timeout"


async def test_one_slow_request_does_not_delay_the_clock_of_another() -> None:
    async def slow_or_not(request: Request, writer: asyncio.StreamWriter) -> None:
        await (is_silent if request.nth == 1 and request.connection <= 2 else says(OK))(request, writer)

    async with serving(slow_or_not, timeout_s=0.2) as (client, _):
        first = asyncio.ensure_future(no_answer(client))
        await asyncio.sleep(0.1)
        second = asyncio.ensure_future(no_answer(client))
        began = asyncio.get_running_loop().time()
        assert (await first).cause == "timeout"
        assert asyncio.get_running_loop().time() - began < 0.18
        assert (await second).cause == "timeout"
        assert (await post(client)).status == 200


async def test_a_connection_closed_while_it_was_idle_costs_no_attempt() -> None:
    async def closes_after(request: Request, writer: asyncio.StreamWriter) -> None:
        await says(OK)(request, writer)
        if request.connection == 1:
            writer.close()

    async with serving(closes_after) as (client, server):
        await post(client)
        await eventually(lambda: _is(server.open == 0))
        assert (await post(client)).status == 200
        assert server.connections == 2


async def test_a_kept_connection_that_closes_on_the_next_request_is_replaced_once() -> None:
    async def closes_on_second(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.nth == 1:
            await says(OK)(request, writer)
        else:
            writer.close()

    async with serving(closes_on_second) as (client, server):
        await post(client)
        assert (await post(client)).status == 200
        assert (server.connections, len(server.requests)) == (2, 3)


async def test_a_fresh_connection_that_closes_is_not_replaced() -> None:
    async with serving(then_closes(says(b""))) as (client, server):
        assert (await no_answer(client)).cause == "closed"
        assert len(server.requests) == 1


async def test_a_kept_connection_that_fails_in_the_answer_is_not_replaced() -> None:
    answer = in_turn(says(OK), then_closes(says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")))
    async with serving(answer) as (client, server):
        await post(client)
        assert (await no_answer(client)).cause == "closed"
        assert len(server.requests) == 2


async def test_a_second_answer_to_one_request_is_never_taken_for_the_next_one() -> None:
    surplus = b"HTTP/1.1 500 Old\r\nContent-Length: 0\r\n\r\n"
    async with serving(in_turn(says(OK + surplus), says(OK))) as (client, server):
        assert (await post(client)).status == 200
        assert (await post(client)).status == 200
        assert server.connections == 2


async def test_what_comes_on_an_idle_connection_ends_it() -> None:
    answered = asyncio.Event()

    async def says_more(request: Request, writer: asyncio.StreamWriter) -> None:
        await says(OK)(request, writer)
        if request.connection == 1:
            await answered.wait()
            await says(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")(request, writer)

    async with serving(says_more) as (client, server):
        assert (await post(client)).status == 200
        answered.set()
        await eventually(lambda: _is(client._idle == []))
        assert (await post(client)).status == 200
        assert server.connections == 2


async def test_an_earlier_deadline_that_comes_later_is_kept() -> None:
    ended: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()

    class Late:
        def __init__(self, name: str) -> None:
            self.name = name

        def fail(self, error: NoAnswer) -> None:
            ended.append((self.name, loop.time()))
            deadlines.remove(self)  # type: ignore[arg-type]

    deadlines, began = http_client._Deadlines(loop, "too late"), loop.time()
    for name, seconds in (("second", 0.1), ("first", 0.02), ("never", 60)):
        deadlines.add(Late(name), began + seconds)  # type: ignore[arg-type]
    await eventually(lambda: _is(len(ended) == 2))
    assert [name for name, _ in ended] == ["first", "second"]
    assert ended[0][1] - began < 0.09
    assert deadlines._timer is not None
    deadlines._timer.cancel()


async def test_at_most_two_kibibytes_of_an_answer_are_kept() -> None:
    async with serving(says(b"HTTP/1.1 500 Oh\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50000)) as (client, server):
        assert (await post(client)).text == b"x" * 2048
        assert len((await post(client)).text) == 2048
        assert server.connections == 1


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    async def endless(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            await writer.drain()

    async with serving(endless) as (client, server):
        assert (await post(client)).status == 200
        await eventually(lambda: _is(server.open == 0))


async def test_an_answer_before_the_end_of_a_large_request_counts_and_ends_the_connection() -> None:
    over, ended = asyncio.Event(), asyncio.Event()

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await over.wait()
        writer.transport.abort()
        ended.set()

    server = await asyncio.start_server(early, "127.0.0.1", 0)
    client = client_of(Destination(port=server.sockets[0].getsockname()[1]))
    size = 20_000_000
    head = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % size
    try:
        assert (await post(client, head, b"x" * size)).status == 413
        assert client._idle == []
    finally:
        over.set()
        await ended.wait()
        server.close()


async def test_a_large_request_arrives_whole() -> None:
    body = bytes(range(256)) * 40_000
    async with serving(says(OK)) as (client, server):
        await post(client, b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(body), body)
        assert server.requests[0].body == body


async def test_a_cancelled_request_leaves_no_connection_behind() -> None:
    async with serving(in_turn(is_silent, says(OK))) as (client, server):
        request = asyncio.ensure_future(post(client))
        await eventually(lambda: _is(server.requests))
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        await eventually(lambda: _is(server.open == 0))
        assert (await post(client)).status == 200


async def test_idle_and_old_connections_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(says(OK)) as (client, server):
        await post(client)
        monkeypatch.setattr(http_client, "IDLE", 0.0)
        await post(client)
        assert server.connections == 2
        monkeypatch.setattr(http_client, "IDLE", 30.0)
        monkeypatch.setattr(http_client, "AGE", 0.0)
        await post(client)
        await post(client)
        assert server.connections == 3


async def test_nobody_listening_is_no_answer() -> None:
    async with destination(says(OK)) as server:
        pass
    assert (await no_answer(client_of(server))).cause == "connect"


async def test_timeouts_leave_nothing_to_collect() -> None:
    async with serving(is_silent, timeout_s=0.05) as (client, _):
        await asyncio.gather(*(no_answer(client) for _ in range(10)))
        assert client._idle == []
        assert client._deadlines._open == {}
    gc.collect()


@pytest.mark.parametrize("loop_kind", ["uvloop"])
def test_the_loop_of_production_gives_the_same(loop_kind: str) -> None:
    uvloop = pytest.importorskip(loop_kind)
    for check in (
        test_a_request_arrives_as_it_was_written,
        test_as_many_connections_as_requests_at_once_are_kept,
        test_a_reset_is_no_answer,
        test_a_silent_destination_is_given_up_in_time,
        test_a_kept_connection_that_closes_on_the_next_request_is_replaced_once,
        test_an_answer_before_the_end_of_a_large_request_counts_and_ends_the_connection,
        test_a_cancelled_request_leaves_no_connection_behind,
        test_an_endless_answer_is_not_read_to_its_end,
        test_nobody_listening_is_no_answer,
    ):
        uvloop.run(check())


@given(st.binary(max_size=400), st.booleans())
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bytes_end_in_an_answer_or_in_no_answer(noise: bytes, begins_well: bool) -> None:
    async def one() -> None:
        begin = b"HTTP/1.1 200 OK\r\n" if begins_well else b""
        async with serving(then_closes(says(begin + noise))) as (client, _):
            with suppress(NoAnswer):
                await post(client)

    asyncio.run(one())


async def _is(value: object) -> object:
    return value
