"""What every bench stands on: one private RabbitMQ, the services under measurement, the load generator, and the kernel's
account of what each of them cost.

Everything runs on 127.0.0.1, in one temporary folder, and ends with the bench. Linux (reads /proc).
"""

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tools.build import BuildError, built
from tools.rabbitmq_root import root_of

from forebay.management import Management
from forebay.settings import IngestLimits, IngestSettings, Route, Storage, Verification, WorkerSettings, dump
from forebay.topology import Names, SourceTopology, shared_objects, source_objects
from forebay_cli.ports import free_port
from forebay_cli.rabbitmq import REFRESH_S, PrivateBroker, private_broker
from tests.support.gateway import CREDENTIALS

__all__ = ["BuildError", "built"]

SECRET = "a-secret-that-only-the-bench-knows"  # of the signatures
RABBITMQ = "sid"  # the Debian suite with the current RabbitMQ: what is measured is what people install today
VHOST = "/"
READY_S = 30.0
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """The private broker, with the administrator's session of its management API."""

    private: PrivateBroker
    management: Management

    @property
    def uri(self) -> str:
        return self.private.uri()

    @property
    def pid(self) -> int:
        assert self.private.pid is not None
        return self.private.pid

    async def declare(self, source: str) -> Names:
        """The exchange and queues of the source "namespace/name", as Forebay declares them."""
        names = Names.of(source)
        await self.management.declare(source_objects(VHOST, SourceTopology(names=names)))
        return names

    async def purge(self, queue: str) -> None:
        await self.management.delete(f"queues/{quote(VHOST, safe='')}/{quote(queue, safe='')}/contents")

    async def delete(self, queue: str) -> None:
        await self.management.delete(f"queues/{quote(VHOST, safe='')}/{quote(queue, safe='')}")

    async def wait_depth(self, queue: str, messages: int, *, limit_s: float = 60.0) -> None:
        """Until the queue holds exactly so many messages; the management API tells only every few seconds."""
        end = time.monotonic() + limit_s
        while (depth := (await self.management.depth(VHOST, queue)).messages) != messages:
            if time.monotonic() > end:
                raise SystemExit(f"bench: {queue} holds {depth} messages, not {messages}, after {limit_s:g} s")
            await asyncio.sleep(0.2)


@asynccontextmanager
async def broker(*, refresh_s: float = REFRESH_S) -> AsyncIterator[Broker]:
    """A fresh broker of the current release with Forebay's shared objects."""
    async with (
        private_broker(root=root_of(RABBITMQ), refresh_s=refresh_s) as private,
        private.management() as management,
    ):
        await management.declare(shared_objects(VHOST))
        yield Broker(private=private, management=management)


# ---------------------------------------------------------------------------------------------------- processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A process under measurement."""

    name: str
    pid: int
    url: str = ""  # where it takes webhooks
    admin: str = ""  # HOST:PORT of its metrics

    def cpu_s(self) -> float:
        return cpu_s(self.pid)

    def memory_mib(self) -> dict[str, float]:
        """Resident memory, and the share of it that is its own where several map the same page."""
        return {"rss": _status_kib(self.pid, "status", "VmRSS"), "pss": _status_kib(self.pid, "smaps_rollup", "Pss")}

    def peak_mib(self) -> float:
        """The most resident memory that it ever had."""
        return _status_kib(self.pid, "status", "VmHWM")

    def kill(self) -> float:
        """SIGKILL. The moment."""
        os.kill(self.pid, signal.SIGKILL)
        return time.monotonic()

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    @property
    def ended(self) -> bool:
        """Whether it is a zombie: who started it asks for its status later."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


def cpu_s(pid: int) -> float:
    """User and system time of all threads of a process so far, in seconds (steps of 10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _status_kib(pid: int, file: str, field: str) -> float:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise SystemExit(f"bench: /proc/{pid}/{file} has no {field}")


@contextmanager
def process(command: Sequence[str], folder: Path, name: str, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """A process that runs within the block; its output goes to NAME.log in the folder. SIGTERM ends it, then SIGKILL."""
    with (folder / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            command, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield child.pid
    finally:
        _end(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
        child.send_signal(number)
        if number != signal.SIGCONT:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(15)
                return


async def until(happened: Callable[[], Any], what: str, *, folder: Path, limit_s: float = READY_S) -> Any:
    """The first true value of `happened`, asked every 20 ms. Ends the bench, telling where the logs are, if none comes."""
    end = time.monotonic() + limit_s
    while not (value := happened()):
        if time.monotonic() > end:
            print(last_words(folder), file=sys.stderr)
            raise SystemExit(f"bench: {what} within {limit_s:g} s; what the processes last said is above")
        await asyncio.sleep(0.02)
    return value


def last_words(folder: Path) -> str:
    return "\n".join(
        f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in sorted(folder.glob("*.log"))
    )


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def answers(address: str, path: str = "/readyz") -> bool:
    """Whether GET gives 200, by a client of three lines: no connection pool that outlives the question."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2) as link:
            link.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
            return link.recv(64).startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
    except OSError:
        return False


def free_address() -> str:
    return f"127.0.0.1:{free_port()}"


def allow_files() -> None:
    """As many open files as the machine lets us, for this process and what it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def folder() -> Iterator[Path]:
    """A place for settings and logs; allows as many open files as the machine lets us, as a pod would have."""
    allow_files()
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as name:
        yield Path(name)


# ---------------------------------------------------------------------------------------------------- the services


@asynccontextmanager
async def forebay_ingest(
    broker: Broker, place: Path, source: str, *, storage: Storage | None = None, limits: IngestLimits | None = None
) -> AsyncIterator[Service]:
    """Forebay's ingest with GitHub verification, as the operator would start it."""
    await broker.declare(source)
    settings = IngestSettings(
        source=source,
        routes=(Route(queue="default"),),
        verification=Verification(provider="GitHub", secret_files=("secrets/github/secret",)),
        path="/hook",
        storage=storage,
        limits=limits or IngestLimits(),
    )
    root = _write_root(place / "forebay-ingest", "ingest", dump(settings), broker.uri)
    async with _forebay_part("forebay-ingest", root, place) as service:
        yield service


@asynccontextmanager
async def forebay_worker(
    place: Path, broker: Broker, settings: WorkerSettings, name: str = "forebay-worker"
) -> AsyncIterator[Service]:
    """Forebay's worker, as the operator would start it."""
    root = _write_root(place / name, "worker", dump(settings), broker.uri)
    async with _forebay_part("forebay-worker", root, place) as service:
        yield service


@asynccontextmanager
async def _forebay_part(part: str, root: Path, place: Path) -> AsyncIterator[Service]:
    ready = root / "ready.json"
    ready.unlink(missing_ok=True)
    env = {
        "FOREBAY_ROOT": str(root),
        "FOREBAY_LISTEN": "127.0.0.1:0",
        "FOREBAY_ADMIN_LISTEN": "127.0.0.1:0",
        "FOREBAY_READY_FILE": str(ready),
    }
    command = [str(Path(sys.executable).parent / part)]
    with process(command, place, part, env) as pid:
        addresses = json.loads(
            await until(lambda: ready.exists() and ready.read_text(), f"{part} not up", folder=place)
        )
        admin = addresses["admin"]
        await until(lambda: answers(admin), f"{part} not ready", folder=place)
        listen = next((address for name, address in addresses.items() if name != "admin"), "")
        yield Service(name=part, pid=pid, url=f"http://{listen}/hook" if listen else "", admin=admin)


def _write_root(root: Path, part: str, settings: str, broker_uri: str) -> Path:
    files = {
        f"config/{part}.json": settings,
        "secrets/broker/uri": broker_uri,
        "secrets/github/secret": SECRET,
        "secrets/storage/credentials": CREDENTIALS.decode(),
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@asynccontextmanager
async def go_ingest(broker: Broker, place: Path, source: str) -> AsyncIterator[Service]:
    """The Go peer (peers/go-ingest) on a source of its own."""
    names = await broker.declare(source)
    listen, admin = free_address(), free_address()
    env = {
        "LISTEN": listen,
        "ADMIN_LISTEN": admin,
        "WEBHOOK_PATH": "/hook",
        "WEBHOOK_SECRET": SECRET,
        "BROKER_URL": broker.uri,
        "EXCHANGE": names.exchange,
        "ROUTING_KEY": names.queue(),
        "SOURCE": source,
    }
    with process([str(built("go-ingest"))], place, "go-ingest", env) as pid:
        await until(lambda: answers(admin), "go-ingest not ready", folder=place)
        yield Service(name="go-ingest", pid=pid, url=f"http://{listen}/hook")


@asynccontextmanager
async def go_worker(place: Path, broker: Broker, settings: WorkerSettings) -> AsyncIterator[Service]:
    """The Go peer (peers/go-worker), told the same as Forebay's worker."""
    assert settings.destination is not None
    admin = free_address()
    command = [
        str(built("go-worker")),
        *("-broker", broker.uri),
        *("-queue", Names.of(settings.source).queue(settings.queue)),
        *("-destination", settings.destination.url),
        *("-concurrency", str(settings.concurrency)),
        *("-admin", admin),
    ]
    with process(command, place, "go-worker") as pid:
        await until(lambda: answers(admin, "/healthz"), "go-worker not up", folder=place)
        yield Service(name="go-worker", pid=pid)


KNATIVE_EXCHANGE = "bench.knative"
KNATIVE_HEADERS = (  # it takes CloudEvents only (binary mode of the HTTP binding)
    "Ce-Specversion: 1.0",
    "Ce-Type: com.github.push",
    "Ce-Source: https://github.com/acme/shop",
    "Ce-Id: 5c7d4e2a",
)


@asynccontextmanager
async def knative_ingress(broker: Broker, place: Path) -> AsyncIterator[Service]:
    """Knative eventing-rabbitmq's ingress: a CloudEvent in, a confirmed but not mandatory publish out, no signature."""
    vhost = quote(VHOST, safe="")
    await broker.management.put(f"exchanges/{vhost}/{KNATIVE_EXCHANGE}", {"type": "headers", "durable": True})
    queue = {"durable": True, "arguments": {"x-queue-type": "quorum"}}
    await broker.management.put(f"queues/{vhost}/{KNATIVE_EXCHANGE}", queue)
    await broker.management.post(f"bindings/{vhost}/e/{KNATIVE_EXCHANGE}/q/{KNATIVE_EXCHANGE}", {"routing_key": ""})
    listen = free_address()
    env = {
        "PORT": listen.rpartition(":")[2],
        "BROKER_URL": broker.uri,
        "EXCHANGE_NAME": KNATIVE_EXCHANGE,
        "POD_NAME": "bench",
        "CONTAINER_NAME": "ingress",
    }
    with process([str(built("knative-ingress"))], place, "knative-ingress", env) as pid:
        await until(lambda: listens(listen), "knative-ingress not up", folder=place)
        yield Service(name="knative-ingress", pid=pid, url=f"http://{listen}/")


# ---------------------------------------------------------------------------------------------------- load


async def load(mode: str, *arguments: str) -> dict[str, Any]:
    """Run the load generator and return its report. See load/main.go for the modes."""
    command = [str(built("load")), mode, *arguments]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    output, _ = await child.communicate()
    if child.returncode:
        raise SystemExit(f"bench: the load generator failed: {' '.join(command)}")
    report: dict[str, Any] = json.loads(output)
    return report


@asynccontextmanager
async def sink(place: Path) -> AsyncIterator[Service]:
    """A destination that answers at once and counts."""
    output = place / "sink.log"
    output.unlink(missing_ok=True)
    with process([str(built("load")), "sink"], place, "sink") as pid:
        first = await until(lambda: output.exists() and output.read_text().strip(), "the sink not up", folder=place)
        yield Service(name="sink", pid=pid, url=json.loads(first)["url"])


async def ask_sink(service: Service, method: str, path: str) -> dict[str, Any]:
    """GET /stats or POST /reset."""
    host, _, port = service.url.removeprefix("http://").rstrip("/").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: sink\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split()[0])
        stats: dict[str, Any] = json.loads(await reader.readexactly(length))
        return stats
    finally:
        writer.close()
