"""A namespace of one operator's own, with proxies before its API server and its broker, and lives of so many acts."""

import asyncio
import contextlib
import json
import re
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from tools.control_plane import ControlPlane

from forebay_cli.ports import free_port
from tests.support.apiserver import Answer, Api, namespace
from tests.support.brokers import VirtualHost
from tests.support.forks import forked, kill
from tests.support.processes import alive
from tests.support.proxy import Proxy, proxy
from tests.support.waiting import eventually

_KUBECONFIG = "kubeconfig"  # in the yard's folder
_CHILDREN = (
    "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Secret", "Service",
    "ServiceAccount",
)  # fmt: skip


class Turns:
    """Lets so many acts pass, one after the other, and ends the operator at the last one."""

    def __init__(self) -> None:
        self.left: int | None = None  # None: as many as it likes
        self.deliver = True  # whether the operator hears of the last act's success
        self.pid = 0
        self.dead = asyncio.Event()
        self._turn = asyncio.Lock()

    async def begin(self) -> bool:
        if self.left is None:
            return True
        await self._turn.acquire()
        if self.left > 0:
            return True
        self._turn.release()
        await self.dead.wait()
        return False

    async def end(self) -> bool:
        if self.left is None:
            return True
        self.left -= 1
        last = self.left == 0
        if last and not self.deliver:
            self._kill()
        elif last:
            asyncio.get_running_loop().call_later(0.01, self._kill)
        self._turn.release()
        return self.deliver or not last

    def _kill(self) -> None:
        kill(self.pid)
        self.dead.set()


@dataclass(slots=True)
class Yard:
    """One namespace and what stands around it."""

    api: Api
    kube: Proxy
    management: Proxy
    vhost: VirtualHost
    folder: Path
    turns: Turns = field(default_factory=Turns)
    admin: str = ""
    logs: int = 0

    @property
    def log(self) -> str:
        """What its operators have said."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("operator-*.log")))

    async def start(self, *flags: str, acts: int | None = None, deliver: bool = True) -> int:
        """An operator that may do so many acts; its process id."""
        self.turns.left, self.turns.deliver = acts, deliver
        self.turns.dead = asyncio.Event()
        self.admin = f"127.0.0.1:{free_port()}"
        self.logs += 1
        log = self.folder / f"operator-{self.logs:03}.log"
        names = flags or ("--namespace", self.api.namespace)
        flags = (f"--admin-address={self.admin}", "--allow-loopback", *names)
        process = forked(log, self.folder / _KUBECONFIG, *flags)
        assert process.pid is not None
        self.turns.pid = process.pid
        return process.pid

    async def life(self, *, acts: int, deliver: bool, ends: Callable[[], Awaitable[object]]) -> bool:
        """Live until killed after so many acts, or until `ends` says so; whether it was killed."""
        pid = await self.start(acts=acts, deliver=deliver)

        async def over() -> bool:
            return self.turns.dead.is_set() or bool(await ends())

        try:
            await eventually(over, within_s=60, every_s=0.2)
        finally:
            kill(pid)
        return self.turns.dead.is_set()

    async def health(self, path: str = "/healthz") -> tuple[int, str]:
        async with aiohttp.ClientSession() as opened, opened.get(f"http://{self.admin}{path}") as answer:
            return answer.status, (await answer.text()).strip()

    @property
    def lives(self) -> bool:
        return alive(self.turns.pid)

    async def world(self) -> dict[str, Any]:
        """All that there is of sources, in words that do not depend on the namespace or the moment."""
        found = {**await self._objects(), **await self._on_broker()}
        text = json.dumps(found, sort_keys=True)
        for name, word in ((self.api.namespace, "NS"), (self.vhost.name, "VHOST")):
            text = text.replace(name, word).replace(name.replace("-", r"\\-"), word)  # also within a pattern
        text = text.replace(f":{self.management.port}", ":MANAGEMENT")
        return dict(json.loads(re.sub(r"(\.(?:ingest|worker))\.[0-9a-f]{8}\b", r"\1.LOGIN", text)))

    async def _objects(self) -> dict[str, Any]:
        lists = await asyncio.gather(*(self.api.all(kind, "forebay.dev/source") for kind in _CHILDREN))
        found = {f"{item['kind']} {item['metadata']['name']}": _plain(item) for items in lists for item in items}
        for source in await self.api.all("WebhookSource"):
            conditions = source.get("status", {}).get("conditions", ())
            found[f"WebhookSource {source['metadata']['name']}"] = {
                "spec": source["spec"],
                "finalizers": source["metadata"].get("finalizers"),
                "conditions": {c["type"]: (c["status"], c["reason"]) for c in conditions},
                "current": source.get("status", {}).get("observedGeneration") == source["metadata"]["generation"],
            }
        return found

    async def _on_broker(self) -> dict[str, Any]:
        get, vhost = self.vhost.management.get, quote(self.vhost.name, safe="")
        own = f"forebay.{self.api.namespace}."
        queues, exchanges, bindings, policies, users, permissions, topics = await asyncio.gather(
            *(get(f"{what}/{vhost}") for what in ("queues", "exchanges", "bindings", "policies")),
            get("users?columns=name"), get(f"vhosts/{vhost}/permissions"), get(f"vhosts/{vhost}/topic-permissions"),
        )  # fmt: skip
        return {
            **{f"queue {q['name']}": q["arguments"] for q in queues if q["name"].startswith(own)},
            **{f"exchange {e['name']}": e["type"] for e in exchanges if e["name"].startswith(own)},
            **{f"binding {b['source']} {b['destination']}": b["routing_key"]
               for b in bindings if b["destination"].startswith(own)},
            **{f"policy {p['name']}": p["definition"] for p in policies if p["name"].startswith(own)},
            **{f"user {u['name']}": None for u in users if u["name"].startswith(own)},
            **{f"permission {p['user']}": [p["configure"], p["write"], p["read"]]
               for p in permissions if p["user"].startswith(own)},
            **{f"topic-permission {p['user']} {p['exchange']}": [p["write"], p["read"]]
               for p in topics if p["user"].startswith(own)},
        }  # fmt: skip


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    """An object without what the API server and the moment have put into it."""
    kept = {name: value for name, value in item.items() if name in ("spec", "data", "rules")}
    if item["kind"] == "Secret":
        kept["data"] = sorted(kept["data"])
    if item["kind"] == "Service":
        kept["spec"] = {name: value for name, value in kept["spec"].items() if not name.startswith("clusterIP")}
    if item["kind"] == "Deployment":
        kept["spec"]["template"]["metadata"].pop("annotations", None)  # hashes of Secrets' versions among them
    return {**kept, "labels": item["metadata"]["labels"]}


def difference(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[object, object]]:
    """What differs between two worlds, for a person who reads why a test failed."""
    names = sorted(one.keys() | other.keys())
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


@asynccontextmanager
async def yard(plane: ControlPlane, vhost: VirtualHost, folder: Path) -> AsyncIterator[Yard]:
    """A fresh yard. Its folder is made, and removed if nothing went wrong."""
    trust = ssl.create_default_context(cafile=str(plane.authority))
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(proxy(plane.url, trust))
        management = await stack.enter_async_context(proxy(vhost.server.management_url))
        api = await stack.enter_async_context(namespace(plane))
        _lay_out(folder, kube.url, plane.token)
        one = Yard(api, kube, management, vhost, folder)
        for gate in (kube, management):
            gate.begin, gate.end = one.turns.begin, one.turns.end
        await vhost.management.put(f"users/{vhost.username}", {"password": vhost.password, "tags": "administrator"})
        await api.secret("rabbitmq", uri=vhost.uri, management=management.url)
        await api.secret("github-webhook", secret="s3cret")
        try:
            yield one
        finally:
            if one.turns.pid:
                kill(one.turns.pid)
            await _let_go(api)
    shutil.rmtree(folder)


async def _let_go(api: Api) -> None:
    with contextlib.suppress(Answer):
        for source in await api.all("WebhookSource"):
            if source["metadata"].get("finalizers"):
                await api.patch("WebhookSource", source["metadata"]["name"], {"metadata": {"finalizers": None}})


def _lay_out(folder: Path, server: str, token: str) -> None:
    folder.mkdir()
    path = folder / _KUBECONFIG
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "it", "user": {"token": token}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }))  # fmt: skip
    path.chmod(0o600)
