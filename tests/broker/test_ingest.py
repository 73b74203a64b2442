"""The ingest process on real brokers: 2xx is said of what the broker has, and of nothing else, whatever happens to it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from forebay.envelope import decode
from forebay.management import SETTLE_S
from forebay.settings import IngestLimits, Storage, dump
from forebay.topology import Names, SourceTopology, ingest_user, shared_objects, source_objects
from tests.receiving.endpoint import SECRET, Client, request, settings
from tests.support.brokers import VirtualHost
from tests.support.gateway import CREDENTIALS
from tests.support.waiting import eventually, so

NAMES = Names.of("payments/github")


@dataclass(slots=True)
class Process:
    """A running ingest."""

    host: VirtualHost
    process: asyncio.subprocess.Process
    http: int
    admin: int
    log: Path
    accepted: list[str] = field(default_factory=list)  # ids of everything that was answered 2xx

    async def send(self, data: bytes, within_s: float = 15.0) -> int:
        """The status of one request on a connection of its own."""
        async with Client(self.http) as client:
            await client.send(data)
            (reply,) = await client.answers(1, within_s)
        if reply.status < 300:
            self.accepted.append(reply.headers["x-forebay-id"])
        return reply.status

    def page(self, path: str) -> tuple[int, str]:
        try:
            with urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    async def ready(self) -> tuple[int, str]:
        return await asyncio.to_thread(self.page, "/readyz")

    async def is_ready(self) -> bool:
        return (await self.ready())[0] == 200

    async def queued(self) -> list[dict[str, Any]]:
        """All messages of the queue, taken out."""
        body = {"count": 10_000, "ackmode": "ack_requeue_false", "encoding": "auto"}
        found: list[dict[str, Any]] = []
        while more := await self.host.management.post(f"queues/{self.host.name}/{NAMES.queue()}/get", body):
            found += more
        return found

    async def nothing_lost(self) -> None:
        kept = {one["properties"]["message_id"] for one in await self.queued()}
        assert not set(self.accepted) - kept


@asynccontextmanager
async def ingest(
    host: VirtualHost, root: Path, *, settle_s: float = 0.0, storage: Storage | None = None, **limits: Any
) -> AsyncIterator[Process]:
    user = f"{host.name}-ingest"
    await host.management.declare(ingest_user(host.name, NAMES, user, "secret"))
    topology = SourceTopology(names=NAMES)
    await host.management.declare(
        [*shared_objects(host.name, (1,)), *source_objects(host.name, topology)], settle_s=settle_s
    )
    _write(root, host.server.uri(vhost=host.name, username=user, password="secret"), storage, **limits)
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
            process.kill()
        await process.wait()
        await host.management.delete(f"users/{user}")
    assert "Traceback" not in (root / "log").read_text()


def _write(root: Path, uri: str, storage: Storage | None = None, **limits: Any) -> None:
    files = {
        "config/ingest.json": dump(settings(limits=IngestLimits(**limits), storage=storage)),
        "secrets/storage/credentials": CREDENTIALS.decode(),
        "secrets/gh/secret": SECRET.decode(),
        "secrets/broker/uri": uri,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


async def start(root: Path, log: Path) -> asyncio.subprocess.Process:
    environment = {
        **os.environ, "FOREBAY_ROOT": str(root), "FOREBAY_LISTEN": "127.0.0.1:0", "FOREBAY_ADMIN_LISTEN": "127.0.0.1:0",
        "FOREBAY_READY_FILE": str(root / "ready.json"),
    }  # fmt: skip
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "forebay_ingest", env=environment, stdout=output, stderr=subprocess.STDOUT
        )


async def test_what_is_accepted_is_in_its_queue_as_it_was_sent(broker: VirtualHost, tmp_path: Path) -> None:
    async with ingest(broker, tmp_path) as it, Client(it.http) as client:
        bodies = [b'{"n": %d}' % number for number in range(200)]
        await client.send(
            b"".join(
                request(body, "X-GitHub-Event: push", f"X-GitHub-Delivery: d-{n}") for n, body in enumerate(bodies)
            )
        )
        replies = await client.answers(200)
        assert {reply.status for reply in replies} == {202}
        large = b"x" * (1024 * 1024)
        assert await it.send(request(large)) == 202
        assert await it.send(request(secret=None)) == 401
        found = await it.queued()
        envelopes = [
            decode(one["properties"]["message_id"], None, one["properties"]["headers"], one["payload"].encode())
            for one in found
        ]
        assert [one.body for one in envelopes] == [*bodies, large]
        assert [one.id for one in envelopes[:200]] == [reply.headers["x-forebay-id"] for reply in replies]
        assert {(one.source, one.event_type, one.method) for one in envelopes[:200]} == {
            ("payments/github", "push", "POST")
        }
        assert envelopes[7].delivery_id == "d-7"
        metrics = (await asyncio.to_thread(it.page, "/metrics"))[1]
        assert 'forebay_ingest_accepted_total{namespace="payments",queue="default",source="github"} 201.0' in metrics
        assert await asyncio.to_thread(it.page, "/healthz") == (200, "ok\n")
        assert it.log.read_text().count("request.refused") == 1


async def test_after_the_queue_is_deleted_no_2xx_is_said(broker: VirtualHost, tmp_path: Path) -> None:
    async with ingest(broker, tmp_path) as it, Client(it.http) as client:
        await broker.management.delete(f"queues/{broker.name}/{NAMES.queue()}")
        await client.send(request() * 200)
        replies = await client.answers(200)
        assert {(reply.status, json.loads(reply.body)["type"].rpartition("/")[2]) for reply in replies} == {
            (503, "unroutable")
        }
        assert all(reply.headers["retry-after"] for reply in replies)


async def test_a_killed_broker_is_503_and_the_first_2xx_comes_within_a_second_of_its_return(
    broker: VirtualHost, tmp_path: Path
) -> None:
    async with ingest(broker, tmp_path, settle_s=SETTLE_S) as it:
        statuses: list[tuple[float, int]] = []

        async def provider() -> None:
            while True:
                statuses.append((time.monotonic(), await it.send(request())))
                await asyncio.sleep(0.005)

        sending = [asyncio.ensure_future(provider()) for _ in range(4)]
        await eventually(so(lambda: len(it.accepted) > 100), every_s=0.01)
        await broker.server.kill()
        await eventually(so(lambda: statuses[-1][1] == 503), every_s=0.01)
        status, reason = await it.ready()
        assert (status, "no connection to the broker" in reason) == (503, True)
        listening = asyncio.ensure_future(listens(broker.server.amqp_port))
        await broker.server.start()
        back = await listening
        await eventually(so(lambda: statuses[-1][1] == 202), every_s=0.01)
        first = next(at for at, status in statuses if at > back and status == 202)
        for one in sending:
            one.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        assert {status for _, status in statuses} == {202, 503}
        assert first - back <= 1.0
        await it.nothing_lost()


async def test_an_outage_of_the_broker_is_two_lines_in_the_log(newest_broker: VirtualHost, tmp_path: Path) -> None:
    async with ingest(newest_broker, tmp_path, settle_s=SETTLE_S) as it:
        await newest_broker.server.kill()
        await eventually(so(lambda: outages(it.log)))
        began = time.monotonic()
        await newest_broker.server.start()
        away = time.monotonic() - began
        await eventually(so(lambda: len(outages(it.log)) == 2))
    gone, back = outages(it.log)
    assert (gone["event"], gone["level"], back["event"], back["level"]) == (
        "broker.away",
        "warning",
        "broker.back",
        "info",
    )
    assert gone["connection"] == back["connection"] == "forebay-ingest payments/github"
    assert gone["reason"]
    assert away - 1 < back["gone_s"] < away + 10


def outages(log: Path) -> list[dict[str, Any]]:
    """What the log says of the broker's connection."""
    lines = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in lines if line["event"].startswith("broker.")]


async def listens(port: int) -> float:
    """When something accepts connections there."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            await asyncio.sleep(0.005)
        else:
            return time.monotonic()


async def test_a_broker_that_hangs_is_503_within_the_time_for_a_confirm(
    newest_broker: VirtualHost, tmp_path: Path
) -> None:
    async with ingest(newest_broker, tmp_path, confirm_s=0.5) as it:

        async def taken() -> bool:
            return await it.send(request()) == 202

        await eventually(taken)  # a busy machine's first confirm may take longer
        newest_broker.server.pause()
        try:
            began = time.monotonic()
            assert await asyncio.gather(*(it.send(request()) for _ in range(20))) == [503] * 20
            assert time.monotonic() - began < 4  # together, not one after the other
            assert await it.send(request()) == 503
        finally:
            newest_broker.server.resume()
        began = time.monotonic()
        await eventually(taken, every_s=0.01)
        assert time.monotonic() - began < 4
        await it.nothing_lost()


async def test_an_alarm_of_the_broker_is_503_and_the_process_stays_ready(
    newest_broker: VirtualHost, tmp_path: Path
) -> None:
    async with ingest(newest_broker, tmp_path) as it:
        await newest_broker.server.control("set_vm_memory_high_watermark", "0.000001")
        try:

            async def refused() -> bool:
                return await it.send(request()) == 503

            await eventually(refused, every_s=0.05)
            began = time.monotonic()
            assert await it.send(request()) == 503
            assert time.monotonic() - began < 0.2
            assert await it.is_ready()
            assert "broker_blocked" in (metrics := (await asyncio.to_thread(it.page, "/metrics"))[1])
            assert 'forebay_ingest_broker_blocked{namespace="payments",source="github"} 1.0' in metrics
        finally:
            await newest_broker.server.control("set_vm_memory_high_watermark", "0.6")

        async def taken() -> bool:
            return await it.send(request()) == 202

        await eventually(taken, every_s=0.05)
        await it.nothing_lost()


async def test_sigterm_answers_what_is_under_way_and_ends_with_0(newest_broker: VirtualHost, tmp_path: Path) -> None:
    async with ingest(newest_broker, tmp_path) as it, Client(it.http) as idle:
        sent = [asyncio.ensure_future(it.send(request(b"x" * 100_000))) for _ in range(50)]
        await eventually(so(lambda: it.accepted), every_s=0.001)
        it.process.send_signal(signal.SIGTERM)
        await eventually(lambda: draining(it), every_s=0.01)
        assert await it.send(request()) == 202  # a load balancer needs a moment
        assert await idle.rest() == b""
        assert await asyncio.gather(*sent) == [202] * 50
        async with asyncio.timeout(10):
            assert await it.process.wait() == 0
        await it.nothing_lost()
        assert [json.loads(line)["event"] for line in it.log.read_text().splitlines()][-2:] == ["drained", "stopped"]


async def draining(it: Process) -> bool:
    return await it.ready() == (503, "draining\n")


async def test_a_killed_process_loses_nothing_that_it_accepted(newest_broker: VirtualHost, tmp_path: Path) -> None:
    async with ingest(newest_broker, tmp_path) as it:
        sending = [asyncio.ensure_future(flood(it)) for _ in range(8)]
        await eventually(so(lambda: len(it.accepted) > 300), every_s=0.005)
        it.process.kill()
        await asyncio.gather(*sending)
        await it.nothing_lost()


async def flood(it: Process) -> None:
    while True:
        try:
            await it.send(request())
        except (OSError, AssertionError):  # it is gone
            return


async def test_an_idle_process_is_small(newest_broker: VirtualHost, tmp_path: Path) -> None:
    async with ingest(newest_broker, tmp_path) as it:
        assert resident_kib(it.process.pid) < 70 * 1024


def resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "settings file"),
        ({"config/ingest.json": "{"}, "not JSON"),
        ({"config/ingest.json": '{"source": 1}'}, "source is int, not str"),
        ({"config/ingest.json": dump(settings())}, "is the Secret mounted"),
    ],
)
async def test_settings_that_are_wrong_are_one_line_and_status_2(
    files: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    process = await start(tmp_path, tmp_path / "log")
    assert await process.wait() == 2
    output = (tmp_path / "log").read_text()
    assert output.startswith("error: ")
    assert output.count("\n") == 1
    assert sentence in output


async def test_a_broker_that_is_not_there_leaves_it_unready_and_honest(tmp_path: Path) -> None:
    _write(tmp_path, "amqp://u:hunter2@nohost.invalid:5672/x")
    process = await start(tmp_path, tmp_path / "log")
    try:
        ready = tmp_path / "ready.json"
        await eventually(so(ready.exists), every_s=0.01)
        ports = {name: int(address.rpartition(":")[2]) for name, address in json.loads(ready.read_text()).items()}
        it = Process(None, process, ports["http"], ports["admin"], tmp_path / "log")  # type: ignore[arg-type]

        async def told() -> bool:
            return "not known" in (await it.ready())[1]

        await eventually(told, every_s=0.05)
        assert await it.send(request()) == 503
        assert process.returncode is None
        assert "hunter2" not in (tmp_path / "log").read_text() + (await it.ready())[1]
    finally:
        process.kill()
        await process.wait()
