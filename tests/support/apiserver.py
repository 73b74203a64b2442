"""A real API server for tests: a namespace of its own for each, a client that is not the operator's, the operator as a process."""

import asyncio
import base64
import contextlib
import json
import os
import secrets
import signal
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import aiohttp
from tools.control_plane import ControlPlane, NoControlPlane

from forebay_cli.ports import free_port
from tests.support.forks import forked
from tests.support.waiting import eventually

Object = dict[str, Any]

# kind → path of its group and version, plural
KINDS = {
    "ConfigMap": ("/api/v1", "configmaps"),
    "Event": ("/api/v1", "events"),
    "Node": ("/api/v1", "nodes"),
    "Pod": ("/api/v1", "pods"),
    "Secret": ("/api/v1", "secrets"),
    "Service": ("/api/v1", "services"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "ReplicaSet": ("/apis/apps/v1", "replicasets"),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    "Ingress": ("/apis/networking.k8s.io/v1", "ingresses"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "PodMonitor": ("/apis/monitoring.coreos.com/v1", "podmonitors"),
    "PrometheusRule": ("/apis/monitoring.coreos.com/v1", "prometheusrules"),
    "ScaledObject": ("/apis/keda.sh/v1alpha1", "scaledobjects"),
    "TriggerAuthentication": ("/apis/keda.sh/v1alpha1", "triggerauthentications"),
    "WebhookSource": ("/apis/forebay.dev/v1alpha1", "webhooksources"),
}
CRDS = Path(__file__).resolve().parents[2] / "crds"


class Answer(Exception):
    """The API server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


class Api:
    """A session with the API server in one namespace."""

    def __init__(self, session: aiohttp.ClientSession, url: str, namespace: str) -> None:
        self.namespace = namespace
        self._session = session
        self._url = url

    async def get(self, kind: str, name: str) -> Object:
        return await self.call("GET", f"{self._path(kind)}/{name}")

    async def find(self, kind: str, name: str) -> Object | None:
        """The object, None if there is none."""
        try:
            return await self.get(kind, name)
        except Answer as answer:
            if answer.status == 404:
                return None
            raise

    async def all(self, kind: str, labels: str = "") -> list[Object]:
        found = await self.call("GET", self._path(kind), labelSelector=labels)
        return [{"kind": kind, **item} for item in found["items"]]

    async def create(self, item: Object) -> Object:
        return await self.call("POST", self._path(item["kind"]), item)

    async def apply(self, item: Object, *, manager: str = "tests") -> Object:
        path = f"{self._path(item['kind'])}/{item['metadata']['name']}"
        return await self.call("PATCH", path, item, "application/apply-patch+yaml", fieldManager=manager, force="true")

    async def patch(self, kind: str, name: str, change: Object, sub: str = "") -> Object:
        path = f"{self._path(kind)}/{name}{sub and '/' + sub}"
        return await self.call("PATCH", path, change, "application/merge-patch+json")

    async def delete(self, kind: str, name: str, **options: Any) -> None:
        await self.call(
            "DELETE", f"{self._path(kind)}/{name}", {"kind": "DeleteOptions", "apiVersion": "v1", **options}
        )

    async def call(
        self, method: str, path: str, body: Object | None = None, content: str = "application/json", **query: str
    ) -> Object:
        """Raises Answer if the API server says no."""
        data = None if body is None else json.dumps(body)
        async with self._session.request(
            method, self._url + path, data=data, params=query, headers={"Content-Type": content}
        ) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise Answer(answer.status, json.loads(text).get("message", text) if text[:1] == "{" else text)
            return json.loads(text) if text[:1] == "{" else {"text": text}

    async def watch(self, kind: str, name: str, since: str) -> AsyncIterator[Object]:
        """The object each time that it changes after a version."""
        query = {"watch": "true", "fieldSelector": f"metadata.name={name}", "resourceVersion": since}
        async with self._session.get(self._url + self._path(kind), params=query) as answer:
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield event["object"]

    def _path(self, kind: str) -> str:
        root, plural = KINDS[kind]
        return f"{root}/{plural}" if kind == "Node" else f"{root}/namespaces/{self.namespace}/{plural}"

    # ------------------------------------------------------------------------------------------------ Forebay's own

    async def secret(self, name: str, **values: str) -> Object:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        return await self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})

    async def conditions(self, name: str) -> dict[str, Object]:
        """The conditions of a source, by type."""
        status = (await self.get("WebhookSource", name)).get("status", {})
        return {condition["type"]: condition for condition in status.get("conditions", ())}

    async def until(
        self, name: str, condition: str, status: str, reason: str = "", *, within_s: float = 20.0
    ) -> Object:
        """Wait until a source says so; the condition. What it said instead is in the error."""
        last: dict[str, Object] = {}

        async def holds() -> bool:
            said = await self.conditions(name)
            last.clear()
            last.update(said)
            found = last.get(condition, {})
            return found.get("status") == status and reason in ("", found.get("reason"))

        try:
            await eventually(holds, within_s=within_s)
        except TimeoutError:
            said = {kind: (c["status"], c["reason"], c["message"]) for kind, c in last.items()}
            raise AssertionError(f"{name} never said {condition}={status} {reason}, but {said}") from None
        return last[condition]


@asynccontextmanager
async def session(plane: ControlPlane, token: str | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP session of the administrator, or of whoever has the token."""
    trust = ssl.create_default_context(cafile=str(plane.authority))
    headers = {"Authorization": f"Bearer {token or plane.token}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust), headers=headers) as opened:
        yield opened


@asynccontextmanager
async def namespace(plane: ControlPlane) -> AsyncIterator[Api]:
    """A fresh namespace; it is being deleted when the block ends."""
    name = f"test-{secrets.token_hex(4)}"
    async with session(plane) as opened:
        api = Api(opened, plane.url, name)
        await api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        try:
            yield api
        finally:
            for source in await api.all("WebhookSource"):  # no operator may be there any more to let go of them
                if source["metadata"].get("finalizers"):
                    await api.patch("WebhookSource", source["metadata"]["name"], {"metadata": {"finalizers": None}})
            with contextlib.suppress(Answer):  # a test may have deleted it
                await api.call("DELETE", f"/api/v1/namespaces/{name}")


def install_crds(plane: ControlPlane) -> None:
    """Forebay's own, as a person does it."""
    plane.kubectl("apply", "--server-side", "-f", str(CRDS))
    # `kubectl wait` ends with an error where there is no condition yet.
    deadline = time.monotonic() + 30
    question = ("get", "crd/webhooksources.forebay.dev", "-o", "jsonpath={.status.conditions}")
    while '"type":"Established","status":"True"' not in _spelled(plane.kubectl(*question)):
        assert time.monotonic() < deadline, "the CRD is not established"
        time.sleep(0.1)


def _spelled(conditions: str) -> str:
    """Each condition as type and status, whatever else is in it."""
    return ",".join(f'"type":"{c["type"]}","status":"{c["status"]}"' for c in json.loads(conditions or "null") or [])


@dataclass(slots=True)
class OperatorProcess:
    """`forebay-operator`, running."""

    process: BaseProcess
    log: Path
    admin: str

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self.process.exitcode

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    async def ended(self, *, within_s: float = 20.0) -> int:
        """The exit status. Raises TimeoutError while there is none."""
        await asyncio.to_thread(self.process.join, within_s)
        if self.status is None:
            raise TimeoutError(f"the operator still runs after {within_s:g} s")
        return self.status

    def lines(self) -> list[Object]:
        """What it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    async def metrics(self) -> str:
        async with aiohttp.ClientSession() as opened, opened.get(f"http://{self.admin}/metrics") as answer:
            return await answer.text()

    async def status_of(self, path: str) -> int:
        async with aiohttp.ClientSession() as opened, opened.get(f"http://{self.admin}{path}") as answer:
            return answer.status


@asynccontextmanager
async def operator(
    plane: ControlPlane, folder: Path, *flags: str, kubeconfig: Path | None = None, ready: bool = True
) -> AsyncIterator[OperatorProcess]:
    """The operator as a process, stopped by SIGTERM when the block ends."""
    port = free_port()
    log = folder / f"operator-{port}.log"
    process = forked(log, kubeconfig or plane.kubeconfig, f"--admin-address=127.0.0.1:{port}", *flags)
    running = OperatorProcess(process, log, f"127.0.0.1:{port}")
    try:
        if ready:
            await _await_ready(running)
        yield running
    finally:
        if running.status is None:
            running.kill(signal.SIGTERM)
            try:
                await running.ended()
            except TimeoutError:
                running.kill()
                await running.ended()


async def _await_ready(running: OperatorProcess) -> None:
    async def answers() -> bool:
        if running.status is not None:
            raise AssertionError(f"the operator ended with {running.status}: {running.log.read_text()[-2000:]}")
        try:
            return await running.status_of("/readyz") == 200
        except aiohttp.ClientError:
            return False

    try:
        await eventually(answers, within_s=30)
    except TimeoutError:
        raise AssertionError(f"the operator is not ready: {running.log.read_text()[-2000:]}") from None


__all__ = [
    "Answer",
    "Api",
    "ControlPlane",
    "NoControlPlane",
    "OperatorProcess",
    "install_crds",
    "namespace",
    "operator",
]
