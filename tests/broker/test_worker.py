"""The whole worker on a real broker: what it takes from the queue is delivered, comes again later, or is a dead letter."""

import asyncio
import io
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pika
import pytest

from forebay.amqp import frames
from forebay.amqp.consumer import Consumer, Message
from forebay.amqp.publisher import Outcome, Publisher
from forebay.envelope import AmqpMessage, Envelope, decode, encode
from forebay.runtime import Runtime
from forebay.settings import Destination, Handler, RetryPolicy, WorkerSettings, dump
from forebay.telemetry import Log
from forebay.topology import TIERS, Names, SourceTopology, shared_objects, source_objects, worker_user
from forebay_worker.app import Worker
from tests.support.brokers import VirtualHost
from tests.support.destination import Answer, destination, in_turn, is_silent, says
from tests.support.destination import Destination as Server
from tests.support.envelopes import envelope
from tests.support.waiting import eventually

NAMES = Names.of("payments/github")
QUEUE = NAMES.queue()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope"
SOON = RetryPolicy(initial_s=0.5, jitter=False)


@dataclass(slots=True, kw_only=True)
class Place:
    """A source on a broker, and where its worker finds its settings."""

    host: VirtualHost
    root: Path
    publisher: Publisher
    user_uri: str

    def settings(self, **changes: Any) -> WorkerSettings:
        return WorkerSettings(**{"source": "payments/github", "queue": "default", "retry": SOON, **changes})

    def write(self, settings: WorkerSettings) -> Path:
        for file, text in (("config/worker.json", dump(settings)), ("secrets/broker/uri", self.user_uri)):
            (self.root / file).parent.mkdir(parents=True, exist_ok=True)
            (self.root / file).write_text(text)
        return self.root

    async def send(self, *envelopes: Envelope) -> None:
        await asyncio.gather(*(self.publisher.publish(NAMES.exchange, QUEUE, encode(one)) for one in envelopes))

    async def send_frames(self, table: bytes) -> None:
        """Send a message whose header table is these bytes, whatever they are."""
        confirmed: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        publish = frames.publish_frames(
            frames.method_frame(NAMES.exchange.encode(), QUEUE.encode()),
            frames.short(b"x/y"),
            table,
            frames.after_table(b"poison", 1, b""),
            b"\0\xff",
            frame_max=self.publisher.frame_max,
        )
        self.publisher.send(publish, b"poison", confirmed.set_result)
        assert await confirmed is Outcome.CONFIRMED

    async def ready(self, queue: str = QUEUE) -> int:
        """How many messages wait in a queue, as of now."""
        return await asyncio.to_thread(_ready, self.host.uri, queue)

    async def acknowledged(self) -> int:
        """How many messages of the queue were acknowledged, as of a second ago."""
        queue = await self.host.management.get(f"queues/{self.host.name}/{QUEUE}")
        return int(queue.get("message_stats", {}).get("ack", 0))

    async def dead_letters(self, count: int) -> list[Message]:
        found: list[Message] = []
        uri = self.host.uri
        reader = Consumer(lambda: uri, name="test", queue=NAMES.dead, prefetch=100, on_message=found.append)
        running = asyncio.ensure_future(reader.run())
        await eventually(lambda: _is(len(found) >= count))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return found


@asynccontextmanager
async def placed(host: VirtualHost, root: Path) -> AsyncIterator[Place]:
    user = f"worker-{host.name}"
    objects = [
        *shared_objects(host.name),
        *source_objects(host.name, SourceTopology(names=NAMES)),
        *worker_user(host.name, NAMES, user, "pw"),
    ]
    await host.management.declare(objects)
    publisher = Publisher(lambda: host.uri, name="test")
    running = asyncio.ensure_future(publisher.run())
    await eventually(lambda: _is(publisher.obstacle is None))
    try:
        uri = host.server.uri(vhost=host.name, username=user, password="pw")
        yield Place(host=host, root=root, publisher=publisher, user_uri=uri)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await host.management.delete(f"users/{user}")


@asynccontextmanager
async def working(place: Place, settings: WorkerSettings, said: io.StringIO | None = None) -> AsyncIterator[Worker]:
    """The worker on this test's loop, which writes its log to `said`."""
    worker = Worker(Runtime(root=place.write(settings)), Log({}, stream=io.StringIO() if said is None else said))
    running = asyncio.ensure_future(worker.run())
    try:
        await eventually(lambda: _is(worker.unready() is None), instead=lambda: (worker.unready(), running))
        yield worker
    finally:
        await worker.drain()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def delivering(place: Place, answer: Answer, **changes: Any) -> AsyncIterator[tuple[Server, Worker]]:
    async with (
        destination(answer) as server,
        working(place, place.settings(destination=to(server), **changes)) as worker,
    ):
        yield server, worker


def to(server: Server, **changes: Any) -> Destination:
    return Destination(**{"url": f"http://127.0.0.1:{server.port}/hook", "allow_loopback": True, **changes})


def many(count: int) -> list[Envelope]:
    return [envelope(id=f"webhook-{number}", received_at=_now()) for number in range(count)]


def counted(worker: Worker, metric: str, **labels: str) -> float:
    found = worker.registry.get_sample_value(
        metric, {"namespace": "payments", "source": "github", "queue": "default", **labels}
    )
    return found or 0.0


async def test_what_is_in_the_queue_is_delivered_and_acknowledged(everywhere: Place) -> None:
    async with delivering(everywhere, says(OK)) as (server, worker):
        await everywhere.send(*many(50))
        await eventually(lambda: _is(len(server.requests) == 50))
        assert {request.header("x-forebay-id") for request in server.requests} == {one.id for one in many(50)}
        assert all(request.body == envelope().body for request in server.requests)
        await eventually(lambda: _acknowledged(everywhere, 50))
        assert counted(worker, "forebay_delivery_attempts_total", outcome="delivered") == 50


async def test_what_fails_comes_again_through_a_tier_with_its_history(everywhere: Place) -> None:
    async with delivering(everywhere, in_turn(says(BUSY), says(BUSY), says(OK))) as (server, worker):
        await everywhere.send(*many(1))
        await eventually(lambda: _is(len(server.requests) == 3))
        assert [request.header("x-forebay-attempt") for request in server.requests] == ["1", "2", "3"]
        assert {request.header("idempotency-key") for request in server.requests} == {"webhook-0"}
        assert counted(worker, "forebay_retries_total") == 2
        await eventually(lambda: _acknowledged(everywhere, 3))


async def test_a_dead_letter_has_its_reason_and_every_attempt(everywhere: Place) -> None:
    async with delivering(everywhere, in_turn(says(BUSY), says(MISSING))) as (_, worker):
        await everywhere.send(*many(1))
        (message,) = await everywhere.dead_letters(1)
        dead = decode(message.message_id, message.content_type, message.headers, message.body)
        assert dead.dead is not None
        assert (dead.dead.reason, dead.dead.detail) == ("permanent-status", "HTTP 404: nope")
        assert [(attempt.status, attempt.error, attempt.answer) for attempt in dead.attempts] == [
            (503, "HTTP 503", ""),
            (404, "HTTP 404: nope", "nope"),
        ]
        assert "x-death" not in message.headers
        assert (dead.body, dead.header_block) == (envelope().body, envelope().header_block)
        assert counted(worker, "forebay_dead_letters_total", reason="permanent-status") == 1


async def test_a_message_that_is_no_envelope_becomes_a_dead_letter_with_its_bytes(everywhere: Place) -> None:
    async with delivering(everywhere, says(OK)) as (server, _):
        headers: dict[str, Any] = {"forebay-envelope": 3, "theirs": "kept", "nested": {"a": [1, True]}}
        strange = AmqpMessage(message_id="m", timestamp=1, content_type="x/y", headers=headers, body=b"\0\xff")
        await everywhere.publisher.publish(NAMES.exchange, QUEUE, strange)
        (message,) = await everywhere.dead_letters(1)
        assert (message.message_id, message.content_type, message.body) == ("m", "x/y", b"\0\xff")
        assert {name: message.headers[name] for name in headers} == headers
        assert message.headers["forebay-reason"] == "undecodable"
        assert "version 3" in message.headers["forebay-detail"]
        assert server.requests == []


def nested(depth: int) -> bytes:
    """A value of a table: a table in a table in a table …"""
    value = b"V"
    for _ in range(depth):
        value = b"F" + frames.length(inner := frames.short(b"a") + value) + inner
    return value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"T" + (2**63).to_bytes(8, "big"), id="a time beyond the year 9999"),
        pytest.param(nested(5000), id="tables a thousand deep"),
    ],
)
async def test_headers_that_pika_can_not_decode_are_a_dead_letter_and_disturb_nothing_else(
    everywhere: Place, value: bytes
) -> None:
    async with delivering(everywhere, says(OK)) as (server, worker):
        await everywhere.send(*many(20))
        await everywhere.send_frames(frames.text_item(b"theirs", b"kept") + frames.short(b"strange") + value)
        await everywhere.send(*(replace(one, id=f"after-{one.id}") for one in many(20)))
        (message,) = await everywhere.dead_letters(1)
        assert (message.message_id, message.content_type, message.body) == ("poison", "x/y", b"\0\xff")
        assert {name: message.headers[name] for name in ("theirs", "strange")} == {"theirs": "kept", "strange": value}
        assert message.headers["forebay-reason"] == "undecodable"
        assert message.headers["forebay-detail"] == "header forebay-envelope is missing"
        assert message.headers["forebay-queue"] == "default"
        await eventually(lambda: _is(len(server.requests) == 40))
        # Not one connection was lost: each loss would bring all others closer to their delivery limit.
        assert worker._consumer.link.attempts == 1


async def test_a_handler_is_a_destination(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.root / "their_handlers.py").write_text(
        "from forebay_worker import DeadLetter, Drop, Retry\n"
        "seen = []\n"
        "def handle(webhook):\n"
        "    seen.append((webhook.id, webhook.attempt))\n"
        "    if webhook.id == 'webhook-0' and webhook.attempt == 1: raise Retry(after=1)\n"
        "    if webhook.id == 'webhook-1': raise Drop('unwanted')\n"
        "    if webhook.id == 'webhook-2': raise DeadLetter('malformed')\n"
    )
    monkeypatch.syspath_prepend(str(place.root))
    async with working(place, place.settings(handler=Handler(target="their_handlers:handle"))) as worker:
        await place.send(*many(3))
        (message,) = await place.dead_letters(1)
        assert (message.message_id, message.headers["forebay-detail"]) == ("webhook-2", "malformed")
        await eventually(lambda: _is(counted(worker, "forebay_delivery_attempts_total", outcome="delivered") == 1))
        import their_handlers  # type: ignore[import-not-found]

        assert ("webhook-0", 2) in their_handlers.seen
        await eventually(lambda: _acknowledged(place, 4))


async def test_no_more_than_the_concurrency_is_delivered_at_a_time(place: Place) -> None:
    most = 0

    async def measured(request: Any, writer: Any) -> None:
        nonlocal most
        most = max(most, server.open)
        await asyncio.sleep(0.01)
        await says(OK)(request, writer)

    async with delivering(place, measured, concurrency=3) as (server, _):
        await place.send(*many(40))
        await eventually(lambda: _is(len(server.requests) == 40))
        assert most == 3


async def test_a_suspended_worker_takes_nothing_and_is_well(place: Place) -> None:
    async with delivering(place, says(OK), suspended=True) as (server, worker):
        await place.send(*many(3))
        assert (worker.unready(), worker.unhealthy()) == (None, None)
        assert await place.ready() == 3
        assert server.requests == []


async def test_a_worker_whose_queue_is_gone_is_not_ready_until_it_is_back(place: Place) -> None:
    async with delivering(place, says(OK)) as (server, worker):
        await place.host.management.delete(f"queues/{place.host.name}/{QUEUE}")
        await eventually(lambda: _is(worker.unready() is not None))
        await place.host.management.declare(source_objects(place.host.name, SourceTopology(names=NAMES)))
        await eventually(lambda: _is(worker.unready() is None))
        await place.send(*many(1))
        await eventually(lambda: _is(len(server.requests) == 1))


async def test_a_retry_whose_tier_is_gone_is_held_until_it_is_back(place: Place) -> None:
    for tier in TIERS:
        await place.host.management.delete(f"queues/{place.host.name}/forebay.delay.{tier}")
    async with delivering(place, in_turn(says(BUSY), says(OK))) as (server, worker):
        await place.send(*many(1))
        await eventually(lambda: _is(counted(worker, "forebay_settle_failures_total", cause="rejected") >= 2))
        assert len(server.requests) == 1  # held, not tried again at once
        await place.host.management.declare(shared_objects(place.host.name))
        await eventually(lambda: _is(len(server.requests) == 2))
        await eventually(lambda: _acknowledged(place, 2))


async def test_a_worker_that_loses_its_connections_loses_nothing(place: Place) -> None:
    async with delivering(place, says(OK)) as (server, worker):
        await place.send(*many(300))
        for _ in range(3):
            await eventually(lambda: _is(worker.unready() is None))
            for connection in await place.host.management.get("connections"):
                if connection["user"].startswith("worker-"):
                    await place.host.management.delete(f"connections/{connection['name'].replace(' ', '%20')}")
        await eventually(lambda: _is({r.header("x-forebay-id") for r in server.requests} == {o.id for o in many(300)}))


# ------------------------------------------------------------------------------------ as a process


@dataclass(slots=True, kw_only=True)
class Running:
    """A worker's process."""

    process: asyncio.subprocess.Process
    admin: str
    lines: list[str] = field(default_factory=list)

    async def get(self, path: str) -> str:
        def read() -> str:
            with urlopen(f"http://{self.admin}{path}", timeout=5) as answer:
                return str(answer.read().decode())

        return await asyncio.to_thread(read)


@asynccontextmanager
async def process(place: Place, settings: WorkerSettings) -> AsyncIterator[Running]:
    root = place.write(settings)
    ready = root / "ready.json"
    environment = {
        **os.environ,
        "FOREBAY_ROOT": str(root),
        "FOREBAY_ADMIN_LISTEN": "127.0.0.1:0",
        "FOREBAY_READY_FILE": str(ready),
    }
    command = [sys.executable, "-m", "forebay_worker"]
    child = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    try:
        await eventually(lambda: _is(ready.exists()))
        running = Running(process=child, admin=json.loads(ready.read_text())["admin"])
        await eventually(lambda: _answers(running))
        yield running
    finally:
        ready.unlink(missing_ok=True)
        if child.returncode is None:
            child.kill()
        assert child.stdout is not None
        running.lines = (await child.stdout.read()).decode().splitlines()
        await child.wait()


def slow(seconds: float) -> Answer:
    async def answer(request: Any, writer: Any) -> None:
        await asyncio.sleep(seconds)
        await says(OK)(request, writer)

    return answer


async def test_sigterm_finishes_what_is_in_flight_gives_back_the_rest_and_exits_with_0(place: Place) -> None:
    async with destination(slow(0.3)) as server:
        async with process(place, place.settings(destination=to(server), concurrency=4)) as running:
            await place.send(*many(30))
            await eventually(lambda: _is(len(server.requests) >= 6))
            running.process.send_signal(signal.SIGTERM)
            assert await running.process.wait() == 0
        delivered = [request.header("x-forebay-id") for request in server.requests]
        assert len(delivered) == len(set(delivered))
        await eventually(lambda: _has_ready(place, 30 - len(delivered)))
        # Nobody waits for a broker's timeout: the next worker has the rest at once, and nothing twice.
        async with process(place, place.settings(destination=to(server), concurrency=4)) as other:
            await eventually(lambda: _is(len(server.requests) == 30))
            other.process.send_signal(signal.SIGTERM)
            assert await other.process.wait() == 0
        assert await _nothing_left(place)
        assert sorted(r.header("x-forebay-id") or "" for r in server.requests) == sorted(o.id for o in many(30))


async def test_what_is_not_done_when_the_drain_ends_comes_again(place: Place) -> None:
    async with destination(is_silent) as server:
        async with process(place, place.settings(destination=to(server), drain_s=0.2)) as running:
            await place.send(*many(2))
            await eventually(lambda: _is(len(server.requests) == 2))
            running.process.send_signal(signal.SIGTERM)
            assert await running.process.wait() == 0
        await eventually(lambda: _has_ready(place, 2))


async def test_a_stuck_thread_does_not_keep_the_worker_from_ending(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = place.root / "entered"
    (place.root / "stuck_handlers.py").write_text(
        f"import pathlib, time\ndef handle(webhook):\n    pathlib.Path({str(mark)!r}).touch()\n    time.sleep(3600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(place.root))
    settings = place.settings(handler=Handler(target="stuck_handlers:handle"), drain_s=0.2)
    async with process(place, settings) as running:
        await place.send(*many(1))
        await eventually(lambda: _is(mark.exists()))
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await running.process.wait() == 0
    await eventually(lambda: _has_ready(place, 1))


async def test_a_killed_worker_loses_nothing(place: Place) -> None:
    async with destination(slow(0.05)) as server:
        settings = place.settings(destination=to(server), concurrency=4)
        await place.send(*many(60))
        for enough in (10, 30):
            async with process(place, settings) as running:
                await eventually(lambda enough=enough: _is(len(server.requests) >= enough))  # type: ignore[misc]
                running.process.kill()
                await running.process.wait()
        async with process(place, settings) as running:
            await eventually(lambda: _is(len({request.header("x-forebay-id") for request in server.requests}) == 60))
            running.process.send_signal(signal.SIGTERM)
            assert await running.process.wait() == 0
        assert await _nothing_left(place)
        assert {request.header("x-forebay-id") for request in server.requests} == {one.id for one in many(60)}


async def test_a_worker_tells_what_it_does(place: Place) -> None:
    async with destination(in_turn(says(MISSING), says(OK))) as server:
        settings = place.settings(destination=to(server))
        async with process(place, settings) as running:
            await place.send(replace(many(1)[0], id="poison", delivery_id="d-1"))
            await eventually(lambda: _has_ready(place, 1, NAMES.dead))
            metrics = await running.get("/metrics")
            assert await running.get("/healthz") == "ok\n"
            running.process.send_signal(signal.SIGTERM)
            await running.process.wait()
    assert (
        'forebay_dead_letters_total{namespace="payments",queue="default",reason="permanent-status",source="github"} 1.0'
        in metrics
    )
    assert "forebay_in_flight" in metrics
    lines = [json.loads(line) for line in running.lines]
    (dead,) = [line for line in lines if line["event"] == "delivery.dead"]
    told = {
        "id": "poison",
        "delivery_id": "d-1",
        "status": 404,
        "reason": "permanent-status",
        "error": "HTTP 404: nope",
    }
    assert told.items() <= dead.items()
    assert [line["event"] for line in lines][-1] == "stopped"


async def test_a_worker_tells_of_lost_connections_and_of_their_return(place: Place) -> None:
    said = io.StringIO()
    async with destination(says(OK)) as server, working(place, place.settings(destination=to(server)), said):
        await eventually(lambda: _closed(place, 2))
        await eventually(lambda: _is(said.getvalue().count("broker.back") == 2))
    told = [json.loads(line) for line in said.getvalue().splitlines() if '"broker.' in line]
    consumer, publisher = "forebay-worker payments/github", "forebay-worker payments/github publisher"
    assert sorted((line["connection"], line["event"]) for line in told) == [
        (name, event) for name in (consumer, publisher) for event in ("broker.away", "broker.back")
    ]
    assert all(0 <= line["gone_s"] < 15 for line in told if line["event"] == "broker.back")


async def _closed(place: Place, count: int) -> bool:
    """Whether so many connections of the worker were there; then they are no more."""
    found = await place.host.management.get("connections")
    names = [quote(one["name"], safe="") for one in found if one.get("user") == f"worker-{place.host.name}"]
    if len(names) == count:
        for name in names:
            await place.host.management.delete(f"connections/{name}")
    return len(names) == count


async def test_an_idle_worker_is_small(place: Place) -> None:
    async with destination(says(OK)) as server, process(place, place.settings(destination=to(server))) as running:
        assert resident_mib(running.process.pid) <= 55


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def _now() -> int:
    return int(time.time() * 1000)


async def _is(value: object) -> object:
    return value


async def _has_ready(place: Place, count: int, queue: str = QUEUE) -> bool:
    return await place.ready(queue) == count


async def _nothing_left(place: Place) -> bool:
    """Whether, once no worker is left, all was acknowledged: what was not would be back, what was rejected a dead letter.

    The broker's own count may lack the last ones of a channel that has ended.
    """
    return await place.ready(QUEUE) == 0 and await place.ready(NAMES.dead) == 0


async def _acknowledged(place: Place, count: int) -> bool:
    return await place.acknowledged() == count


def _ready(uri: str, queue: str) -> int:
    with pika.BlockingConnection(pika.URLParameters(uri)) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


async def _answers(running: Running) -> bool:
    try:
        return await running.get("/readyz") == "ok\n"
    except OSError:
        return False
