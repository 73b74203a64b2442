"""A node for pods: each pod's container as a local process, with the files a kubelet would mount, and its readiness in the
pod's status. What a source becomes on the API server really runs; only images, isolation and networks are missing."""

import asyncio
import base64
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from forebay_cli.local.command import Launch, launch
from forebay_cli.local.files import mount, update
from forebay_cli.local.pod import MountedFile, Pod, pods
from forebay_cli.local.replica import Replica
from tests.support.apiserver import Answer, Api, Object

NODE = "this-machine"
NODE_ADDRESS, KUBELET_PORT = "10.244.255.254", 10250
_POLL_S = 0.1
_SYNC_S = 1.0  # between looks at the ConfigMaps of pods that run; a kubelet takes up to a minute and more

# From a pod to how it is started; None: something that it mounts is not there yet.
Prepare = Callable[[Object], Awaitable[Launch | None]]
# Brings what a running pod has mounted up to date.
Sync = Callable[[Object, Launch], Awaitable[None]]


@dataclass(slots=True)
class Running:
    """A pod that runs here."""

    replica: Replica
    name: str
    labels: dict[str, str]
    address: str  # that the API server knows it by; nobody answers there but on the node's own network
    ready: bool = False  # as the API server knows it
    ending: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class LocalNode:
    """Runs the pods of one namespace."""

    api: Api
    prepare: Prepare
    sync: Sync | None = None
    running: dict[str, Running] = field(default_factory=dict)  # by uid
    once: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)  # those that run to their end, by uid
    begun: int = 0
    synced: float = 0.0  # when, in monotonic seconds

    def of(self, component: str) -> list[Replica]:
        """The processes of a component that are not being ended."""
        label = "app.kubernetes.io/component"
        return [one.replica for one in self.running.values() if one.labels.get(label) == component and not one.ending]

    async def run(self) -> None:
        """Look again and again."""
        while True:
            with contextlib.suppress(Answer, OSError):
                await self._look()
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        for task in self.once.values():
            task.cancel()
        await asyncio.gather(*(one.replica.stop() for one in self.running.values()))

    async def _look(self) -> None:
        due = time.monotonic() - self.synced > _SYNC_S
        if due:
            self.synced = time.monotonic()
        for pod in await self.api.all("Pod"):
            uid = pod["metadata"]["uid"]
            if uid in self.running:
                await self._follow(pod, self.running[uid])
                if due and self.sync is not None:
                    await self.sync(pod, self.running[uid].replica.launch)
            elif uid not in self.once and "deletionTimestamp" not in pod["metadata"]:
                await self._begin(pod)

    async def _begin(self, pod: Object) -> None:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        how = await self.prepare(pod)
        if how is None:
            return  # as a kubelet: the pod waits until all it mounts is there
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        await self.api.call("POST", f"/api/v1/namespaces/{self.api.namespace}/pods/{name}/binding", binding)
        if pod["spec"].get("restartPolicy") == "Never":
            self.once[uid] = asyncio.create_task(self._to_its_end(name, how))
        else:
            self.begun += 1
            address = f"10.244.{self.begun // 250}.{self.begun % 250 + 1}"
            self.running[uid] = Running(Replica(how), name, pod["metadata"].get("labels", {}), address)
            self.running[uid].replica.start()

    async def _follow(self, pod: Object, one: Running) -> None:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        if "deletionTimestamp" in pod["metadata"]:
            if one.ending is None:
                one.ending = asyncio.create_task(self._end(name, uid, one))
        elif one.ready != one.replica.ready:
            one.ready = one.replica.ready
            await self.api.patch("Pod", name, {"status": _status(one)}, sub="status")

    async def _end(self, name: str, uid: str, one: Running) -> None:
        await one.replica.stop()
        with contextlib.suppress(Answer):
            await self.api.delete("Pod", name, gracePeriodSeconds=0)
        self.running.pop(uid, None)

    async def _to_its_end(self, name: str, how: Launch) -> None:
        how.log.parent.mkdir(parents=True, exist_ok=True)
        with how.log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *how.argv, env=how.env, cwd=how.cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        with contextlib.suppress(Answer):
            phase = "Failed" if status else "Succeeded"
            await self.api.patch("Pod", name, {"status": {"phase": phase}}, sub="status")


@dataclass(frozen=True, slots=True)
class SourcePods:
    """Prepares pods of sources: their ConfigMaps and Secrets as files."""

    api: Api
    folder: Path

    async def __call__(self, pod: Object) -> Launch | None:
        own = _as_pod(pod)
        held: dict[tuple[str, str, str], bytes] = {}
        for file in own.files:
            value = await self._value(file)
            if value is not None:
                held[file.kind, file.name, file.key] = value
            elif not file.optional:
                return None
        folder = self.folder / pod["metadata"]["uid"]
        how = launch(own, 0, folder=folder, port=0, handlers=None, environ=os.environ, extra={})
        how.root.mkdir(parents=True, exist_ok=True)
        mount(how.root, own.files, held)
        return how

    async def sync(self, pod: Object, how: Launch) -> None:
        """ConfigMaps that changed reach the pod, as a kubelet does it."""
        maps = [file for file in _as_pod(pod).files if file.kind == "ConfigMap"]
        held: dict[tuple[str, str, str], bytes] = {}
        for file in maps:
            value = await self._value(file)
            if value is None:
                return
            held[file.kind, file.name, file.key] = value
        update(how.root, maps, held)

    async def _value(self, file: MountedFile) -> bytes | None:
        found = await self.api.find(file.kind, file.name)
        text = (found or {}).get("data", {}).get(file.key)
        if text is None:
            return None
        return base64.b64decode(text) if file.kind == "Secret" else str(text).encode()


def _as_pod(pod: Object) -> Pod:
    name = pod["metadata"]["name"]
    template = {"spec": pod["spec"]}
    return pods([{"kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": 1, "template": template}}])[0]


def _status(one: Running) -> Object:
    said = "True" if one.ready else "False"
    return {
        "phase": "Running",
        "podIP": one.address,
        "podIPs": [{"ip": one.address}],
        "conditions": [{"type": kind, "status": said} for kind in ("Ready", "ContainersReady")],
    }


@asynccontextmanager
async def local_node(api: Api, prepare: Prepare, sync: Sync | None = None) -> AsyncIterator[LocalNode]:
    """Runs the namespace's pods until the block ends."""
    node = LocalNode(api, prepare, sync)
    watching = asyncio.create_task(node.run())
    try:
        yield node
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await node.stop()
