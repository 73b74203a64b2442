"""The life of a part's process: start, serve, drain on SIGTERM, exit code; and its admin port.

/healthz   200 while the event loop turns and the part says it is alive
/readyz    200 while the part can do its work, 503 with the reason otherwise
/metrics   Prometheus' text format: the part's own, and process_* (CPU, memory, open files)
"""

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from forebay.errors import SpecError
from forebay.process_measures import ProcessMeasures
from forebay.runtime import Runtime
from forebay.telemetry import Log

USAGE_EXIT = 2

# Bytes of an admin request's head, and seconds to send it: probes and scrapers need no more.
_HEAD_LIMIT, _HEAD_SECONDS = 8 * 1024, 5.0

# New objects that may be in cycles, between two looks of the garbage collector at the young ones (Python's own: 700).
_COLLECT_AFTER = 10_000


class Part(Protocol):
    """What a process runs."""

    @property
    def registry(self) -> CollectorRegistry:
        """Its metrics."""

    def unhealthy(self) -> str | None:
        """Why a restart would help, None if all is well."""

    def unready(self) -> str | None:
        """Why it can not work now, None if it can."""

    async def start(self) -> dict[str, str]:
        """Begin; the addresses it listens on, by name."""

    async def drain(self) -> None:
        """Finish what is under way; called once, on SIGTERM or Ctrl-C."""

    async def run(self) -> None:
        """Work until cancelled. Returning means that the end was asked for; raising, that it failed."""


def main(part: Callable[[Runtime, Log], Part], runtime: Runtime, log: Log) -> int:
    """Run a part to its end. Returns the exit code: 0 after a drain, 1 after a failure, 2 for settings that are wrong."""
    # A second series for each counter, which nobody asks for.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        return _loop_runner()(_live(part, runtime, log))
    except SpecError as error:
        return usage_error(str(error))


def usage_error(sentence: str) -> int:
    """Say in one line what is wrong with the settings; the exit code for it."""
    print(f"error: {sentence}", file=sys.stderr)  # noqa: T201  # for the person at the terminal
    return USAGE_EXIT


def _loop_runner() -> Callable[[Coroutine[Any, Any, int]], int]:
    try:
        import uvloop  # noqa: PLC0415  # the command line runs parts of this module without it
    except ImportError:
        return asyncio.run
    return uvloop.run


async def _live(make: Callable[[Runtime, Log], Part], runtime: Runtime, log: Log) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    part = make(runtime, log)
    part.registry.register(ProcessMeasures())
    addresses = await part.start()
    admin = Admin(part)
    addresses["admin"] = await admin.start(runtime.admin_listen)
    work = asyncio.ensure_future(part.run())
    _announce(runtime.ready_file, addresses)
    log.info("started", **addresses, pid=os.getpid())
    collect_seldom()
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    failure = work.exception() if work.done() else None
    if failure is not None:
        log.error("failed", error=repr(failure))
    else:
        log.info("draining")
        admin.draining = True
        await part.drain()
    await _cancel(work)
    await admin.close()
    log.info("stopped")
    return 1 if failure is not None else 0


def collect_seldom() -> None:
    """Spare the garbage collector what stays for good, and let it look less often: it took a tenth of an ingest's CPU.

    Reference counts free what a webhook leaves behind. Cycles are what lost connections leave: a few dozen objects each.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 10)  # a look at the young ones takes 4 ms


async def _cancel(task: "asyncio.Future[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _announce(file: Path | None, addresses: dict[str, str]) -> None:
    """Tell whoever started the process where it listens, all at once (a reader never sees half a file)."""
    if file is None:
        return
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(addresses), encoding="utf-8")
    partial.replace(file)


def split_address(listen: str) -> tuple[str, int]:
    """HOST and PORT of "HOST:PORT"; IPv6 hosts stand in brackets."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  # no host means all, as everywhere


def shown_address(server: asyncio.Server) -> str:
    """The address a server is bound to, as HOST:PORT."""
    host, port = server.sockets[0].getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Admin:
    """The admin port. Speaks as much HTTP/1.0 as a probe or a scraper needs, and is never exposed to strangers."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._server: asyncio.Server | None = None
        self.draining = False
        self._pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/healthz": lambda: _probe(part.unhealthy()),
            "/readyz": lambda: _probe("draining" if self.draining else part.unready()),
            "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(part.registry)),
        }

    async def start(self, listen: str) -> str:
        """Listen. Returns the address; raises SpecError if it is taken."""
        host, port = split_address(listen)
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=_HEAD_LIMIT)
        except OSError as error:
            raise SpecError(f"can not listen on {listen} (FOREBAY_ADMIN_LISTEN): {error.strerror}") from error
        return shown_address(self._server)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].split(b"?")[0].decode("latin-1")
            page = self._pages.get(path)
            status, content_type, body = page() if page else (404, "text/plain", b"not found\n")
            reason = {200: "OK", 404: "Not Found"}.get(status, "Service Unavailable")
            writer.write(
                f"HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, OSError):
            pass  # whoever it was, it was no probe
        finally:
            writer.close()


def _probe(reason: str | None) -> tuple[int, str, bytes]:
    return (200, "text/plain", b"ok\n") if reason is None else (503, "text/plain", reason.encode() + b"\n")
