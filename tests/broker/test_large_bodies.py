"""Large bodies through a real endpoint, RabbitMQ and S3: little memory, and nothing acknowledged is lost, whoever is killed."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from forebay.envelope import Envelope, decode
from tests.broker.test_ingest import Process, ingest
from tests.receiving.endpoint import request
from tests.support.brokers import VirtualHost
from tests.support.gateway import Gateway, s3
from tests.support.proxy import Fate, Proxy, proxy
from tests.support.waiting import eventually, so

MIB = 1024 * 1024
AT_ONCE = 20
SIZE = int(os.environ.get("LARGE_MIB", "8")) * MIB  # docs/how-to/large-bodies.md tells of 100
SOME = os.urandom(700_000)


@pytest.fixture
async def front(s3_server: Gateway) -> AsyncIterator[Proxy]:
    """A proxy before the S3 server."""
    async with proxy(s3_server.url, keeps_host=True) as one:
        yield one


def memory(process: Process, name: str = "VmHWM") -> float:
    """MiB: the most it ever held, or what it holds now (VmRSS)."""
    (line,) = (line for line in Path(f"/proc/{process.process.pid}/status").read_text().splitlines() if name in line)
    return int(line.split()[1]) / 1024


def mapped(process: Process) -> str:
    """The files in its memory."""
    return Path(f"/proc/{process.process.pid}/maps").read_text()


async def envelopes(process: Process) -> list[Envelope]:
    """What is in the queue, taken out."""
    found = []
    for one in await process.queued():
        properties = one["properties"]
        found.append(decode(properties["message_id"], properties.get("content_type"), properties["headers"], b""))
    return found


def check_stored(server: Gateway, found: list[Envelope], accepted: list[str]) -> None:
    """Every webhook that was acknowledged is in the queue, and its body in the storage."""
    assert not set(accepted) - {one.id for one in found}
    for one in found:
        assert one.claim is not None
        body = (server.bucket / one.claim.key).read_bytes()
        assert (len(body), hashlib.sha256(body).hexdigest()) == (one.claim.size, one.claim.sha256)


async def test_many_large_bodies_at_once_take_little_memory(
    newest_broker: VirtualHost, tmp_path: Path, s3_server: Gateway
) -> None:
    wire = request(os.urandom(MIB) * (SIZE // MIB))
    began = time.monotonic()
    async with ingest(newest_broker, tmp_path, storage=s3(s3_server.url), body_bytes=SIZE, body_s=120) as process:
        idle = memory(process)
        statuses = await asyncio.gather(*(process.send(wire, within_s=100) for _ in range(AT_ONCE)))
        assert statuses == [202] * AT_ONCE
        most, seconds = memory(process), time.monotonic() - began
        check_stored(s3_server, await envelopes(process), process.accepted)
        figures = f"{AT_ONCE} × {SIZE // MIB} MiB in {seconds:.1f} s: {idle:.0f} MiB idle, {most:.0f} MiB at most"
        assert most < 100, figures
        print(figures)  # noqa: T201 - for `pytest -s`


async def test_without_a_storage_none_of_this_is_in_memory(newest_broker: VirtualHost, tmp_path: Path) -> None:
    async with ingest(newest_broker, tmp_path) as process:
        assert memory(process) < 70
        assert "obstore" not in mapped(process)


async def test_killed_while_the_body_is_being_stored_nothing_was_said(
    newest_broker: VirtualHost, tmp_path: Path, s3_server: Gateway, front: Proxy
) -> None:
    front.fate = lambda _: Fate(delay_s=30)
    async with ingest(newest_broker, tmp_path, storage=s3(front.url)) as process:
        sent = asyncio.ensure_future(process.send(request(SOME)))
        await eventually(so(lambda: front.requests))
        process.process.kill()
        await fails(sent)
        assert await process.queued() == []
        assert s3_server.objects() == []


async def test_killed_between_the_put_and_the_publish_it_leaves_an_orphan_and_no_lie(
    newest_broker: VirtualHost, tmp_path: Path, s3_server: Gateway, front: Proxy
) -> None:
    front.fate = lambda _: Fate(held_s=30)
    async with ingest(newest_broker, tmp_path, storage=s3(front.url)) as process:
        sent = asyncio.ensure_future(process.send(request(SOME)))
        await eventually(so(s3_server.objects))
        process.process.kill()
        await fails(sent)
        assert await process.queued() == []
        assert len(s3_server.objects()) == 1  # for the bucket's lifecycle rule


async def fails(sent: "asyncio.Future[int]") -> None:
    with pytest.raises((AssertionError, ConnectionError)):
        await sent


async def test_killed_again_and_again_it_loses_nothing_that_it_acknowledged(
    newest_broker: VirtualHost, tmp_path: Path, s3_server: Gateway, front: Proxy
) -> None:
    """And the storage fails now and then: what was answered 2xx is in the queue, with its body."""
    fates = [Fate(), Fate(delay_s=0.02), Fate(answer=(500, "<Error/>")), Fate(hang_up=True), Fate(held_s=0.05)]
    turns = iter(range(10**6))
    front.fate = lambda _: fates[next(turns) % len(fates)]
    accepted: list[str] = []
    found: list[Envelope] = []
    for life in range(3):
        storage: Any = s3(front.url, put_s=3)
        async with ingest(newest_broker, tmp_path / str(life), storage=storage) as process:
            senders = [asyncio.ensure_future(send_on(process, number)) for number in range(4)]
            await asyncio.sleep(1.5 + 0.13 * life)
            process.process.kill()
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)
            accepted += process.accepted
            found += await envelopes(process)
    assert len(accepted) > 5
    check_stored(s3_server, found, accepted)


async def send_on(process: Process, number: int) -> None:
    size = 300_000 + 50_000 * number
    while True:
        with suppress(ConnectionError, AssertionError):
            await process.send(request(SOME[:size]))
        await asyncio.sleep(0.01)
