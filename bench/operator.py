"""The operator at a thousand sources: on a real API server and a real broker; no pod runs.

    uv run python -m bench.operator [--quick]

Starts everything privately on this machine. Exit status 1: a bar was missed. Results: bench/results/operator.json.
`--quick` takes a hundred sources.
"""

import asyncio
import random
import signal
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tools.control_plane import ControlPlane

from bench import rig, verdict
from bench.verdict import Bar
from forebay_cli.rabbitmq import AS_SHIPPED_S
from tests.support.apiserver import KINDS, Api, OperatorProcess, install_crds, operator, session
from tests.support.sources import manifest

BARS = (
    Bar(figure="cold: everything declared and applied", key="cold_s", sign="≤", bar=120, aim=60, unit=" s"),
    Bar(figure="operator memory then", key="rss_mib", sign="≤", bar=300, aim=200, unit=" MiB"),
    Bar(figure="restart: writes to the API server", key="restart_writes.api", sign="≤", bar=0),
    Bar(figure="restart: writes to the broker", key="restart_writes.broker", sign="≤", bar=0),
    Bar(figure="API requests a minute at rest", key="rest_calls_per_min", sign="≤", bar=60, aim=10),
    Bar(figure="one edit → applied, p95", key="edit_p95_s", sign="≤", bar=1, aim=0.1, unit=" s"),
    Bar(figure="deleted child → back, p95", key="heal_p95_s.object", sign="≤", bar=2, aim=0.2, unit=" s"),
    Bar(figure="deleted queue → back, p95", key="heal_p95_s.queue", sign="≤", bar=30, aim=10, unit=" s"),
    Bar(figure="queues per 1,000 sources", key="queues", sign="≤", bar=3100, aim=2100),
    Bar(figure="edit p95 beside a poisoned source ÷ without", key="poisoned_edit_ratio", sign="≤", bar=1.2),
)

DEFINITIONS = {
    "cold_s": "from the start of the operator's process, sources there, to all queues declared, children applied, statuses written; no pods",
    "cold_cpu_s": "CPU seconds used until then by each process that has a part in it",
    "rss_mib": "resident memory of the operator's process after that",
    "restart_writes": "requests other than GET in a second life of the operator until it has reconciled every source and rests",
    "rest_calls_per_min": "requests the API server counted in two minutes, watches aside, less those without an operator",
    "edit_p95_s": "from the answer to a change of a source to the watch event of the changed ConfigMap",
    "heal_p95_s": "from the answer to a deletion to the watch event of the new object; to the queue's return on the broker",
    "queues": "on the broker, scaled to 1,000 sources",
    "poisoned_edit_ratio": "the same edits while one more source's broker accepts connections and never answers; without: before and after together",
}
NAMESPACES = 10
# Between samples: a series is to last longer than what the operator does now and then, such as its looks at the broker.
_APART_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How much is measured."""

    sources: int
    samples: int  # of healing
    edits: int


FULL = Length(sources=1000, samples=60, edits=200)
QUICK = Length(sources=100, samples=20, edits=50)


async def main(length: Length, options: verdict.Options) -> int:
    with rig.folder() as place:
        async with rig.broker(refresh_s=AS_SHIPPED_S) as broker:
            results = verdict.circumstances(quick=options.quick, rabbitmq=broker.private.version)
            # No pods: the controllers that make them would take the time of the one machine that everything shares.
            plane = ControlPlane(place / "control-plane", without=("replicaset-controller",))
            try:
                plane.start()
                install_crds(plane)
                async with session(plane) as opened:
                    apis = [Api(opened, plane.url, f"bench-{i}") for i in range(NAMESPACES)]
                    bench = Bench(length=length, broker=broker, plane=plane, apis=apis, place=place)
                    results |= await bench.run()
            finally:
                plane.stop()
    results |= {"sources": length.sources, "definitions": DEFINITIONS}
    return verdict.conclude(results, BARS, options.output / "operator.json")


@dataclass(slots=True, kw_only=True)
class Bench:
    """The cluster and the broker, and what was found."""

    length: Length
    broker: rig.Broker
    plane: ControlPlane
    apis: list[Api]
    place: Path
    found: dict[str, Any] = field(default_factory=dict)

    async def run(self) -> dict[str, Any]:
        await self._fill()
        async with operator(self.plane, self.place, ready=False) as one:
            await self._cold(one)
        # What everybody else asks while all children are there.
        without = await self._calls_in(60)
        async with operator(self.plane, self.place) as two:
            await self._restart(two)
            await self._rest(without)
            edits = await self._sample("edit", self._edit, self.length.edits)
            heals = await self._sample("heal object", self._heal_object, self.length.samples)
            self.found["edit_p95_s"] = p95(edits)
            self.found["heal_p95_s"] = {"object": p95(heals), "queue": p95(await self._heal_queues())}
            await self._poisoned(edits)
        return self.found

    # ------------------------------------------------------------------------------------------------ filling

    async def _fill(self) -> None:
        say(f"applies {self.length.sources} sources in {NAMESPACES} namespaces")
        for api in self.apis:
            await api.call("POST", "/api/v1/namespaces", {"metadata": {"name": api.namespace}})
            await api.secret("rabbitmq", uri=self.broker.uri, management=self.broker.private.management_url)
            await api.secret("github-webhook", secret="s3cret")
        await in_parallel(32, (self._apply(number) for number in range(self.length.sources)))

    async def _apply(self, number: int) -> None:
        source = manifest(metadata__name=f"s{number}", spec__broker={"secretRef": {"name": "rabbitmq"}})
        await self._api(number).apply(source)

    def _api(self, number: int) -> Api:
        return self.apis[number % NAMESPACES]

    # ------------------------------------------------------------------------------------------------ the figures

    async def _cold(self, one: OperatorProcess) -> None:
        began, before = time.monotonic(), self._cpu_s()
        while not await self._all_there():
            await asyncio.sleep(1)
            if time.monotonic() - began > 600:
                raise SystemExit(
                    f"bench: not everything is there after 600 s; the operator's log: {one.log.read_text()[-3000:]}"
                )
        self.found["cold_s"] = round(time.monotonic() - began, 1)
        await self._settled(one)
        service = rig.Service(name="operator", pid=one.pid)
        self.found["rss_mib"] = round(service.memory_mib()["rss"])
        self.found["cold_cpu_s"] = {
            name: round(used - before.get(name, 0.0), 1) for name, used in self._cpu_s(one.pid).items()
        }
        queues = await self.broker.management.get("queues/%2F?columns=name")
        self.found["queues"] = round(len(queues) * 1000 / self.length.sources)
        say(f"cold in {self.found['cold_s']} s, CPU seconds {self.found['cold_cpu_s']}, {self.found['rss_mib']} MiB")

    def _cpu_s(self, operator_pid: int | None = None) -> dict[str, float]:
        pids = {**self.plane.pids, "broker": self.broker.private.pid, "operator": operator_pid}
        return {name: rig.cpu_s(pid) for name, pid in pids.items() if pid is not None}

    async def _all_there(self) -> bool:
        page = await self.apis[0].call("GET", "/apis/apps/v1/deployments", limit="1")
        deployments = len(page["items"]) + page["metadata"].get("remainingItemCount", 0)
        if deployments < 2 * self.length.sources:
            return False
        sources = await self.apis[0].call("GET", "/apis/forebay.dev/v1alpha1/webhooksources")
        return all(_declared(source) for source in sources["items"])

    async def _settled(self, one: OperatorProcess) -> None:
        """Until no source waits and no write was made for some seconds."""
        last: list[tuple[float, float]] = []
        while len(last) < 6 or len(set(last[-5:])) > 1 or last[-1][1]:
            metrics = await one.metrics()
            last.append(
                (total(metrics, "forebay_operator_api_calls_total"), total(metrics, "forebay_operator_queue_length"))
            )
            await asyncio.sleep(1)

    async def _restart(self, two: OperatorProcess) -> None:
        began = time.monotonic()
        while total(await two.metrics(), "forebay_operator_reconcile_seconds_count") < self.length.sources:
            await asyncio.sleep(0.2)
        self.found["restart_s"] = round(time.monotonic() - began, 1)
        await self._settled(two)
        metrics = await two.metrics()
        self.found["restart_writes"] = {
            "api": total(metrics, "forebay_operator_api_calls_total", but='verb="GET"'),
            "broker": total(metrics, "forebay_operator_broker_writes_total"),
        }
        self.found["restart_rss_mib"] = round(rig.Service(name="operator", pid=two.pid).memory_mib()["rss"])
        say(f"restart: {self.found['restart_writes']}")

    async def _rest(self, without: float) -> None:
        self.found["rest_calls_per_min"] = max(0.0, round((await self._calls_in(120)) / 2 - without, 1))
        say(f"at rest: {self.found['rest_calls_per_min']} requests a minute")

    async def _calls_in(self, seconds: float) -> float:
        before = await self._calls()
        await asyncio.sleep(seconds)
        return await self._calls() - before

    async def _calls(self) -> float:
        """All requests but watches, and those for the metrics themselves."""
        text = (await self.apis[0].call("GET", "/metrics"))["text"]
        lines = (line for line in text.splitlines() if line.startswith("apiserver_request_total{"))
        kept = (line for line in lines if 'verb="WATCH"' not in line and 'subresource="/metrics"' not in line)
        return sum(float(line.rpartition(" ")[2]) for line in kept)

    async def _sample(self, what: str, do: Callable[[int], Awaitable[float]], times: int) -> list[float]:
        numbers = random.Random(1).sample(range(self.length.sources), times)
        taken = []
        for number in numbers:
            taken.append(await do(number))
            await asyncio.sleep(_APART_S)
        say(f"{what}: p50 {statistics.median(taken):.3f} s, p95 {p95(taken):.3f} s")
        return taken

    async def _edit(self, number: int) -> float:
        api, name = self._api(number), f"s{number}"
        async with watched(api, "ConfigMap", f"{name}-settings") as seen:
            size = random.Random(time.time()).randint(2000, 900_000)
            await api.patch("WebhookSource", name, {"spec": {"ingest": {"maxBodyBytes": size}}})
            return await since_now(seen, lambda item: str(size) in item["data"]["ingest.json"])

    async def _heal_object(self, number: int) -> float:
        api, name = self._api(number), f"s{number}-ingest"
        before = (await api.get("Service", name))["metadata"]["uid"]
        async with watched(api, "Service", name) as seen:
            await api.delete("Service", name)
            return await since_now(seen, lambda item: bool(item["metadata"]["uid"] != before))

    async def _heal_queues(self) -> list[float]:
        numbers = random.Random(2).sample(range(self.length.sources), min(10, self.length.samples))
        taken = []
        for number in numbers:
            queue = f"forebay.{self._api(number).namespace}.s{number}.default"
            await self.broker.delete(queue)
            began = time.monotonic()
            while not await self._has(queue):
                await asyncio.sleep(0.1)
            taken.append(time.monotonic() - began)
        say(f"heal queue: p95 {p95(taken):.1f} s")
        return taken

    async def _has(self, queue: str) -> bool:
        found = await self.broker.management.get(
            f"queues/{quote('/', safe='')}?columns=name&name={queue}&page=1&page_size=10"
        )
        return any(item["name"] == queue for item in found["items"])

    async def _poisoned(self, before: list[float]) -> None:
        """One more source, whose broker takes connections and says nothing; compared with before and after."""
        with socket.socket() as mute:
            mute.bind(("127.0.0.1", 0))
            mute.listen(128)
            address = f"127.0.0.1:{mute.getsockname()[1]}"
            api = self.apis[0]
            await api.secret("mute", uri=f"amqp://u:p@{address}/", management=f"http://{address}")
            await api.apply(manifest(metadata__name="poisoned", spec__broker={"secretRef": {"name": "mute"}}))
            await asyncio.sleep(2)
            beside = await self._sample("edit beside a poisoned source", self._edit, self.length.edits)
            await api.patch("WebhookSource", "poisoned", {"metadata": {"finalizers": None}})
            await api.delete("WebhookSource", "poisoned")
        await asyncio.sleep(2)
        after = await self._sample("edit after it", self._edit, self.length.edits)
        self.found["poisoned_edit_p95_s"] = p95(beside)
        self.found["poisoned_edit_ratio"] = round(p95(beside) / p95([*before, *after]), 2)


# ---------------------------------------------------------------------------------------------------- small things


def _declared(source: dict[str, Any]) -> bool:
    conditions = {c["type"]: c["status"] for c in source.get("status", {}).get("conditions", ())}
    return conditions.get("TopologyReady") == "True" and conditions.get("Accepted") == "True"


def total(metrics: str, name: str, *, but: str = "\0") -> float:
    lines = (line for line in metrics.splitlines() if line.startswith((f"{name}{{", f"{name} ")) and but not in line)
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def p95(taken: list[float]) -> float:
    return round(sorted(taken)[max(0, round(len(taken) * 0.95) - 1)], 3)


@asynccontextmanager
async def watched(api: Api, kind: str, name: str) -> AsyncIterator["asyncio.Queue[tuple[float, dict[str, Any]]]"]:
    """What the API server tells of one object, with the moment at which we hear it."""
    root, plural = KINDS[kind]
    seen: asyncio.Queue[tuple[float, dict[str, Any]]] = asyncio.Queue()
    since = (await api.call("GET", f"{root}/namespaces/{api.namespace}/{plural}", limit="1"))["metadata"][
        "resourceVersion"
    ]

    async def follow() -> None:
        async for item in api.watch(kind, name, since):
            seen.put_nowait((time.monotonic(), item))

    task = asyncio.create_task(follow())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def since_now(
    seen: "asyncio.Queue[tuple[float, dict[str, Any]]]", holds: Callable[[dict[str, Any]], bool]
) -> float:
    """Seconds until an event shows what is waited for."""
    began = time.monotonic()
    async with asyncio.timeout(60):
        while True:
            at, item = await seen.get()
            if holds(item):
                return max(0.0, at - began)


async def in_parallel(width: int, work: Any) -> None:
    gate = asyncio.Semaphore(width)

    async def one(coroutine: Awaitable[None]) -> None:
        async with gate:
            await coroutine

    await asyncio.gather(*(one(coroutine) for coroutine in work))


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    chosen = verdict.options(__doc__.splitlines()[0] if __doc__ else "")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(asyncio.run(main(QUICK if chosen.quick else FULL, chosen)))
