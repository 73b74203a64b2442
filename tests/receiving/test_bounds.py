"""What a stranger can make the endpoint hold or wait for has an end, each with an honest answer and a metric."""

import asyncio
import contextlib
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from tests.receiving.endpoint import OPEN, Client, Endpoint, chunked, head, request
from tests.receiving.wire import finals, statuses
from tests.support.waiting import eventually, so

Opener = Callable[..., Any]

GOOD = request()


def causes(data: bytes) -> list[str]:
    return [json.loads(reply.body)["type"].rpartition("/")[2] for reply in finals(data)]


async def lasted(client: Client) -> tuple[bytes, float]:
    began = time.monotonic()
    return await client.rest(), time.monotonic() - began


# ------------------------------------------------------------------------------------------------------------------ time


async def test_who_connects_and_says_nothing_is_closed(endpoint: Opener) -> None:
    async with endpoint(first_byte_s=0.1) as it, it.client() as client:
        data, seconds = await lasted(client)
        assert data == b""
        assert 0.09 <= seconds < 1


async def test_an_idle_connection_is_closed(endpoint: Opener) -> None:
    async with endpoint(keep_alive_s=0.1) as it, it.client() as client:
        await client.send(GOOD)
        await client.answers()
        data, seconds = await lasted(client)
        assert data == b""
        assert 0.09 <= seconds < 1


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (GOOD[:1], {"headers_s": 0.1}),
        (GOOD[:60], {"headers_s": 0.1}),
        (GOOD[:-1], {"body_s": 0.1}),
        (head(framing="Transfer-Encoding: chunked") + b"5\r\nab", {"body_s": 0.1}),
        (head(framing="Transfer-Encoding: chunked") + b"2\r\nab\r\n0\r\n", {"body_s": 0.1}),
    ],
)
async def test_who_is_too_slow_is_told_so(endpoint: Opener, data: bytes, limits: dict[str, float]) -> None:
    async with endpoint(**limits) as it, it.client() as client:
        await client.send(data)
        answer, seconds = await lasted(client)
        assert statuses(answer) == [408]
        assert 0.09 <= seconds < 1
        assert it.metric("forebay_ingest_refused_total", cause="slow", status="408") == 1


async def test_a_trickle_does_not_prolong_the_time_for_a_request(endpoint: Opener) -> None:
    async with endpoint(headers_s=0.15) as it, it.client() as client:
        answer = asyncio.ensure_future(client.rest())
        for byte in GOOD:
            if answer.done():
                break
            await client.send(bytes((byte,)))
            await asyncio.wait({answer}, timeout=0.02)
        assert statuses(await answer) == [408]


async def test_a_webhook_that_waits_for_its_confirm_is_not_called_slow(endpoint: Opener) -> None:
    async with endpoint(keep_alive_s=0.05, body_s=0.05, headers_s=0.05, first_byte_s=0.05) as it, it.client() as client:
        it.broker.outcome = None
        await client.send(GOOD)
        with pytest.raises(TimeoutError):
            await client.answers(within_s=0.2)
        it.broker.confirms(1)
        assert [reply.status for reply in await client.answers()] == [202]


async def test_who_was_told_the_last_word_and_does_not_go_is_thrown_out(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        await client.send(b"nonsense\r\n\r\n")
        assert statuses(await client.rest()) == [400]
        assert it.ingest.connections
        await eventually(so(lambda: not it.ingest.connections), within_s=1, every_s=0.005)


# ------------------------------------------------------------------------------------------------------------ connections


async def test_connections_beyond_the_limit_are_told_to_come_back(endpoint: Opener) -> None:
    async with endpoint(connections=2) as it, it.client() as first, it.client() as second:
        for client in (first, second):
            await client.send(GOOD)
            assert [reply.status for reply in await client.answers()] == [202]
        async with it.client() as third:
            await third.send(GOOD)
            answer = await third.rest()
            assert (statuses(answer), causes(answer)) == ([503], ["connections"])
            assert finals(answer)[0].headers["retry-after"] == "5"
        for client in (first, second):
            await client.send(GOOD)
            assert [reply.status for reply in await client.answers()] == [202]
        first.hang_up()
        await eventually(so(lambda: len(it.ingest.connections) == 1), every_s=0.002)
        async with it.client() as fourth:
            await fourth.send(GOOD)
            assert [reply.status for reply in await fourth.answers()] == [202]
        assert it.metric("forebay_ingest_displaced_total") == 0


@pytest.mark.parametrize("said", [b"", GOOD[:20], request(secret=b"another")])
async def test_the_oldest_that_nothing_was_accepted_from_makes_room(endpoint: Opener, said: bytes) -> None:
    async with (
        endpoint(connections=3) as it, it.client() as known, it.client() as oldest, it.client() as younger,
    ):  # fmt: skip
        await known.send(GOOD)
        await known.answers()
        for client in (oldest, younger):
            await client.send(said)
        await eventually(so(lambda: len(it.ingest.connections) == 3), every_s=0.002)
        async with it.client() as newcomer:
            await newcomer.send(GOOD)
            assert [reply.status for reply in await newcomer.answers()] == [202]
            assert await outcome(oldest) in (b"", b"reset") or said == request(secret=b"another")
            assert it.metric("forebay_ingest_displaced_total") == 1
            await known.send(GOOD)
            assert [reply.status for reply in await known.answers()] == [202]
            assert len(it.ingest.connections) == 3


async def test_who_waits_for_the_confirm_makes_no_room(endpoint: Opener) -> None:
    async with endpoint(connections=1) as it, it.client() as first:
        it.broker.outcome = None
        await first.send(GOOD)
        await eventually(so(lambda: it.broker.in_flight), every_s=0.002)
        async with it.client() as second:
            assert statuses(await second.rest()) == [503]
        it.broker.confirms(1)
        assert [reply.status for reply in await first.answers()] == [202]


async def test_a_flood_of_connections_is_bounded_too(endpoint: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay_ingest.connection._TOLD", 3)
    async with endpoint(connections=1) as it, it.client() as known:
        await known.send(GOOD)
        await known.answers()
        clients = [it.client() for _ in range(10)]
        for client in clients:
            await client.__aenter__()
        await eventually(so(lambda: len(it.ingest.connections) == 4), every_s=0.002)
        assert await outcome(clients[-1]) in (b"", b"reset")
        for client in clients:
            client.hang_up()


async def outcome(client: Client) -> bytes:
    try:
        return await client.rest()
    except ConnectionResetError:
        return b"reset"


# ----------------------------------------------------------------------------------------------------- bytes and requests


async def test_what_all_connections_hold_together_is_bounded(endpoint: Opener) -> None:
    async with endpoint(reading_bytes=50_000, body_bytes=100_000) as it, it.client() as first, it.client() as second:
        await first.send(head(framing="Content-Length: 60000") + b"x" * 40_000)
        await eventually(so(lambda: it.ingest.reading_bytes > 40_000), every_s=0.002)
        await second.send(head(framing="Content-Length: 60000") + b"x" * 20_000)
        answer = await second.rest()
        assert (statuses(answer), causes(answer)) == ([503], ["overloaded"])
        assert 40_000 < it.ingest.reading_bytes < 50_000
        await first.send(b"x" * 1000)  # the one that was there before goes on
        async with it.client() as third:  # and what comes in one piece needs no room
            await third.send(GOOD)
            assert [reply.status for reply in await third.answers()] == [202]


async def test_heads_that_never_end_count_as_well(endpoint: Opener) -> None:
    async with endpoint(reading_bytes=20_000) as it:
        clients = [it.client() for _ in range(10)]
        for client in clients:
            await client.__aenter__()
            await client.send(head()[:-2] + b"X-A: " + b"x" * 5_000)
        await eventually(
            so(lambda: it.metric("forebay_ingest_refused_total", cause="overloaded", status="503") >= 6), every_s=0.002
        )
        assert it.ingest.reading_bytes <= 20_000
        for client in clients:
            client.hang_up()
        await eventually(so(lambda: not it.ingest.reading_bytes), every_s=0.002)


async def test_what_is_pipelined_behind_a_waiting_webhook_counts_and_is_not_read_without_end(endpoint: Opener) -> None:
    async with endpoint(confirm_s=0.3) as it, it.client() as client:
        it.broker.outcome = None
        sending = asyncio.ensure_future(client.send(GOOD * 100_000))
        await eventually(so(lambda: it.broker.in_flight), every_s=0.002)
        (connection,) = it.ingest.connections
        await eventually(so(lambda: connection._paused), every_s=0.002)
        held = it.ingest.reading_bytes
        assert 0 < held <= 2 * 256 * 1024
        for _ in range(50):
            await asyncio.sleep(0)
        assert it.ingest.reading_bytes == held
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        client.hang_up()
        await eventually(so(lambda: not it.ingest.connections), every_s=0.002)
        assert it.ingest.reading_bytes == 0


async def test_webhooks_in_flight_are_bounded_by_count(endpoint: Opener) -> None:
    async with endpoint(in_flight=2) as it, it.client() as first, it.client() as second, it.client() as third:
        it.broker.outcome = None
        for client in (first, second):
            await client.send(GOOD)
        await eventually(so(lambda: it.broker.in_flight == 2), every_s=0.002)
        await third.send(GOOD)
        (reply,) = await third.answers()
        assert (reply.status, json.loads(reply.body)["type"]) == (503, "https://forebay.dev/problems/busy")
        it.broker.confirms(2, multiple=True)
        await third.send(GOOD)
        await eventually(so(lambda: it.broker.in_flight == 1), every_s=0.002)
        it.broker.confirms(3)
        assert [reply.status for reply in await third.answers()] == [202]


async def test_webhooks_in_flight_are_bounded_by_bytes(endpoint: Opener) -> None:
    async with (
        endpoint(in_flight_bytes=150_000) as it,
        it.client() as first,
        it.client() as second,
        it.client() as third,
    ):
        it.broker.outcome = None
        for client in (first, second):
            await client.send(request(b"x" * 100_000))
        await eventually(so(lambda: it.broker.in_flight == 2), every_s=0.002)
        await third.send(GOOD)
        assert [reply.status for reply in await third.answers()] == [503]


async def memory_of(it: Endpoint, data: bytes, expected: list[int]) -> int:
    """Bytes at the peak while this is received, beyond what was there before."""
    async with it.client() as client:
        answers = asyncio.ensure_future(client.rest())
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        view = memoryview(data)
        for start in range(0, len(view), 65_536):
            if answers.done():
                break
            try:
                await asyncio.get_running_loop().sock_sendall(client._sock, view[start : start + 65_536])
            except ConnectionError:
                break
        if not answers.done():
            with contextlib.suppress(OSError):
                client.close_our_side()
        got = statuses(await answers)
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
    assert got == expected
    return peak


CHUNKED = head(framing="Transfer-Encoding: chunked", secret=None)


async def test_a_body_in_a_million_chunks_of_a_byte_is_not_read_to_its_end(endpoint: Opener) -> None:
    async with endpoint(verification=OPEN) as it:
        assert await memory_of(it, CHUNKED + b"1\r\nx\r\n" * (1024 * 1024) + b"0\r\n\r\n", [400]) < 2 * 1024 * 1024


@pytest.mark.parametrize(("size", "count"), [(1, 5_000), (16, 65_536), (1024, 1024)])
async def test_a_body_in_many_chunks_costs_a_few_times_its_size(endpoint: Opener, size: int, count: int) -> None:
    async with endpoint(verification=OPEN) as it:
        data = CHUNKED + b"%x\r\n%b\r\n" % (size, b"x" * size) * count + b"0\r\n\r\n"
        assert await memory_of(it, data, [202]) < 12 * 1024 * 1024
        assert it.broker.published[0].body == b"x" * size * count


async def test_a_chunk_extension_without_end_is_not_read_without_end(endpoint: Opener) -> None:
    async with endpoint() as it:
        assert await memory_of(it, CHUNKED + b"5;" + b"x" * (8 * 1024 * 1024), [400]) < 2 * 1024 * 1024


async def test_trailers_are_bounded_like_headers(endpoint: Opener) -> None:
    trailers = b"".join(b"X-%d: %b\r\n" % (number, b"x" * 30_000) for number in range(90))
    async with endpoint(verification=OPEN) as it:
        assert await memory_of(it, CHUNKED + chunked(b"x", trailer=trailers), [400]) < 2 * 1024 * 1024
        assert statuses(await it.say(CHUNKED + chunked(b"x", trailer=b"X-Checksum: 1\r\n"))) == [202]


async def test_a_refused_body_is_not_read_without_end(endpoint: Opener) -> None:
    data = request(b"x" * (32 * 1024 * 1024))
    async with endpoint() as it, it.client() as client:
        sending = asyncio.ensure_future(client.send(data))
        await asyncio.wait({sending}, timeout=5)
        assert isinstance(sending.exception(), ConnectionError)
        await eventually(so(lambda: not it.ingest.connections), every_s=0.002)
        assert it.metric("forebay_ingest_refused_total", cause="too-large", status="413") == 1


@pytest.mark.parametrize("size", [10_000, 200_000])
async def test_a_refused_body_of_moderate_size_still_gets_to_read_its_answer(endpoint: Opener, size: int) -> None:
    async with endpoint(body_bytes=1000) as it, it.client() as client:
        await client.send(request(b"x" * size))
        assert statuses(await client.rest()) == [413]
