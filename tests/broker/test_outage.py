"""The ledger of an outage: the broker is gone, the endpoint is killed again and again, and every webhook that got a 2xx is queued."""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from forebay.management import SETTLE_S
from forebay.settings import Deduplication, IngestSettings, OutageBuffer, Storage, dump
from forebay.topology import SourceTopology, ingest_user, shared_objects, source_objects
from forebay_cli.ports import free_port
from tests.broker.test_ingest import NAMES
from tests.receiving.endpoint import SECRET, Client, request, settings
from tests.receiving.wire import Reply
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually, so

OUTAGE_S = float(os.environ.get("OUTAGE_SECONDS", "6"))  # longer by hand
STREAMS = 6
TOPOLOGY = SourceTopology(names=NAMES, seen_s=3600)


@dataclass(slots=True)
class Endpoint:
    """An ingest that is started again whenever it ends, as by a kubelet."""

    root: Path
    port: int
    admin: int
    process: asyncio.subprocess.Process | None = None
    lives: int = 0
    ending: bool = False

    async def live(self) -> None:
        environment = {
            **os.environ, "FOREBAY_ROOT": str(self.root), "FOREBAY_LISTEN": f"127.0.0.1:{self.port}",
            "FOREBAY_ADMIN_LISTEN": f"127.0.0.1:{self.admin}", "FOREBAY_REPLICA": "pod-1",
        }  # fmt: skip
        with (self.root / "log").open("ab") as log:
            while not self.ending:
                self.lives += 1
                self.process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "forebay_ingest", env=environment, stdout=log, stderr=log
                )
                await self.process.wait()

    async def answers(self) -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            return True
        return False

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def metric(self, name: str) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin)
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        return float(next(line for line in text.splitlines() if line.startswith(name + "{")).rpartition(" ")[2])


@asynccontextmanager
async def endpoint(host: VirtualHost, root: Path, **changes: Any) -> AsyncIterator[Endpoint]:
    user = f"{host.name}-ingest"
    await host.management.declare(ingest_user(host.name, NAMES, user, "secret"))
    objects = [*shared_objects(host.name, (1,)), *source_objects(host.name, TOPOLOGY)]
    await host.management.declare(objects, settle_s=SETTLE_S)
    storage = Storage(provider="File", bucket=str(root / "bucket"))
    wanted: IngestSettings = settings(storage=storage, outage_buffer=OutageBuffer(), **changes)
    files = {
        "config/ingest.json": dump(wanted),
        "secrets/gh/secret": SECRET.decode(),
        "secrets/broker/uri": host.server.uri(vhost=host.name, username=user, password="secret"),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    it = Endpoint(root, free_port(), free_port())
    living = asyncio.ensure_future(it.live())
    try:
        await eventually(it.answers)
        yield it
    finally:
        it.ending = True
        if it.process is not None and it.process.returncode is None:
            it.process.kill()
        await living
        await host.management.delete(f"users/{user}")
    assert "Traceback" not in (root / "log").read_text()


@dataclass(slots=True)
class Ledger:
    """What the provider knows: each stream sends one webhook after the other, and none again."""

    acknowledged: list[tuple[int, int]] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    slowest_s: float = 0.0

    async def stream(self, to: Endpoint, number: int) -> None:
        loop = asyncio.get_running_loop()
        sent = 0
        while True:
            sent += 1
            began = loop.time()
            try:
                reply = await ask(to, request(json.dumps({"stream": number, "n": sent}).encode()))
            except (OSError, AssertionError):  # it was killed
                self.unanswered += 1
                await asyncio.sleep(0.02)
                continue
            self.slowest_s = max(self.slowest_s, loop.time() - began)
            if reply.status < 300:
                self.acknowledged.append((number, sent))
            else:
                self.refused[reply.status] += 1
            await asyncio.sleep(0.005)


async def ask(to: Endpoint, wire: bytes) -> Reply:
    async with Client(to.port) as client:
        await client.send(wire)
        return (await client.answers(1, 20.0))[0]


async def queued(host: VirtualHost) -> list[tuple[int, int]]:
    """What is in the queue, in order, taken out."""
    body = {"count": 5_000, "ackmode": "ack_requeue_false", "encoding": "auto"}
    found: list[dict[str, Any]] = []
    while more := await host.management.post(f"queues/{host.name}/{NAMES.queue()}/get", body):
        found += [json.loads(one["payload"]) for one in more]
    return [(one["stream"], one["n"]) for one in found]


async def emptied(root: Path) -> None:
    """Until nothing is left in the buffer."""
    await eventually(so(lambda: not list((root / "bucket").rglob("*-*-*-*-*-*-*"))), within_s=60.0)


@pytest.mark.timeout(180 + 2 * OUTAGE_S)
async def test_an_outage_with_kills_of_everything_costs_no_webhook_and_no_order(
    newest_broker: VirtualHost, tmp_path: Path
) -> None:
    draw = random.Random(837921)
    ledger = Ledger()
    async with endpoint(newest_broker, tmp_path) as it:
        sending = [asyncio.ensure_future(ledger.stream(it, number)) for number in range(STREAMS)]
        await eventually(so(lambda: len(ledger.acknowledged) > 100))
        await newest_broker.server.kill()
        before = len(ledger.acknowledged)
        for _ in range(4):  # while it stores
            await asyncio.sleep(draw.uniform(0.6, 1.4) * OUTAGE_S / 4)
            await it.kill()
            await eventually(it.answers)
        assert len(ledger.acknowledged) > before + 50 * OUTAGE_S, "webhooks are taken all the time"
        await newest_broker.server.start()
        for _ in range(3):  # while it empties
            await asyncio.sleep(draw.uniform(0.1, 0.6))
            await it.kill()
            await eventually(it.answers)
        await emptied(tmp_path)
        for one in sending:
            one.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        await emptied(tmp_path)
        found = await queued(newest_broker)
    (tmp_path / "account.txt").write_text(
        f"{len(ledger.acknowledged)} acknowledged, {ledger.unanswered} unanswered, {sum(ledger.refused.values())} refused,"
        f" {len(found) - len(set(found))} copies, {it.lives} lives, slowest answer {ledger.slowest_s:.2f} s\n"
    )
    assert not ledger.refused
    assert not set(ledger.acknowledged) - set(found), "lost"
    for number in range(STREAMS):
        firsts = list(dict.fromkeys(n for stream, n in found if stream == number))
        assert firsts == sorted(firsts), "out of order"


async def test_a_broker_that_hangs_costs_no_webhook(newest_broker: VirtualHost, tmp_path: Path) -> None:
    ledger = Ledger()
    async with endpoint(newest_broker, tmp_path, confirm_s=0.5) as it:
        sending = [asyncio.ensure_future(ledger.stream(it, number)) for number in range(STREAMS)]
        await eventually(so(lambda: len(ledger.acknowledged) > 100))
        newest_broker.server.pause()
        try:
            before = len(ledger.acknowledged)
            await eventually(so(lambda: len(ledger.acknowledged) > before + 200))
        finally:
            newest_broker.server.resume()
        await emptied(tmp_path)
        for one in sending:
            one.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        await emptied(tmp_path)
        found = await queued(newest_broker)
    assert not ledger.refused
    assert not set(ledger.acknowledged) - set(found)


async def test_a_duplicate_of_a_webhook_that_waits_is_dropped(newest_broker: VirtualHost, tmp_path: Path) -> None:
    async with endpoint(newest_broker, tmp_path, deduplication=Deduplication()) as it:
        same = [request(b'{"stream": 0, "n": %d}' % n, f"X-GitHub-Delivery: d-{n}") for n in range(3)]
        assert (await ask(it, same[0])).status == 202
        await newest_broker.server.kill()
        firsts = [await ask(it, wire) for wire in same]
        seconds = [await ask(it, wire) for wire in same]
        assert [reply.status for reply in (*firsts, *seconds)] == [202] * 6
        assert ["x-forebay-duplicate" in reply.headers for reply in firsts] == [True, False, False]
        assert all("x-forebay-duplicate" in reply.headers for reply in seconds)
        await newest_broker.server.start()
        await emptied(tmp_path)
        assert await queued(newest_broker) == [(0, 0), (0, 1), (0, 2)]


async def test_it_starts_and_takes_webhooks_without_a_broker(newest_broker: VirtualHost, tmp_path: Path) -> None:
    async with endpoint(newest_broker, tmp_path) as it:
        await newest_broker.server.kill()
        await it.kill()
        await eventually(it.answers)
        assert (await ask(it, request(b'{"stream": 0, "n": 1}'))).status == 202
        assert await it.metric("forebay_outage_buffer_webhooks") == 1
        await newest_broker.server.start()
        await emptied(tmp_path)
        assert await queued(newest_broker) == [(0, 1)]
