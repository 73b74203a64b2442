"""A source on this machine: the objects the operator would apply, its Deployments' containers as local processes.

    async with LocalRun(source, secrets, broker=broker, workers=2) as run:
        print(run.url)

Leaving the block drains and ends the processes and removes the run's users from the broker; queues keep what they hold.
"""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from forebay.errors import ForebayError, SpecError
from forebay.source import WebhookSource
from forebay.suspend import Suspend
from forebay.topology import Names
from forebay_cli.given import url_token
from forebay_cli.local import admin, files, topology
from forebay_cli.local.command import launch
from forebay_cli.local.pod import Pod, pods
from forebay_cli.local.replica import Replica
from forebay_cli.local.topology import Broker, Place
from forebay_cli.ports import free_port
from forebay_cli.private import make_private_folder
from forebay_operator.desired import TOKEN, Platform, broker_secret, desired, with_token
from forebay_operator.desired.lanes import with_leaving

Component = Literal["ingest", "worker"]

# This machine trusts its user: a destination on localhost is what he tries things with.
PLATFORM = Platform(allow_private=True, allow_loopback=True)


class LocalRun:
    """One source's processes. `workers` is the number of processes of each queue; None keeps the manifest's replicas."""

    def __init__(
        self,
        source: WebhookSource,
        secrets: files.Secrets,
        *,
        broker: Broker,
        vhost: str = "/",
        workers: int | None = None,
        ingests: int = 1,
        port: int = 0,
        folder: Path | None = None,
        handlers: Path | None = None,
        environ: Mapping[str, str] | None = None,
        ready_s: float = 30.0,
    ) -> None:
        """Start nothing yet.

        `port` is the first endpoint's (0: a free one), `folder` where files and logs are (None: a temporary one, thrown
        away), `handlers` the folder with a Python handler's module, `environ` what the processes get beside their own
        variables (FOREBAY_LOG_LEVEL and the like), `ready_s` how long a process may take to become ready.
        """
        self.source = source
        self.names = Names(source.namespace, source.name)
        self.broker, self.vhost = broker, vhost
        self.replicas: list[Replica] = []
        self._secrets = secrets
        self._port = port
        self._counts: dict[str, int | None] = {"ingest": ingests, "worker": workers}
        self._kept = folder
        self._folder = folder
        self._handlers = handlers
        self._extra = dict(environ or {})
        self._ready_s = ready_s
        self._objects = desired(source, PLATFORM)
        self._pods = pods(self._objects)
        self._contents: files.Contents = {}
        self._place: Place | None = None

    # ------------------------------------------------------------------------------------------- what is there

    @property
    def ingests(self) -> list[Replica]:
        return self._of("ingest")

    @property
    def workers(self) -> list[Replica]:
        return self._of("worker")

    @property
    def folder(self) -> Path:
        """Where the processes' files are, and their logs (in `logs/`)."""
        assert self._folder is not None, "it is known once the run has started"
        return self._folder

    @property
    def absent(self) -> list[str]:
        """Where pods see volumes that processes on this machine do not get."""
        return sorted({path for pod in self._pods for path in pod.absent})

    @property
    def url(self) -> str:
        """Where webhooks are to be sent."""
        return self.urls[0]

    @property
    def urls(self) -> list[str]:
        """The URLs of all endpoints, with a token if the source asks for one."""
        return self._urls(url_token(self.source, self._secrets) or TOKEN)

    @property
    def shown_urls(self) -> list[str]:
        """The same, with {token} in the token's place."""
        return self._urls(TOKEN)

    async def metrics(self) -> admin.Metrics:
        """What the processes have counted, each since its last start."""
        return await admin.metrics(replica.admin for replica in self.replicas if replica.admin)

    async def depths(self) -> dict[str, int]:
        """How many messages each queue of the virtual host holds, by its full name (`run.names.dead`)."""
        return await topology.depths(self.broker, self.vhost)

    # ------------------------------------------------------------------------------------------- its life

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Declare, start, and return when every process is ready. Raises ForebayError if one can not be."""
        self._folder = self._kept or Path(tempfile.mkdtemp(prefix="forebay-run-"))
        make_private_folder(self._folder)
        wanted = [file for pod in self._pods for file in pod.files if not self._is_broker(file.name)]
        files.check(wanted, files.contents(self._objects, self._secrets))
        self._place = await topology.settle(self.source, self.broker, self.vhost)
        left = await topology.leaving(self.source, self.broker, self.vhost)
        if left:
            self._objects = desired(with_leaving(self.source, left), PLATFORM)
            self._pods = pods(self._objects)
        self._contents = files.contents(self._objects, {**self._secrets, **self._place.secrets})
        await asyncio.gather(*(self._grow(pod, self._wanted(pod)) for pod in self._pods))

    async def scale(self, component: Component, count: int) -> None:
        """Have `count` processes of an endpoint, or of each queue's workers. Returns when they are ready, or gone."""
        self._counts[component] = count
        await asyncio.gather(*(self._fit(pod, count) for pod in self._pods if pod.component == component))

    async def suspend(self, value: Suspend) -> None:
        """Let the source rest as this value of spec.suspend says. What its processes do not follow by themselves starts again."""
        self.source = self.source.model_copy(update={"spec": self.source.spec.model_copy(update={"suspend": value})})
        before, self._objects = self._pods, desired(self.source, PLATFORM)
        self._pods = pods(self._objects)
        self._contents = {**self._contents, **files.contents(self._objects, {})}
        for old, new in zip(before, self._pods, strict=True):
            for replica in self._replicas_of(new):
                files.update(
                    replica.launch.root, [file for file in new.files if file.kind == "ConfigMap"], self._contents
                )
                if old != new:
                    await replica.restart(self._ready_s)

    def learn(self, name: str, key: str, value: bytes) -> None:
        """Give the processes the value of a Secret's key, as a kubelet brings it to running pods."""
        place = ("Secret", name, key)
        self._contents = {**self._contents, place: value}
        for pod in self._pods:
            changed = [file for file in pod.files if (file.kind, file.name, file.key) == place]
            for replica in self._replicas_of(pod):
                files.update(replica.launch.root, changed, self._contents)

    async def stop(self) -> list[Replica]:
        """Drain and end everything; returns the processes as they ended."""
        ended = self.replicas
        await asyncio.gather(*map(_end, ended))
        self.replicas = []
        if self._place is not None:
            place, self._place = self._place, None
            await _leave(self.broker, place)
        if self._kept is None and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        return ended

    def kill(self) -> None:
        """End everything at once, without a drain; for when `stop` takes too long."""
        for replica in self.replicas:
            replica.kill()
            shutil.rmtree(replica.launch.root, ignore_errors=True)

    # ------------------------------------------------------------------------------------------- inside

    def _urls(self, token: str) -> list[str]:
        path = with_token(self.source, self.source.path, token)
        return [f"http://{replica.launch.env['FOREBAY_LISTEN']}{path}" for replica in self.ingests]

    def _of(self, component: str) -> list[Replica]:
        deployments = [pod.deployment for pod in self._pods if pod.component == component]
        return [replica for replica in self.replicas if replica.name.rpartition("-")[0] in deployments]

    def _replicas_of(self, pod: Pod) -> list[Replica]:
        return [replica for replica in self.replicas if replica.name.rpartition("-")[0] == pod.deployment]

    def _is_broker(self, secret: str) -> bool:
        return secret in (broker_secret(self.source, "ingest"), broker_secret(self.source, "worker"))

    def _wanted(self, pod: Pod) -> int:
        count = self._counts[pod.component]
        return pod.replicas if count is None else count

    async def _fit(self, pod: Pod, count: int) -> None:
        here = self._replicas_of(pod)
        surplus = here[count:]
        self.replicas = [replica for replica in self.replicas if replica not in surplus]
        await asyncio.gather(self._grow(pod, count, len(here)), *map(_end, surplus))

    async def _grow(self, pod: Pod, count: int, have: int = 0) -> None:
        new = [self._replica(pod, index) for index in range(have, count)]
        self.replicas += new
        for replica in new:
            replica.start()
        await asyncio.gather(*(replica.wait_ready(self._ready_s) for replica in new))

    def _replica(self, pod: Pod, index: int) -> Replica:
        port = self._port_of(index) if pod.component == "ingest" else 0
        plan = launch(
            pod, index, folder=self.folder, port=port, handlers=self._handlers, environ=os.environ, extra=self._extra
        )
        files.mount(plan.root, pod.files, self._contents)
        return Replica(plan)

    def _port_of(self, index: int) -> int:
        if index == 0 and self._port:
            return checked_port(self._port)
        return free_port()


async def _end(replica: Replica) -> None:
    """End a process, and leave none of its secrets behind; its log stays."""
    await replica.stop()
    shutil.rmtree(replica.launch.root, ignore_errors=True)


async def _leave(broker: Broker, place: Place) -> None:
    try:
        await topology.leave(broker, place.users)
    except ForebayError:
        return  # the broker is gone, and the users' passwords with our files


def checked_port(port: int) -> int:
    """The port, if it is free. Raises SpecError if it is not."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SpecError(f"port {port} can not be had ({error.strerror}); --port 0 takes a free one") from error
    return port
