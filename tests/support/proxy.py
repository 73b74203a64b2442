"""A proxy before a real server that does to requests what a test says: plain HTTP on loopback, every answer streamed on.

What a test says is a function from a request to a `Fate`. Acts are requests that write; reads are not counted.
"""

import asyncio
import contextlib
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

_READS = ("GET", "HEAD")
# Between two hops alone, or made anew by the proxy.
_HOP = frozenset({"connection", "host", "keep-alive", "transfer-encoding", "content-length", "accept-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What happens to one request. Without any field it passes."""

    answer: tuple[int, str] | None = None  # status and body, in place of the server's
    headers: Mapping[str, str] = field(default_factory=dict)  # of that answer
    delay_s: float = 0.0  # before anything else
    held_s: float = 0.0  # the server has answered, and so much later it is heard; of a streamed answer each piece
    hang_up: bool = False  # the connection is cut, and the server hears nothing
    line_cut: bool = False  # of a streamed answer: cut in the middle of its first line
    mute: bool = False  # of a streamed answer: nothing of it comes, and it does not end


PASS = Fate()


def is_act(request: web.Request) -> bool:
    return request.method not in _READS


def is_watch(request: web.Request) -> bool:
    return request.query.get("watch") == "true"


@dataclass(slots=True)
class Proxy:
    """Stands before one server. `fate` can be changed at any time."""

    upstream: str  # URL of the server, without a path
    trust: ssl.SSLContext | None = None
    keeps_host: bool = False  # the server is told what the client took us for, which some sign
    fate: Callable[[web.Request], Fate] = lambda _: PASS
    # Around each act: it waits in `begin` for its turn, and `end` runs before the operator hears how it went.
    begin: Callable[[], Awaitable[bool]] | None = None
    end: Callable[[], Awaitable[bool]] | None = None
    requests: list[str] = field(default_factory=list)  # "METHOD /path", in order
    port: int = 0
    _runner: web.AppRunner | None = None
    _session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Listen, again at the same port if there was one."""
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.trust or True, limit=0),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Cut every connection; from now on connections are refused."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        body = await request.read()
        fate = self.fate(request)
        await asyncio.sleep(fate.delay_s)
        if fate.hang_up:
            return _cut(request)
        if fate.answer is not None:
            return web.Response(status=fate.answer[0], text=fate.answer[1], headers=fate.headers)
        counted = is_act(request)
        if counted and self.begin is not None and not await self.begin():
            return _cut(request)
        try:
            return await self._forward(request, body, fate, counted)
        except aiohttp.ClientError:
            return _cut(request)

    async def _forward(self, request: web.Request, body: bytes, fate: Fate, counted: bool) -> web.StreamResponse:
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        if self.keeps_host:
            headers["Host"] = request.host
        async with self._session.request(
            request.method,
            URL(f"{self.upstream}{request.raw_path}", encoded=True),
            data=io.BytesIO(body) if body else None,
            headers=headers,
            skip_auto_headers=("Accept", "Content-Type", "User-Agent"),
            allow_redirects=False,
        ) as answer:
            if counted:
                whole = await answer.read()
                if self.end is not None and not await self.end():
                    return _cut(request)
                await asyncio.sleep(fate.held_s)
                return web.Response(status=answer.status, body=whole, headers=_passed(answer))
            return await _stream(request, answer, fate)


async def _stream(request: web.Request, answer: aiohttp.ClientResponse, fate: Fate) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_passed(answer))
    response.content_length = answer.content_length
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        if fate.mute:
            continue
        await asyncio.sleep(fate.held_s)
        if fate.line_cut:
            await response.write(chunk[: len(chunk) // 2])
            return _cut(request)
        await response.write(chunk)
    await response.write_eof()
    return response


def _passed(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


@asynccontextmanager
async def proxy(
    upstream: str, trust: ssl.SSLContext | None = None, *, keeps_host: bool = False
) -> AsyncIterator[Proxy]:
    """A proxy before the server at this URL, until the block ends."""
    one = Proxy(upstream, trust, keeps_host)
    await one.open()
    try:
        yield one
    finally:
        with contextlib.suppress(RuntimeError):
            await one.close()
