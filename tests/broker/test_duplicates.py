"""Duplicates over two real ingests on real brokers: dropped whoever took the first copy in, and never a webhook lost for it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from forebay.settings import Deduplication, dump
from forebay.topology import SourceTopology, ingest_user, shared_objects, source_objects
from tests.broker.test_ingest import NAMES, Process, start
from tests.receiving.endpoint import PATH, SECRET, Client, request, settings
from tests.receiving.wire import Reply
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually, so

TOPOLOGY = SourceTopology(names=NAMES, seen_s=3600)


@asynccontextmanager
async def replica(host: VirtualHost, root: Path, wanted: Deduplication) -> AsyncIterator[Process]:
    uri = host.server.uri(vhost=host.name, username=f"{host.name}-ingest", password="secret")
    files = {
        "config/ingest.json": dump(settings(deduplication=wanted)),
        "secrets/gh/secret": SECRET.decode(),
        "secrets/broker/uri": uri,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "ready.json").unlink(missing_ok=True)
    process = await start(root, root / "log")
    try:
        ready = root / "ready.json"
        await eventually(so(ready.exists), every_s=0.01)
        ports = {name: int(address.rpartition(":")[2]) for name, address in json.loads(ready.read_text()).items()}
        found = Process(host, process, ports["http"], ports["admin"], root / "log")
        await eventually(found.is_ready, every_s=0.02)
        yield found
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    assert "Traceback" not in (root / "log").read_text()


@asynccontextmanager
async def declared(host: VirtualHost) -> AsyncIterator[None]:
    user = f"{host.name}-ingest"
    await host.management.declare(ingest_user(host.name, NAMES, user, "secret"))
    await host.management.declare([*shared_objects(host.name, (1,)), *source_objects(host.name, TOPOLOGY)], settle_s=0)
    try:
        yield
    finally:
        await host.management.delete(f"users/{user}")


@asynccontextmanager
async def pair(host: VirtualHost, root: Path) -> AsyncIterator[tuple[Process, Process]]:
    async with declared(host), AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(replica(host, root / name, Deduplication())) for name in ("one", "other")
        ]
        yield one, other


async def answer(to: Process, data: bytes) -> Reply:
    async with Client(to.http) as client:
        await client.send(data)
        return (await client.answers(1, 15.0))[0]


def delivery(number: int, body: bytes = b"{}") -> bytes:
    return request(body, f"X-GitHub-Delivery: d-{number}")


async def counted(of: Process, metric: str) -> float:
    text = (await asyncio.to_thread(of.page, "/metrics"))[1]
    return float(next(line for line in text.splitlines() if line.startswith(metric + "{")).rpartition(" ")[2])


async def test_a_duplicate_is_answered_like_the_first_and_not_delivered_whichever_ingest_it_comes_to(
    broker: VirtualHost, tmp_path: Path
) -> None:
    async with pair(broker, tmp_path) as (one, other):
        firsts = [await answer(one, delivery(number)) for number in range(20)]
        assert all("x-forebay-id" in first.headers for first in firsts)
        await eventually(counts(other, "forebay_seen", 20))
        for process in (one, other):
            for number in range(20):
                again = await answer(process, delivery(number))
                assert (again.status, again.headers.get("x-forebay-duplicate")) == (202, "true")
        # What the provider does not call the same is not the same: another id, another body, another address.
        assert "x-forebay-id" in (await answer(other, delivery(21))).headers
        assert "x-forebay-id" in (await answer(other, delivery(3, b'{"n": 1}'))).headers
        elsewhere = request(b"{}", "X-GitHub-Delivery: d-3", target=f"{PATH}/more")
        assert "x-forebay-id" in (await answer(other, elsewhere)).headers
        # Whoever can not sign is told nothing of what was seen.
        assert (await answer(other, request(b"{}", "X-GitHub-Delivery: d-3", secret=b"wrong"))).status == 401
        assert [await counted(process, "forebay_duplicates_total") for process in (one, other)] == [20, 20]
        assert len(await one.queued()) == 23


def counts(of: Process, metric: str, value: float) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return await counted(of, metric) == value

    return condition


async def test_an_ingest_that_starts_again_knows_what_came_before(broker: VirtualHost, tmp_path: Path) -> None:
    async with declared(broker):
        async with replica(broker, tmp_path, Deduplication()) as it:
            for number in range(50):
                assert (await answer(it, delivery(number))).status == 202
        # Told on SIGTERM, whatever was told before.
        async with replica(broker, tmp_path, Deduplication()) as again:
            replies = [await answer(again, delivery(number)) for number in range(50)]
            assert all(reply.headers.get("x-forebay-duplicate") == "true" for reply in replies)
            assert len(await again.queued()) == 50


async def test_a_killed_ingest_costs_a_duplicate_at_most_and_never_a_webhook(
    broker: VirtualHost, tmp_path: Path
) -> None:
    async with pair(broker, tmp_path) as (one, other):
        accepted: set[int] = set()

        async def send(number: int, *replicas: Process) -> None:
            """To the first of them that answers."""
            for to in replicas:
                with suppress(OSError, AssertionError):  # no answer: it was killed
                    assert (await answer(to, delivery(number, b'{"n": %d}' % number))).status == 202
                    accepted.add(number)
                    return

        async def provider(first: int) -> None:
            for number in range(first, 400, 4):
                await send(number, one, other)

        sending = asyncio.gather(*(provider(first) for first in range(4)))
        await eventually(so(lambda: len(accepted) > 200), every_s=0.01)
        one.process.kill()
        await sending
        for number in range(400):
            await send(number, other)
        bodies = [json.loads(found["payload"])["n"] for found in await other.queued()]
        assert accepted == set(bodies) == set(range(400))
        # What four senders had in flight at the kill, and what was confirmed and not yet told to anybody.
        assert len(bodies) - 400 <= 60


@pytest.mark.parametrize("loss", ["deleted", "never declared"])
async def test_without_its_stream_an_ingest_takes_webhooks_all_the_same(
    newest_broker: VirtualHost, tmp_path: Path, loss: str
) -> None:
    host = newest_broker
    async with declared(host):
        stream = f"queues/{quote(host.name, safe='')}/{quote(NAMES.seen, safe='')}"
        if loss == "never declared":
            await host.management.delete(stream)
        async with replica(host, tmp_path, Deduplication()) as it:
            if loss == "deleted":
                await eventually(counts(it, "forebay_seen_shared", 1))
                await host.management.delete(stream)
            await eventually(counts(it, "forebay_seen_shared", 0))
            assert "x-forebay-id" in (await answer(it, delivery(1))).headers
            assert "x-forebay-duplicate" in (await answer(it, delivery(1))).headers
            assert len(await it.queued()) == 1
