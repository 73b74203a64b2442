"""One connection, many requests: kept alive, pipelined in order, split anywhere, half closed, hung up, drained."""

import asyncio
import io
import select
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest

from forebay.amqp.publisher import Outcome
from forebay.errors import SpecError
from forebay.runtime import Runtime
from forebay.telemetry import Log
from forebay_ingest.app import Ingest
from forebay_ingest.connection import _CLOSING
from tests.receiving.endpoint import Client, Endpoint, chunked, head, request, signature
from tests.receiving.wire import finals, statuses
from tests.support.waiting import eventually, so

Opener = Callable[..., Any]

GOOD = request()
UNSIGNED = request(secret=None)
CHUNKED = head("X-Hub-Signature-256: sha256=" + "0" * 64, secret=None, framing="Transfer-Encoding: chunked") + chunked(
    b"abc", b"de"
)
STATUS = {GOOD: 202, UNSIGNED: 401, CHUNKED: 401}


def ids(data: bytes) -> list[str]:
    return [reply.headers["x-forebay-id"] for reply in finals(data) if reply.status == 202]


def published_ids(it: Endpoint) -> list[str]:
    return [publish.properties.message_id for publish in it.broker.published]


# ---------------------------------------------------------------------------------------------------------------- crowds


async def test_a_crowd_that_hangs_up_at_once_is_ended_a_few_in_a_turn(endpoint: Opener) -> None:
    """Others have their turns in between."""
    async with endpoint() as it:
        crowd = [socket.create_connection(("127.0.0.1", it.port)) for _ in range(300)]
        await eventually(so(lambda: len(it.ingest.connections) == 300), every_s=0.001)
        for sock in crowd:
            sock.close()
        left = [300]
        async with asyncio.timeout(10):
            while left[-1]:
                await asyncio.sleep(0)
                left.append(len(it.ingest.connections))
        assert max(before - after for before, after in pairwise(left)) <= 10


async def test_a_crowd_that_expires_at_once_is_ended_a_few_in_a_turn(endpoint: Opener) -> None:
    async with endpoint(first_byte_s=0.3) as it:
        crowd = [socket.create_connection(("127.0.0.1", it.port)) for _ in range(300)]
        await eventually(so(lambda: len(it.ingest.connections) == 300), every_s=0.001)
        left = [300]
        async with asyncio.timeout(10):
            while left[-1]:
                await asyncio.sleep(0)
                left.append(len(it.ingest.connections))
        assert max(before - after for before, after in pairwise(left)) <= 20  # of the turn before, too
        for sock in crowd:
            sock.close()


# ------------------------------------------------------------------------------------------------------------- listening


async def test_a_crowd_wakes_all_listeners_and_a_single_connection_a_few(endpoint: Opener) -> None:
    async with endpoint() as it:
        listeners = [server.sockets[0].fileno() for server in it.ingest._listeners.servers]
        assert len(listeners) == 16
        crowd = [socket.create_connection(("127.0.0.1", it.port)) for _ in range(64)]
        assert len(woken(listeners)) == 16
        for sock in crowd:
            sock.close()
        await eventually(so(lambda: not woken(listeners)), every_s=0.002)
        with socket.create_connection(("127.0.0.1", it.port)):
            assert len(woken(listeners)) == 4


async def test_a_successor_can_listen_while_connections_are_left(endpoint: Opener) -> None:
    async with endpoint() as it:
        crowd = [socket.create_connection(("127.0.0.1", it.port)) for _ in range(32)]
        await it.ingest._listeners.close()
        successor = Ingest(
            Runtime(root=it.root, listen=f"127.0.0.1:{it.port}", replica="other"), Log({}, stream=io.StringIO())
        )
        assert await successor.start() == {"http": f"127.0.0.1:{it.port}"}
        await successor._listeners.close()
        for sock in crowd:
            sock.close()


def woken(listeners: list[int]) -> list[int]:
    """Those at which somebody waits."""
    return select.select(listeners, (), (), 0)[0]


async def test_where_somebody_listens_already_nobody_else_can(endpoint: Opener) -> None:
    async with endpoint() as it:
        runtime = Runtime(root=it.root, listen=f"127.0.0.1:{it.port}", replica="other")
        with pytest.raises(SpecError, match=f"can not listen on 127.0.0.1:{it.port} .*in use"):
            await Ingest(runtime, Log({}, stream=io.StringIO())).start()


# ------------------------------------------------------------------------------------------------------------ keep-alive


async def test_a_connection_takes_one_request_after_another(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        for data in (GOOD, UNSIGNED, CHUNKED, GOOD, request(target="/elsewhere"), GOOD):
            await client.send(data)
            (reply,) = await client.answers()
            assert "connection" not in reply.headers
        assert len(it.ingest.connections) == 1


@pytest.mark.parametrize("header", ["Connection: close", "connection: Close", "Connection: keep-alive, close"])
async def test_a_client_that_wants_no_more_gets_its_answer_and_the_end(endpoint: Opener, header: str) -> None:
    async with endpoint() as it, it.client() as client:
        await client.send(request(b"x", header))
        (reply,) = finals(await client.rest())
        assert (reply.status, reply.headers["connection"]) == (202, "close")


@pytest.mark.parametrize("header", ["", "Connection: keep-alive"])
async def test_http_1_0_is_answered_and_ended(endpoint: Opener, header: str) -> None:
    async with endpoint() as it:
        for data, status in (
            (request(b"x", header, version="1.0"), 202),
            (request(b"x", secret=None, version="1.0"), 401),
        ):
            async with it.client() as client:
                await client.send(data)
                (reply,) = finals(await client.rest())
                assert (reply.status, reply.headers["connection"]) == (status, "close")


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.2"])
async def test_an_offer_to_speak_another_protocol_is_passed_over(endpoint: Opener, protocol: str) -> None:
    # Java's HttpClient makes one with every first request.
    async with endpoint() as it, it.client() as client:
        await client.send(
            request(b"x", "Connection: Upgrade, HTTP2-Settings", f"Upgrade: {protocol}", "HTTP2-Settings: AAA")
        )
        (reply,) = finals(await client.rest())
        assert reply.status == 202


async def test_the_head_end_split_between_segments_loses_nothing_behind_it(endpoint: Opener) -> None:
    first = request(b"", secret=None)
    for cut in range(1, 5):
        async with endpoint() as it, it.client() as client:
            await client.send(first[:-cut])
            await eventually(so(lambda: it.ingest.reading_bytes), every_s=0.001)
            await client.send(first[-cut:] + GOOD)
            assert [reply.status for reply in await client.answers(2)] == [401, 202]


async def test_a_large_body_behind_a_split_head_end_is_no_large_head(endpoint: Opener) -> None:
    data = request(b"x" * 100_000)
    cut = data.index(b"\r\n\r\n") + 3
    async with endpoint() as it, it.client() as client:
        await client.send(data[:cut])
        await eventually(so(lambda: it.ingest.reading_bytes), every_s=0.001)
        await client.send(data[cut:])
        assert [reply.status for reply in await client.answers()] == [202]


async def test_blank_lines_before_a_request_are_passed_over_and_open_no_way_around_the_limits(endpoint: Opener) -> None:
    async with endpoint(header_bytes=2000) as it:
        assert statuses(await it.say(b"\r\n\r\n" + GOOD)) == [202]
        large = b"\r\n\r\n" + head(*(f"X-{number}: {'x' * 90}" for number in range(30)))
        assert statuses(await it.say(large)) == [431]


# ------------------------------------------------------------------------------------------------------------ pipelining


@pytest.mark.parametrize(
    "requests", [(GOOD,) * 3, (UNSIGNED, GOOD, UNSIGNED), (CHUNKED, GOOD, CHUNKED, UNSIGNED, GOOD)]
)
async def test_pipelined_requests_are_answered_in_order(endpoint: Opener, requests: tuple[bytes, ...]) -> None:
    async with endpoint() as it, it.client() as client:
        await client.send(b"".join(requests))
        answers = await client.answers(len(requests))
        assert [reply.status for reply in answers] == [STATUS[data] for data in requests]
        got = [reply.headers["x-forebay-id"] for reply in answers if reply.status == 202]
        assert got == published_ids(it)
        assert len(it.ingest.connections) == 1


async def test_pipelined_requests_are_published_one_after_the_other(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        it.broker.outcome = None
        await client.send(GOOD + UNSIGNED + GOOD)
        await eventually(so(lambda: it.broker.in_flight), every_s=0.002)
        with pytest.raises(TimeoutError):
            await client.answers(1, within_s=0.03)
        assert it.broker.in_flight == 1
        it.broker.refuses(1)
        assert [reply.status for reply in await client.answers(2)] == [503, 401]
        await eventually(so(lambda: it.broker.in_flight), every_s=0.002)
        it.broker.confirms(2)
        assert [reply.status for reply in await client.answers(1)] == [202]


async def test_what_comes_while_a_request_waits_is_taken_up_in_order(endpoint: Opener) -> None:
    # Part of the next request came with the first, part while it waited, the rest in the moment of the answer.
    async with endpoint() as it, it.client() as client:
        it.broker.outcome = None
        third = request(b'{"third": 3}')
        stream = GOOD + CHUNKED + third
        cuts = (len(GOOD) + 20, len(GOOD) + 60, len(GOOD) + len(CHUNKED) + 5)
        await client.send(stream[: cuts[0]])
        await eventually(so(lambda: it.broker.in_flight), every_s=0.002)
        await client.send(stream[cuts[0] : cuts[1]])
        connection = next(iter(it.ingest.connections))
        await eventually(so(lambda: connection._backlog), every_s=0.002)
        await client.send(stream[cuts[1] : cuts[2]])
        it.broker.confirms(1)
        connection.data_received(b"")  # nothing, in the very turn of the answer
        assert [reply.status for reply in await client.answers(2)] == [202, 401]
        await client.send(stream[cuts[2] :])
        await eventually(so(lambda: it.broker.in_flight), every_s=0.002)
        it.broker.confirms(2)
        await client.answers(1)
        assert it.broker.published[1].body == b'{"third": 3}'


async def test_bytes_that_come_between_an_answer_and_the_next_request_do_not_overtake(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        it.broker.outcome = None
        await client.send(GOOD)
        await eventually(so(lambda: it.broker.in_flight), every_s=0.002)
        connection = next(iter(it.ingest.connections))
        second, third = request(b"second"), request(b"third")
        connection.data_received(second[:30])  # while the first waits: kept
        it.broker.confirms(1)
        connection.data_received(second[30:] + third)  # before the loop has turned
        assert len(await client.answers(1)) == 1
        for tag in (2, 3):
            await eventually(so(lambda: it.broker.in_flight), every_s=0.002)
            it.broker.confirms(tag)
            await client.answers(1)
        assert [publish.body for publish in it.broker.published] == [b'{"zen": 1}', b"second", b"third"]


@pytest.mark.parametrize("requests", [(GOOD, UNSIGNED, GOOD), (UNSIGNED, GOOD, CHUNKED), (CHUNKED, GOOD)])
async def test_a_stream_may_be_split_at_every_byte(endpoint: Opener, requests: tuple[bytes, ...]) -> None:
    stream = b"".join(requests)
    expected = [STATUS[data] for data in requests]
    async with endpoint() as it:
        for cut in range(1, len(stream)):
            async with it.client() as client:
                await client.send(stream[:cut])
                for _ in range(4):
                    await asyncio.sleep(0)
                await client.send(stream[cut:])
                assert [reply.status for reply in await client.answers(len(requests))] == expected


async def test_a_stream_may_come_byte_by_byte(endpoint: Opener) -> None:
    requests = (GOOD, CHUNKED, UNSIGNED, GOOD)
    async with endpoint() as it, it.client() as client:
        await client.dribble(b"".join(requests))
        assert [reply.status for reply in await client.answers(4)] == [STATUS[data] for data in requests]


async def test_a_thousand_pipelined_refusals_are_a_thousand_answers(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        await client.send(GOOD + UNSIGNED * 1000)
        assert Counter(reply.status for reply in await client.answers(1001)) == {202: 1, 401: 1000}
        assert len(it.ingest.connections) == 1


async def test_of_a_stranger_only_the_first_few_are_answered(endpoint: Opener) -> None:
    async with endpoint() as it:
        refused = finals(await it.say(UNSIGNED * 1000 + GOOD))
        assert [reply.status for reply in refused] == [401] * 3
        assert [reply.headers.get("connection") for reply in refused] == [None] * 2 + ["close"]
        assert not it.broker.published
        await eventually(so(lambda: not it.ingest.connections), every_s=0.002)


async def test_a_provider_is_refused_as_often_as_it_likes(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        await client.send(UNSIGNED + GOOD + UNSIGNED * 20)
        assert [reply.status for reply in await client.answers(22)] == [401, 202] + [401] * 20


async def test_a_broker_that_is_away_is_no_fault_of_the_sender(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        it.broker.outcome = Outcome.UNROUTABLE
        await client.send(GOOD * 20)
        assert [reply.status for reply in await client.answers(20)] == [503] * 20
        assert len(it.ingest.connections) == 1


async def test_after_a_request_that_can_not_be_read_nothing_more_is_answered(endpoint: Opener) -> None:
    async with endpoint() as it:
        assert statuses(await it.say(GOOD + b"nonsense\r\n\r\n" + GOOD)) == [202, 400]
        assert len(it.broker.published) == 1


async def test_a_body_in_many_chunks_is_taken_up_a_slice_in_a_turn(endpoint: Opener) -> None:
    """Others have their turns in between."""
    async with endpoint() as it, it.client() as client:
        await client.send(head(secret=None, framing="Transfer-Encoding: chunked") + chunked(*[b"x"] * 30_000))
        (connection,) = await appeared(it)
        left = set[int]()
        async with asyncio.timeout(10):
            while connection._state is not _CLOSING:
                left.add(len(connection._backlog))
                await asyncio.sleep(0)
        assert len(left) > 2


async def test_a_body_in_many_chunks_comes_whole_and_what_follows_it_too(endpoint: Opener) -> None:
    body = bytes(range(256)) * 400
    wire = head(f"X-Hub-Signature-256: {signature(body)}", secret=None, framing="Transfer-Encoding: chunked")
    parts = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    async with endpoint() as it:
        assert statuses(await it.say(wire + chunked(*parts) + GOOD)) == [202, 202]
        assert it.broker.published[0].body == body


# ---------------------------------------------------------------------------------------------------------- expectations


async def test_a_client_that_asks_first_is_told_to_go_on(endpoint: Opener) -> None:
    data = request(b"body", "Expect: 100-continue")
    async with endpoint() as it, it.client() as client:
        await client.send(data[:-4])
        await eventually(so(lambda: it.ingest.reading_bytes), every_s=0.002)
        client.received = await asyncio.get_running_loop().sock_recv(client._sock, 100)
        assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(data[-4:])
        assert [reply.status for reply in await client.answers()] == [202]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (head("Expect: 100-continue", framing="Content-Length: 11"), 413),
        (head("Expect: 100-continue", framing="Content-Length: 5", target="/elsewhere"), 404),
        (head("Expect: 100-continue", framing="Content-Length: 5", method="PUT"), 405),
        (head("Expect: 100-continue", framing="Content-Length: 5", version="1.0"), None),
    ],
)
async def test_who_will_be_refused_is_not_told_to_go_on(endpoint: Opener, data: bytes, status: int | None) -> None:
    async with endpoint(body_bytes=10) as it, it.client() as client:
        await client.send(data)
        if status is None:
            client.close_our_side()
        assert statuses(await client.rest()) == ([] if status is None else [status])


async def test_an_expectation_that_nobody_knows_is_passed_over(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        await client.dribble(request(b"x", "Expect: nonsense"))
        assert [reply.status for reply in await client.answers()] == [202]


async def test_a_body_that_is_there_already_needs_no_invitation(endpoint: Opener) -> None:
    async with endpoint() as it:
        assert statuses(await it.say(request(b"x", "Expect: 100-continue"))) == [202]


# ----------------------------------------------------------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    "parts", [(b'{"zen": 1}',), (b'{"zen"', b": ", b"1}"), tuple(bytes((x,)) for x in b'{"zen": 1}')]
)
async def test_a_chunked_body_is_the_same_bytes(endpoint: Opener, parts: tuple[bytes, ...]) -> None:
    body = b"".join(parts)
    signed = request(body, framing="Transfer-Encoding: chunked")[: -len(body)]
    async with endpoint() as it:
        assert statuses(await it.say(signed + chunked(*parts, trailer=b"X-Trailer: 1\r\n"))) == [202]
        assert it.broker.published[0].body == body


async def test_a_compressed_body_stays_as_it_is(endpoint: Opener) -> None:
    body = b"\x1f\x8b not really"
    async with endpoint() as it:
        assert statuses(await it.say(request(body, "Content-Encoding: gzip"))) == [202]
        assert it.broker.published[0].body == body


@pytest.mark.parametrize("size", [16_384, 65_537, 1024 * 1024])
async def test_a_body_in_many_segments_arrives_whole(endpoint: Opener, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    async with endpoint() as it, it.client() as client:
        for _ in range(2):
            await client.send(request(body[:size]))
            assert [reply.status for reply in await client.answers()] == [202]
        assert {publish.body for publish in it.broker.published} == {body[:size]}


async def test_the_largest_body_is_taken_and_one_more_byte_is_not(endpoint: Opener) -> None:
    async with endpoint(body_bytes=100_000) as it:
        assert statuses(await it.say(request(b"x" * 100_000))) == [202]
        assert statuses(await it.say(request(b"x" * 100_001))) == [413]
        for size, status in ((100_000, 202), (100_001, 413)):
            body = b"x" * size
            data = request(body, framing="Transfer-Encoding: chunked")[: -len(body)] + chunked(body)
            assert statuses(await it.say(data)) == [status]


# ------------------------------------------------------------------------------------------------------------ half-close


@pytest.mark.parametrize("data", [GOOD, GOOD * 3, UNSIGNED + GOOD + CHUNKED + UNSIGNED])
async def test_who_closes_its_side_still_gets_all_answers(endpoint: Opener, data: bytes) -> None:
    async with endpoint() as it, it.client() as client:
        it.broker.outcome = None
        await client.send(data)
        client.close_our_side()
        rest = asyncio.ensure_future(client.rest())
        tag = 0
        while not rest.done():
            await eventually(so(lambda: it.broker.in_flight or rest.done()), every_s=0.001)
            if it.broker.in_flight:
                tag += 1
                it.broker.confirms(tag)
        assert len(finals(await rest)) == data.count(b"HTTP/1.1")


@pytest.mark.parametrize("cut", [1, 20, len(GOOD) - 5])
async def test_what_was_never_whole_is_never_published(endpoint: Opener, cut: int) -> None:
    async with endpoint() as it:
        assert await it.say(GOOD[:cut]) == b""
        assert statuses(await it.say(GOOD + GOOD[:cut])) == [202]
        assert len(it.broker.published) == 1


async def test_a_client_that_hangs_up_after_its_request_changes_nothing_for_the_webhook(endpoint: Opener) -> None:
    async with endpoint() as it:
        it.broker.outcome = None
        async with it.client() as client:
            await client.send(GOOD)
            await eventually(so(lambda: it.broker.in_flight), every_s=0.002)
            client.hang_up()
        await eventually(so(lambda: not it.ingest.connections), every_s=0.002)
        it.broker.confirms(1)
        assert it.metric("forebay_ingest_accepted_total", queue="default") == 1
        assert it.metric("forebay_ingest_hangups_total") == 1


# ------------------------------------------------------------------------------------ what happens within one turn of the loop


async def test_pieces_that_come_within_a_turn_are_one_stream(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        (connection,) = await appeared(it)
        for at in range(0, len(GOOD * 2), 50):
            connection.data_received((GOOD * 2)[at : at + 50])
        assert [reply.status for reply in await client.answers(2)] == [202, 202]
        assert len(it.broker.published) == 2


async def test_a_sender_that_ends_within_the_turn_of_its_request_is_answered_and_ended(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        (connection,) = await appeared(it)
        connection.data_received(GOOD)
        connection.eof_received()
        assert statuses(await client.rest()) == [202]


async def test_a_sender_that_ends_within_the_turn_of_half_a_request_is_ended(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        (connection,) = await appeared(it)
        connection.data_received(GOOD[:-1])
        connection.eof_received()
        assert await client.rest() == b""
        assert not it.broker.published


async def test_a_webhook_whose_sender_is_gone_within_its_turn_is_kept(endpoint: Opener) -> None:
    async with endpoint() as it, it.client():
        (connection,) = await appeared(it)
        transport = connection._transport
        assert transport is not None
        transport.abort()  # the loop tells of it before the end of the turn, or after
        connection.data_received(GOOD)
        await eventually(so(lambda: it.broker.published), every_s=0.002)
        assert it.metric("forebay_ingest_hangups_total") == 1


async def test_nobody_makes_room_before_what_it_has_sent_was_looked_at(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        (connection,) = await appeared(it)
        connection.data_received(GOOD)
        assert not connection.leave()
        assert [reply.status for reply in await client.answers()] == [202]


@pytest.mark.parametrize(("where", "heard"), [("check", []), ("receive", [503])])
async def test_a_fault_of_ours_in_one_request_is_not_the_end_of_those_behind_it(
    endpoint: Opener, monkeypatch: pytest.MonkeyPatch, where: str, heard: list[int]
) -> None:
    async with endpoint() as it, it.client() as first, it.client() as second:
        await eventually(so(lambda: len(it.ingest.connections) == 2), every_s=0.001)
        problems: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))

        def faulty(*_: Any) -> None:
            monkeypatch.undo()
            raise ZeroDivisionError

        monkeypatch.setattr(it.ingest.receiver, where, faulty)
        for connection, data in zip(list(it.ingest.connections), (UNSIGNED, GOOD), strict=True):
            connection.data_received(data)
        assert sorted([await told(first), await told(second)]) == sorted([heard, [202]])
        assert isinstance(problems[0]["exception"], ZeroDivisionError)


async def told(client: Client) -> list[int]:
    """The statuses of its answers, however its connection ends."""
    try:
        client.close_our_side()
        return statuses(await client.rest())
    except OSError:
        return []


# ---------------------------------------------------------------------------------------------------------- backpressure


async def test_who_sends_and_does_not_read_is_not_answered_without_end(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        sending = asyncio.ensure_future(client.send(GOOD + UNSIGNED * 100_000))
        (connection,) = await appeared(it)
        await eventually(so(lambda: connection._choked), every_s=0.005)
        refused = settled_count(it)
        await eventually(lambda: refused_stands_still(it, refused), every_s=0.02)
        assert connection._transport.get_write_buffer_size() < 200_000
        assert not sending.done()
        # And it goes on as soon as it is read.
        before = it.metric("forebay_ingest_refused_total", cause="signature", status="401")
        data = bytearray()
        while it.metric("forebay_ingest_refused_total", cause="signature", status="401") < before + 1000:
            data += await asyncio.get_running_loop().sock_recv(client._sock, 65536)
        assert data.startswith(b"HTTP/1.1 202 Accepted\r\n")
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def appeared(it: Endpoint) -> list[Any]:
    await eventually(so(lambda: it.ingest.connections), every_s=0.001)
    return list(it.ingest.connections)


def settled_count(it: Endpoint) -> list[float]:
    return [it.metric("forebay_ingest_refused_total", cause="signature", status="401")]


async def refused_stands_still(it: Endpoint, seen: list[float]) -> bool:
    seen.append(it.metric("forebay_ingest_refused_total", cause="signature", status="401"))
    return len(seen) > 3 and len(set(seen[-3:])) == 1


# ----------------------------------------------------------------------------------------------------------------- drain


async def test_a_drain_serves_on_ends_what_is_under_way_and_then_everything(endpoint: Opener) -> None:
    async with endpoint(tick_s=0.05) as it, it.client() as idle, it.client() as busy, it.client() as pipelining:
        it.broker.outcome = None
        await busy.send(GOOD)
        await pipelining.send(GOOD * 2)
        await eventually(so(lambda: it.broker.in_flight == 2 and len(it.ingest.connections) == 3), every_s=0.002)
        drain = asyncio.ensure_future(it.ingest.drain())
        async with it.client() as late:  # a load balancer needs a moment
            await late.send(UNSIGNED)
            (reply,) = finals(await late.rest())
            assert reply.headers["connection"] == "close"
        assert await idle.rest() == b""
        assert not drain.done()
        it.broker.confirms(2, multiple=True)
        for client in (busy, pipelining):
            (reply,) = finals(await client.rest())
            assert (reply.status, reply.headers["connection"]) == (202, "close")
        await drain
        with pytest.raises(ConnectionRefusedError):
            await it.client().__aenter__()


async def test_a_drain_gives_up_in_time(endpoint: Opener) -> None:
    async with endpoint(drain_s=0.1) as it, it.client() as client:
        it.broker.outcome = None
        await client.send(GOOD)
        await eventually(so(lambda: it.broker.in_flight), every_s=0.002)
        async with asyncio.timeout(2):
            await it.ingest.drain()


async def test_a_drain_takes_in_whoever_has_connected(endpoint: Opener) -> None:
    async with endpoint() as it:
        waiting = [socket.create_connection(("127.0.0.1", it.port)) for _ in range(40)]  # in a single turn of the loop
        await it.ingest._listeners.close()
        for sock in waiting:
            with closing(sock):
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_sendall(sock, UNSIGNED)
                assert (await asyncio.get_running_loop().sock_recv(sock, 65536)).startswith(b"HTTP/1.1 401")
        with pytest.raises(ConnectionRefusedError):
            await it.client().__aenter__()


async def test_a_connection_whose_answer_came_during_the_drain_is_not_left_open(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        it.broker.outcome = None
        await client.send(CHUNKED[:40])
        await eventually(so(lambda: it.ingest.reading_bytes), every_s=0.002)
        drain = asyncio.ensure_future(it.ingest.drain())
        await eventually(
            so(lambda: not any(server.is_serving() for server in it.ingest._listeners.servers)), every_s=0.002
        )
        await client.send(CHUNKED[40:])
        assert statuses(await client.rest()) == [401]
        async with asyncio.timeout(3):
            await drain


# ---------------------------------------------------------------------------------------------------------------- faults


async def test_a_fault_of_ours_is_503_and_not_the_end_of_others(
    endpoint: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with endpoint() as it, it.client() as client:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        monkeypatch.setattr(it.ingest.receiver, "_router", None)
        await client.send(GOOD)
        (reply,) = finals(await client.rest())
        assert reply.status == 503
        assert b"Traceback" not in reply.body
        assert len(told) == 1
        monkeypatch.undo()
        assert statuses(await it.say(GOOD)) == [202]


async def test_a_refused_publish_of_a_pipelined_request_does_not_touch_the_next(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        it.broker.outcome = Outcome.UNROUTABLE
        await client.send(GOOD * 3)
        assert [reply.status for reply in await client.answers(3)] == [503] * 3


async def test_clients_come_and_go_in_any_state(endpoint: Opener) -> None:
    async with endpoint() as it:
        for cut in range(0, len(CHUNKED) + 1, 7):
            client: Client
            async with it.client() as client:
                await client.send(CHUNKED[:cut] + (GOOD if cut > len(CHUNKED) - 7 else b""))
                for _ in range(cut % 5):
                    await asyncio.sleep(0)
                client.hang_up()
        await eventually(so(lambda: not it.ingest.connections), every_s=0.005)
