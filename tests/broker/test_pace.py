"""What the destination's pace does to a queue on a real broker: while nothing may be tried, nothing is tried and nothing moves."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from forebay import topology
from forebay.settings import CircuitBreaker, RetryPolicy, dump
from forebay.topology import DELIVERY_LIMIT, SourceTopology, source_objects
from forebay_worker import gate, notes
from forebay_worker.app import Worker
from tests.broker.test_worker import BUSY, NAMES, OK, Place, counted, delivering, many, to, working
from tests.support.destination import Destination, Request, destination, says
from tests.support.waiting import eventually, so

BREAKER = CircuitBreaker(minimum=4, open_for_s=1.5, probes=2)
# Nothing that failed comes again while a test looks.
LATE = RetryPolicy(schedule_s=(60.0,))
# Before a hold ends, for a look at the queue: on a busy machine the connection for it takes a while.
_LOOKING_S = 0.9
WAIT = b"HTTP/1.1 429 Slow Down\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"


class Moody:
    """An answer that can be changed."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await says(self.answer)(request, writer)


async def depth(place: Place, *workers: Worker) -> int:
    """Messages in the queue, those that idle workers were handed out ahead too."""
    return await place.ready() + sum(worker._consumption.in_hand for worker in workers)


def held(worker: Worker, reason: str) -> float:
    return counted(worker, "forebay_hold_seconds", reason=reason)


async def test_while_the_breaker_is_open_no_attempt_is_spent_and_nothing_leaves_the_queue(everywhere: Place) -> None:
    mood, place = Moody(BUSY), everywhere
    async with delivering(place, mood, circuit_breaker=BREAKER, concurrency=2, retry=LATE) as (server, worker):
        await place.send(*many(40))
        await eventually(so(lambda: held(worker, "breaker")), every_s=0.001)
        await eventually(so(lambda: worker._consumption.in_flight == 0), every_s=0.001)
        tried = len(server.requests)
        assert 4 <= tried <= 5  # those that were under way when it opened are not cut
        assert counted(worker, "forebay_breaker_state") == 2
        assert await depth(place, worker) == 40 - tried
        await asyncio.sleep(held(worker, "breaker") - _LOOKING_S)
        assert held(worker, "breaker") > 0
        assert len(server.requests) == tried
        # What the broker tells of consumers is seconds old, or counts those that still have something in hand.
        assert (await depth(place, worker), worker._consumer.consuming) == (40 - tried, False)
        assert (worker.unready(), worker.unhealthy()) == (None, None)

        # One probe fails, and it is open again; the next two succeed, and all the rest is delivered.
        await eventually(so(lambda: len(server.requests) == tried + 1), every_s=0.001)
        await eventually(so(lambda: held(worker, "breaker") > 1), every_s=0.001)
        mood.answer = OK
        await eventually(so(lambda: len(server.requests) == 40))
        await eventually(so(lambda: counted(worker, "forebay_breaker_state") == 0))
        assert len({request.header("x-forebay-id") for request in server.requests}) == 40


async def test_a_breaker_that_is_not_closed_is_told_by_notes_and_none_stays(
    everywhere: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "BREAKER_NOTE_S", 1)
    monkeypatch.setattr(notes, "_EVERY_S", 0.4)
    mood, place = Moody(BUSY), everywhere
    host, queue = place.host, NAMES.breaker_notes
    await host.management.declare(source_objects(host.name, SourceTopology(names=NAMES, breaker=True)))
    async with delivering(place, mood, circuit_breaker=BREAKER, concurrency=2, retry=LATE) as (_, worker):
        await place.send(*many(40))
        await eventually(lambda: _told(place, queue, True))
        await eventually(so(lambda: counted(worker, "forebay_breaker_state") == 1), every_s=0.001)
        assert await _told(place, queue, True)  # half-open it is no more closed than open
        mood.answer = OK
        await eventually(so(lambda: counted(worker, "forebay_breaker_state") == 0))
        await eventually(lambda: _told(place, queue, False))


async def _told(place: Place, queue: str, told: bool) -> bool:
    return bool(await place.ready(queue)) is told


async def test_retry_after_pauses_the_destination_and_not_only_that_webhook(everywhere: Place) -> None:
    mood, place = Moody(WAIT), everywhere
    async with delivering(place, mood, concurrency=2, retry=LATE) as (server, worker):
        await place.send(*many(20))
        await eventually(so(lambda: held(worker, "retry-after") > 1.5), every_s=0.001)
        await eventually(so(lambda: worker._consumption.in_flight == 0), every_s=0.001)
        tried = len(server.requests)
        assert tried <= 2
        mood.answer = OK
        await asyncio.sleep(held(worker, "retry-after") - _LOOKING_S)
        assert len(server.requests) == tried
        assert await depth(place, worker) == 20 - tried
        await eventually(so(lambda: len(server.requests) == 20))


async def test_the_cap_bounds_what_retry_after_can_ask_for(place: Place) -> None:
    capped = replace(LATE, retry_after_max_s=0.0)
    async with delivering(place, says(WAIT), retry=capped) as (server, worker):
        await place.send(*many(30))
        await eventually(so(lambda: len(server.requests) == 30))
        assert held(worker, "retry-after") == 0


async def test_workers_of_their_own_breakers_stop_as_one_that_is_shared_would(place: Place) -> None:
    """Each sees the same destination: all of them are open after a few attempts each, and no attempt is spent then."""
    mood, count = Moody(BUSY), 4
    rested = replace(BREAKER, open_for_s=3.0)
    async with destination(mood) as server, several(place, count, server, circuit_breaker=rested) as workers:
        await place.send(*many(200))
        await eventually(so(lambda: all(held(worker, "breaker") for worker in workers)), every_s=0.001)
        await eventually(so(lambda: not any(worker._consumption.in_flight for worker in workers)), every_s=0.001)
        tried = len(server.requests)
        assert tried <= count * (BREAKER.minimum + 2 - 1)
        await asyncio.sleep(1.5)
        assert len(server.requests) == tried
        assert await depth(place, *workers) == 200 - tried
        mood.answer = OK
        await eventually(so(lambda: len({r.header("x-forebay-id") for r in server.requests}) == 200))


@asynccontextmanager
async def several(place: Place, count: int, server: Destination, **changes: Any) -> AsyncIterator[list[Worker]]:
    settings = place.settings(destination=to(server), concurrency=2, retry=LATE, **changes)
    async with working(place, settings) as first:
        if count == 1:
            yield [first]
            return
        async with several(place, count - 1, server, **changes) as others:
            yield [first, *others]


async def test_paused_and_resumed_under_load_nothing_is_cut_and_nothing_is_lost(everywhere: Place) -> None:
    place, enough = everywhere, asyncio.Event()
    async with delivering(place, slowly, concurrency=4) as (server, worker):
        sending = asyncio.ensure_future(_until(place, enough))
        for _ in range(2):
            pause(place, worker, suspended=True)
            await eventually(so(lambda: held(worker, "suspended")), every_s=0.001)
            await eventually(so(lambda: worker._consumption.in_flight == 0), every_s=0.001)
            tried, before = len(server.requests), await depth(place, worker)
            await asyncio.sleep(0.5)
            assert len(server.requests) == tried
            assert await depth(place, worker) > before  # what comes in meanwhile waits
            assert (worker.unready(), worker.unhealthy()) == (None, None)
            pause(place, worker, suspended=False)
            await eventually(so(lambda tried=tried: len(server.requests) > tried), every_s=0.001)  # type: ignore[misc]
        enough.set()
        sent = await sending
        await eventually(so(lambda: len(server.requests) >= sent))
        # Each once: nothing was cut, and nothing was given back and delivered a second time.
        assert sorted(r.header("x-forebay-id") or "" for r in server.requests) == sorted(one.id for one in many(sent))
        await eventually(so(lambda: counted(worker, "forebay_delivery_attempts_total", outcome="delivered") == sent))


async def slowly(request: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.01)
    await says(OK)(request, writer)


async def _until(place: Place, enough: asyncio.Event) -> int:
    """Send a few webhooks again and again; how many it were."""
    sent = 0
    while not enough.is_set():
        await place.send(*many(sent + 5)[sent:])
        sent += 5
        await asyncio.sleep(0.05)
    return sent


def pause(place: Place, worker: Worker, *, suspended: bool) -> None:
    """As whoever mounts the settings does it."""
    file = place.root / "config" / "worker.json"
    fresh = file.with_suffix(".fresh")
    fresh.write_text(dump(replace(worker.settings, suspended=suspended)))
    fresh.replace(file)


async def test_what_is_held_for_long_goes_back_and_keeps_its_place(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "KEPT_S", 0.5)
    mood = Moody(WAIT)
    async with delivering(place, mood, concurrency=1, retry=LATE) as (server, worker):
        await place.send(*many(5))
        await eventually(so(lambda: worker._consumption.in_hand == 1))
        assert await place.ready() == 3
        await eventually(so(lambda: worker._consumption.in_hand == 0))
        assert held(worker, "retry-after") > 0
        await eventually(lambda: _is_ready(place, 4))
        mood.answer = OK
        await eventually(so(lambda: len(server.requests) == 5))
        assert [request.header("x-forebay-id") for request in server.requests] == [one.id for one in many(5)]


async def test_holding_more_often_than_the_delivery_limit_dead_letters_nothing(everywhere: Place) -> None:
    """A hold does not hand back what the worker has, because that counts before RabbitMQ 4.3."""
    place = everywhere
    async with delivering(place, slowly, concurrency=1) as (server, worker):
        worker._gate.suspend(suspended=True)
        await place.send(*many(10))
        for _ in range(DELIVERY_LIMIT + 5):
            worker._gate.suspend(suspended=False)
            await eventually(so(lambda: worker._consumption.in_flight), every_s=0.001)
            worker._gate.suspend(suspended=True)
        worker._gate.suspend(suspended=False)
        await eventually(so(lambda: len(server.requests) == 10))
        assert {request.header("x-forebay-id") for request in server.requests} == {one.id for one in many(10)}


async def test_a_connection_that_is_lost_in_a_hold_changes_nothing(place: Place) -> None:
    mood = Moody(WAIT)
    async with delivering(place, mood, concurrency=2, retry=LATE) as (server, worker):
        await place.send(*many(10))
        await eventually(so(lambda: held(worker, "retry-after")), every_s=0.001)
        generation = worker._consumer.generation
        worker._consumer.link.recycle("the test")
        await eventually(so(lambda: worker._consumer.generation > generation), every_s=0.001)
        tried = len(server.requests)
        mood.answer = OK
        await asyncio.sleep(held(worker, "retry-after") - _LOOKING_S)
        assert (len(server.requests), worker._consumer.consuming) == (tried, False)
        await eventually(so(lambda: len({r.header("x-forebay-id") for r in server.requests}) == 10))


async def test_the_log_tells_of_a_hold_and_of_its_end(place: Place) -> None:
    said, mood = io.StringIO(), Moody(BUSY)
    async with destination(mood) as server:
        settings = place.settings(destination=to(server), circuit_breaker=replace(BREAKER, open_for_s=0.3), retry=LATE)
        async with working(place, settings, said) as worker:
            await place.send(*many(20))
            await eventually(so(lambda: held(worker, "breaker")), every_s=0.001)
            mood.answer = OK
            await eventually(so(lambda: counted(worker, "forebay_breaker_state") == 0 and not held(worker, "breaker")))
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    told = [
        (line["event"], line.get("most"), line.get("reasons")) for line in lines if line["event"].startswith("pace.")
    ]
    assert told[:1] == [("pace.held", 0, ["breaker"])]
    assert told[-2:] == [("pace.held", 1, ["breaker"]), ("pace.free", None, None)]


async def _is_ready(place: Place, count: int) -> bool:
    return await place.ready() == count
