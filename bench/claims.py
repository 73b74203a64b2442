"""Large bodies (the claim check): twenty of 100 MiB at once in little memory, and a storage that fails under load.

A real RabbitMQ, a real S3 server (versitygw) behind toxiproxy, an endpoint and a worker. A sender that gets 503 sends again, as providers do;
every 2xx must be in the queue with its body in the storage, byte for byte, or have been delivered so.

    python -m bench.claims [--quick]     quick: bodies of 8 MiB, written to .forebay/bench/
"""

import asyncio
import contextlib
import hashlib
import hmac
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import rig, verdict
from bench.faults.toxiproxy import Toxiproxy, toxiproxy
from bench.verdict import Bar
from forebay.envelope import decode
from forebay.settings import Destination, IngestLimits, WorkerSettings
from forebay.topology import Names
from tests.support.gateway import Gateway, gateway, s3

MIB = 1024 * 1024
AT_ONCE = 20
SENDERS, FAULTY_MIB, FAULT_S, AGAIN_S = 8, 8, 6.0, 1.0
SMALL_APART_S = 0.02
SOURCE = "bench/large"
LIMITS = IngestLimits(body_bytes=128 * MIB, body_s=300.0)

DEFINITIONS = {
    "large": f"{AT_ONCE} bodies at once: memory of the endpoint before and at most (VmHWM), of the worker at most, seconds until all had their 2xx",
    "faults": f"{SENDERS} senders of {FAULTY_MIB} MiB each while the storage is so for {FAULT_S:g} s, and until all got their 2xx; statuses by sending",
    "small": "webhooks that need no storage, sent meanwhile",
    "lost": "2xx whose body is neither delivered nor in the storage and referred to by a message",
}
BARS = (
    Bar(figure=f"memory of the endpoint, {AT_ONCE} large bodies at once", key="large.endpoint_mib.most", sign="≤", bar=100.0, unit=" MiB"),
    Bar(figure="memory of the worker that delivers them", key="large.worker_mib", sign="≤", bar=100.0, unit=" MiB"),
    Bar(figure="large ones accepted", key="large.accepted", sign="≥", bar=AT_ONCE),
    Bar(figure="delivered, byte for byte", key="large.delivered", sign="≥", bar=AT_ONCE),
    Bar(figure="2xx that are lost", key="lost", sign="≤", bar=0),
    Bar(figure="answers but 2xx and 503 with Retry-After", key="impolite", sign="≤", bar=0),
    Bar(figure="503 while the storage fails", key="refused", sign="≥", bar=1),
    Bar(figure="small webhooks refused meanwhile", key="small.refused", sign="≤", bar=0),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sender heard."""

    status: int
    event_id: str
    polite: bool  # with Retry-After


@dataclass(slots=True)
class Sent:
    """All that was said to senders."""

    accepted: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    impolite: int = 0

    def note(self, answer: Answer) -> bool:
        """Whether it was taken."""
        self.statuses[str(answer.status)] += 1
        taken = 200 <= answer.status < 300
        if taken:
            self.accepted.append(answer.event_id)
        self.impolite += not taken and not (answer.status == 503 and answer.polite)
        return taken


async def main() -> int:
    given = verdict.options("what large bodies cost, and what a failing storage does")
    size = (8 if given.quick else 100) * MIB
    with rig.folder() as place:
        async with (
            rig.broker() as broker,
            gateway(rig.built("versitygw"), place) as server,
            toxiproxy(rig.built("toxiproxy-server"), server.port, place / "toxiproxy.log") as proxy,
        ):
            result = verdict.circumstances(quick=given.quick, rabbitmq=broker.private.version)
            result |= {"definitions": DEFINITIONS, "body_mib": size // MIB, "at_once": AT_ONCE}
            result |= await _measure(broker, place, server, proxy, size)
    return verdict.conclude(result, BARS, given.output / "claims.json")


async def _measure(broker: rig.Broker, place: Path, server: Gateway, proxy: Toxiproxy, size: int) -> dict[str, Any]:
    large = await _many_at_once(broker, place, server, size)
    sent, small, faults = Sent(), Sent(), {}
    storage = s3(f"http://127.0.0.1:{proxy.port}", put_s=8.0)
    async with (
        rig.forebay_ingest(broker, place, SOURCE, storage=storage, limits=LIMITS) as endpoint,
        _always_500() as broken,
    ):
        for name, fault in _faults(proxy, broken, server.port).items():
            async with _small_ones(endpoint.url, small):
                faults[name] = await _under(fault, endpoint.url, sent)
            _say(f"{name}: {faults[name]}")
    lost = await _lost(broker, server, sent.accepted)
    return {
        "large": large,
        "faults": faults,
        "small": {"accepted": len(small.accepted), "refused": small.statuses.total() - len(small.accepted)},
        "refused": sum(one["statuses"].get("503", 0) for one in faults.values()),
        "impolite": sent.impolite,
        "lost": lost + large.pop("lost"),
    }


# --------------------------------------------------------------------------------------------------------- many at once


async def _many_at_once(broker: rig.Broker, place: Path, server: Gateway, size: int) -> dict[str, Any]:
    body, sent, storage = os.urandom(MIB) * (size // MIB), Sent(), s3(server.url)
    head = _head(body)
    async with rig.forebay_ingest(broker, place, SOURCE, storage=storage, limits=LIMITS) as endpoint:
        before, began, cpu = endpoint.peak_mib(), time.monotonic(), endpoint.cpu_s()
        for answer in await asyncio.gather(*(_send(endpoint.url, head, body) for _ in range(AT_ONCE))):
            sent.note(answer)
        seconds, cpu, most = time.monotonic() - began, endpoint.cpu_s() - cpu, endpoint.peak_mib()
    _say(f"{AT_ONCE} × {size // MIB} MiB in {seconds:.1f} s: {before} MiB before, {most} MiB at most")
    delivered, worker_mib = await _delivered(broker, place, server, hashlib.sha256(body).hexdigest())
    return {
        "accepted": len(sent.accepted),
        "statuses": dict(sent.statuses),
        "endpoint_mib": {"before": before, "most": most},
        "worker_mib": worker_mib,
        "seconds": round(seconds, 1),
        "endpoint_cpu_s": round(cpu, 1),
        "delivered": len(delivered & set(sent.accepted)),
        "lost": len(set(sent.accepted) - delivered),
    }


async def _delivered(broker: rig.Broker, place: Path, server: Gateway, sha256: str) -> tuple[set[str], float]:
    """Let a worker deliver everything; the ids under which this body came whole, and the worker's memory at most."""
    came: set[str] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                headers = _headers(await reader.readuntil(b"\r\n\r\n"))
                digest, left = hashlib.sha256(), int(headers["content-length"])
                while left and (piece := await reader.read(min(left, MIB))):
                    digest.update(piece)
                    left -= len(piece)
                if not left and digest.hexdigest() == sha256:
                    came.add(headers["x-forebay-id"])
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    destination = await asyncio.start_server(take, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{destination.sockets[0].getsockname()[1]}/"
    settings = WorkerSettings(
        source=SOURCE, queue="default", storage=s3(server.url),
        destination=Destination(url=url, allow_loopback=True, timeout_s=120.0),
    )  # fmt: skip
    try:
        async with rig.forebay_worker(place, broker, settings) as worker:
            await broker.wait_depth(Names.of(SOURCE).queue(), 0, limit_s=180)
            return came, worker.peak_mib()
    finally:
        destination.close()


# --------------------------------------------------------------------------------------------------------- faults


Fault = Callable[[], AbstractAsyncContextManager[None]]


def _faults(proxy: Toxiproxy, broken: int, server: int) -> dict[str, Fault]:
    return {
        "slow": lambda: proxy.slow(8 * 1024),
        "late": lambda: proxy.delay(400, 100),
        "answers 500": lambda: proxy.elsewhere(broken, server),
        "cut in the midst of a PUT": lambda: proxy.short(3 * MIB),
        "away": proxy.cut,
        "silent": proxy.silence,
    }


async def _under(fault: Fault, url: str, sent: Sent) -> dict[str, Any]:
    """Senders begin while the storage is so, and go on until each has its 2xx."""
    body = os.urandom(FAULTY_MIB * MIB)
    head, before = _head(body), Counter(sent.statuses)
    async with asyncio.TaskGroup() as group:
        async with fault():
            for _ in range(SENDERS):
                group.create_task(_until_taken(url, head, body, sent))
            await asyncio.sleep(FAULT_S)
        ended = time.monotonic()
    return {"statuses": dict(sent.statuses - before), "all_taken_after_s": round(time.monotonic() - ended, 1)}


async def _until_taken(url: str, head: bytes, body: bytes, sent: Sent) -> None:
    while not sent.note(await _send(url, head, body)):
        await asyncio.sleep(AGAIN_S)


@asynccontextmanager
async def _small_ones(url: str, sent: Sent) -> AsyncIterator[None]:
    """A steady trickle of webhooks that the queue carries, within the block."""
    body = b'{"small": true}'
    head, stop = _head(body), asyncio.Event()

    async def trickle() -> None:
        while not stop.is_set():
            sent.note(await _send(url, head, body))
            await asyncio.sleep(SMALL_APART_S)

    async with asyncio.TaskGroup() as group:
        group.create_task(trickle())
        yield
        stop.set()


@asynccontextmanager
async def _always_500() -> AsyncIterator[int]:
    """The port of a server that takes everything in and answers 500."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                left = int(_headers(await reader.readuntil(b"\r\n\r\n")).get("content-length", "0"))
                while left and (piece := await reader.read(min(left, MIB))):
                    left -= len(piece)
                writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _lost(broker: rig.Broker, server: Gateway, accepted: list[str]) -> int:
    """How many that were acknowledged have no message, or none whose body is in the storage as it was sent."""
    body = {"count": 10_000, "ackmode": "ack_requeue_false", "encoding": "auto"}
    queue, safe = Names.of(SOURCE).queue(), set[str]()
    while found := await broker.management.post(f"queues/%2F/{queue}/get", body):
        for one in found:
            properties = one["properties"]
            envelope = decode(properties["message_id"], properties.get("content_type"), properties["headers"], b"")
            if envelope.claim is not None:
                stored = (server.bucket / envelope.claim.key).read_bytes()
                if hashlib.sha256(stored).hexdigest() == envelope.claim.sha256 and len(stored) == envelope.claim.size:
                    safe.add(envelope.id)
    return len(set(accepted) - safe)


# --------------------------------------------------------------------------------------------------------- the sender


def _head(body: bytes) -> bytes:
    signature = hmac.digest(rig.SECRET.encode(), body, hashlib.sha256).hex()
    return (
        f"POST /hook HTTP/1.1\r\nHost: bench\r\nX-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={signature}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()


async def _send(url: str, head: bytes, body: bytes) -> Answer:
    """One webhook on a connection of its own. An endpoint that refuses may close before all is sent."""
    host, _, port = url.removeprefix("http://").partition("/")[0].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(head)
            for start in range(0, len(body), MIB):
                writer.write(body[start : start + MIB])
                await writer.drain()
        answer = await reader.readuntil(b"\r\n\r\n")
        headers = _headers(answer)
        return Answer(int(answer[9:12]), headers.get("x-forebay-id", ""), "retry-after" in headers)
    except (ConnectionError, asyncio.IncompleteReadError):
        return Answer(0, "", False)
    finally:
        writer.close()


def _headers(head: bytes) -> dict[str, str]:
    lines = (line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.lower(): value for name, _, value in lines}


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except rig.BuildError as error:
        sys.exit(f"bench: {error}")
