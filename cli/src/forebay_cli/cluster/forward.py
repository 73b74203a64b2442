"""A way to a Service of the cluster: directly where this machine reaches it, else through kubectl port-forward.

The Kubernetes client can not forward ports well; kubectl, whose plugin this is, can. It ends with us, however we end.
"""

import asyncio
import contextlib
import ipaddress
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from forebay.errors import ForebayError, Unavailable
from forebay_cli.where import Cluster

_KEEPER = Path(__file__).resolve().parent.parent / "keeper.py"
_DIRECT_S, _START_S, _GRACE_S = 2.0, 15.0, 2
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")


class Service(NamedTuple):
    """A Service of the cluster."""

    namespace: str
    name: str


def service_of(host: str, namespace: str) -> Service | None:
    """The Service that a host name means to a pod of the namespace; None if it means none, as far as its form tells."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host.strip("[]"))
        return None
    labels = host.rstrip(".").split(".")
    if len(labels) == 1:
        return Service(namespace, labels[0])
    if len(labels) == 2 or labels[2] == "svc":
        return Service(labels[1], labels[0])
    return None


@asynccontextmanager
async def reachable(
    cluster: Cluster, host: str, port: int, namespace: str, *, otherwise: type[ForebayError] = Unavailable
) -> AsyncIterator[tuple[str, int]]:
    """Where to connect to for a host and port that pods of the namespace know, for as long as it is needed.

    Raises Unavailable, or what is wanted `otherwise`, if there is no way from here.
    """
    if await _answers(host, port):
        yield host, port
        return
    service = service_of(host, namespace)
    if service is None:
        raise otherwise(
            f"{host}:{port} can not be reached from here and is no Service of the cluster; run this where it can be reached"
        )
    async with AsyncExitStack() as stack:
        try:
            local = await stack.enter_async_context(_forwarded(cluster, service, port))
        except Unavailable as error:
            raise otherwise(str(error)) from error
        yield "127.0.0.1", local


async def _answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_DIRECT_S):
            _reader, writer = await asyncio.open_connection(host.strip("[]"), port)
        writer.close()
        return True
    return False


@asynccontextmanager
async def _forwarded(cluster: Cluster, service: Service, port: int) -> AsyncIterator[int]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise Unavailable(
            f"Service {service.name} can not be reached from here without kubectl; put kubectl on the PATH"
        )
    command = [
        kubectl, "port-forward", *cluster.flags, "-n", service.namespace, "--address=127.0.0.1", f"service/{service.name}",
        f":{port}",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(_KEEPER), str(_GRACE_S), *command),
        stdin=asyncio.subprocess.PIPE,  # kept open; when we are gone, so is kubectl
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # a terminal's Ctrl-C is for us: what is under way needs its way until it ends
    )
    assert process.stdin is not None, "it is a pipe"
    reading: asyncio.Task[None] | None = None
    try:
        local = await _local_port(process, service)
        reading = asyncio.create_task(_swallow(process))
        yield local
    finally:
        process.stdin.close()
        await process.wait()
        if reading is not None:
            await reading


async def _local_port(process: asyncio.subprocess.Process, service: Service) -> int:
    """What kubectl chose. It speaks on standard error, because the keeper has the other for itself."""
    assert process.stderr is not None, "it is a pipe"
    said: list[str] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_S):
            while line := (await process.stderr.readline()).decode(errors="replace").strip():
                if match := _FORWARDING.search(line):
                    return int(match[1])
                said.append(line)
    why = " ".join(said[-1:]).removeprefix("error: ") or "it says nothing"
    raise Unavailable(
        f"kubectl port-forward to Service {service.name} in namespace {service.namespace} failed: {why}; "
        "it needs a running pod, and the right to create pods/portforward (ClusterRole edit)"
    )


async def _swallow(process: asyncio.subprocess.Process) -> None:
    """A full pipe would stop it."""
    assert process.stderr is not None, "it is a pipe"
    while await process.stderr.read(4096):
        pass
