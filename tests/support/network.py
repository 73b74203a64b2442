"""The API server's network to the pods of a LocalNode, and the node's kubelet as far as logs go.

The API server reaches pods and kubelets by HTTP's CONNECT through a socket, as behind konnectivity; here addresses of pods lead
to the local processes that stand for them.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from tools.control_plane import ControlPlane

from tests.support.node import KUBELET_PORT, NODE_ADDRESS, LocalNode

_POLL_S = 0.1


@asynccontextmanager
async def pod_network(plane: ControlPlane, node: LocalNode) -> AsyncIterator[None]:
    """The way is there until the block ends."""
    certificate = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.load_cert_chain(plane.authority, plane.authority.with_suffix(".key"))
    kubelet = web.AppRunner(_kubelet(node), shutdown_timeout=0.1)
    await kubelet.setup()
    site = web.TCPSite(kubelet, "127.0.0.1", 0, ssl_context=certificate)
    await site.start()
    local_kubelet = kubelet.addresses[0][1]
    tasks: set[asyncio.Task[None]] = set()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _connect(node, local_kubelet, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    plane.network.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(connect, plane.network)
    try:
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await kubelet.cleanup()


async def _connect(node: LocalNode, kubelet: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    host, _, port = head.split(" ", 2)[1].rpartition(":")
    place = f"127.0.0.1:{kubelet}" if (host, port) == (NODE_ADDRESS, str(KUBELET_PORT)) else _pod(node, host, port)
    if place is None:
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        return
    address, _, local = place.rpartition(":")
    far_reader, far_writer = await asyncio.open_connection(address, int(local))
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(reader, far_writer))
            group.create_task(_pump(far_reader, writer))
    except* OSError:
        pass
    finally:
        far_writer.close()


def _pod(node: LocalNode, host: str, port: str) -> str | None:
    replica = next((one.replica for one in node.running.values() if one.address == host), None)
    if replica is None:
        return None
    return replica.admin if port == "9090" else replica.address


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def _kubelet(node: LocalNode) -> web.Application:
    async def logs(request: web.Request) -> web.StreamResponse:
        name = request.match_info["pod"]
        (log,) = (one.replica.launch.log for one in node.running.values() if one.name == name)
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        with log.open("rb") as lines:
            known = lines.readlines()
            await answer.write(b"".join(known[-int(request.query.get("tailLines", len(known))) :]))
            while request.query.get("follow") == "true":
                await asyncio.sleep(_POLL_S)
                if more := lines.read():
                    await answer.write(more)
        return answer

    application = web.Application()
    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", logs)
    return application
