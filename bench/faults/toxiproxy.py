"""Shopify's toxiproxy between Forebay and the broker or the storage: delay, cut and hang of the network, over its HTTP API.

https://github.com/Shopify/toxiproxy#http-api. Built by tools/build.py; ends with whoever started it.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

import forebay_cli
from forebay_cli.ports import free_port

_KEEPER = Path(forebay_cli.__path__[0]) / "keeper.py"
_START_S = 10.0
_PROXY = "server"


class Toxiproxy:
    """One proxy in front of one port of 127.0.0.1."""

    def __init__(self, session: aiohttp.ClientSession, api: str, port: int) -> None:
        self.port = port  # where to connect to instead
        self._session = session
        self._api = api

    async def create(self, upstream: int) -> None:
        listen, target = f"127.0.0.1:{self.port}", f"127.0.0.1:{upstream}"
        await self._post("proxies", {"name": _PROXY, "listen": listen, "upstream": target, "enabled": True})

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        """Every connection is closed, and none can be made, within the block."""
        await self._post(f"proxies/{_PROXY}", {"enabled": False})
        try:
            yield
        finally:
            await self._post(f"proxies/{_PROXY}", {"enabled": True})

    @asynccontextmanager
    async def delay(self, ms: int, jitter_ms: int) -> AsyncIterator[None]:
        """What goes either way comes so much later, within the block."""
        attributes = {"latency": ms, "jitter": jitter_ms}
        async with self._toxic("latency", "upstream", attributes), self._toxic("latency", "downstream", attributes):
            yield

    @asynccontextmanager
    async def slow(self, kib_s: int) -> AsyncIterator[None]:
        """Each connection carries so much a second towards the server, within the block."""
        async with self._toxic("bandwidth", "upstream", {"rate": kib_s}):
            yield

    @asynccontextmanager
    async def short(self, size: int) -> AsyncIterator[None]:
        """Each connection is closed after so many bytes towards the server, within the block."""
        async with self._toxic("limit_data", "upstream", {"bytes": size}):
            yield

    @asynccontextmanager
    async def elsewhere(self, port: int, upstream: int) -> AsyncIterator[None]:
        """Whoever connects reaches `port` in the place of `upstream`, within the block."""
        await self._post(f"proxies/{_PROXY}", {"upstream": f"127.0.0.1:{port}"})
        try:
            yield
        finally:
            await self._post(f"proxies/{_PROXY}", {"upstream": f"127.0.0.1:{upstream}"})

    @asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        """Connections stay open and nothing comes through either way, within the block; what was sent is gone then."""
        async with (
            self._toxic("timeout", "upstream", {"timeout": 0}),
            self._toxic("timeout", "downstream", {"timeout": 0}),
        ):
            yield

    @asynccontextmanager
    async def _toxic(self, kind: str, stream: str, attributes: dict[str, int]) -> AsyncIterator[None]:
        name = f"{kind}-{stream}"
        toxic = {"name": name, "type": kind, "stream": stream, "attributes": attributes}
        await self._post(f"proxies/{_PROXY}/toxics", toxic)
        try:
            yield
        finally:
            async with self._session.delete(f"{self._api}/proxies/{_PROXY}/toxics/{name}") as answer:
                answer.raise_for_status()

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        async with self._session.post(f"{self._api}/{path}", json=body) as answer:
            answer.raise_for_status()


@asynccontextmanager
async def toxiproxy(binary: Path, upstream: int, log: Path) -> AsyncIterator[Toxiproxy]:
    """A running toxiproxy in front of `upstream`."""
    port = free_port()
    keeper = _keep([str(binary), "-host", "127.0.0.1", "-port", str(port)], log)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session:
            proxy = Toxiproxy(session, f"http://127.0.0.1:{port}", free_port())
            await _ready(proxy, upstream)
            yield proxy
    finally:
        assert keeper.stdin is not None
        keeper.stdin.close()
        await asyncio.to_thread(keeper.wait, 10)


def _keep(command: list[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start the command under a keeper, which ends it when the pipe that we hold closes."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_KEEPER), "2", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )


async def _ready(proxy: Toxiproxy, upstream: int) -> None:
    async with asyncio.timeout(_START_S):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                return await proxy.create(upstream)
            await asyncio.sleep(0.05)
