"""Records what a source's dashboard shows, on one machine and with real parts: RabbitMQ, endpoint, workers, Prometheus.

    python -m tools.dashboard_recording FILE.json    a quarter of an hour; then draw it with tools.dashboard_picture

A quarter of an hour in which everything goes wrong once: a burst, a destination that fails, signatures with another secret, a
broker out of memory, a broker killed. Prometheus has the source's own alerts. Everything listens on 127.0.0.1 alone.
"""

import asyncio
import contextlib
import json
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from tools.build import built

from demo.destination import Destination, Mood
from demo.provider import Provider, push
from forebay import manifest
from forebay_cli.local.run import LocalRun
from forebay_cli.rabbitmq import PrivateBroker, private_broker
from forebay_operator.desired import Platform, dashboard, prometheus_rule
from forebay_operator.desired.platform import PROMETHEUS_RULE

SCRAPE_S = 2
STEP_S = 5
RANGE = "20s"  # in place of $__rate_interval
SECRET = b"the demo's secret"
SOURCE: dict[str, Any] = {
    "apiVersion": "forebay.dev/v1alpha1",
    "kind": "WebhookSource",
    "metadata": {"name": "github", "namespace": "payments"},
    "spec": {
        "ingest": {"verification": {"provider": "GitHub", "secretRefs": [{"name": "github-webhook", "key": "secret"}]}},
        "queues": [{"name": "releases", "match": {"eventTypes": ["release"]}}],
        "worker": {"destination": {"url": ""}, "concurrency": 2},
        "retry": {"maxAttempts": 4, "schedule": ["5s", "15s", "30s"]},
        "monitoring": {"dashboard": {}, "alerts": {"oldestAge": "1m", "deadLetters": 50}},
    },
}


class Scene(NamedTuple):
    """What happens for some seconds."""

    seconds: int
    rate: int = 12  # webhooks a second
    mood: Mood = Mood.WELL
    forged: float = 0.0  # share of them that is signed with another secret
    broker: str = "well"  # or full, or killed


STORY = (
    Scene(120),
    Scene(75, rate=75, mood=Mood.SLOW),
    Scene(120, mood=Mood.SLOW),
    Scene(90, mood=Mood.FAILING),
    Scene(120),
    Scene(75, forged=0.4),
    Scene(90),
    Scene(30, broker="full"),
    Scene(60),
    Scene(15, broker="killed"),
    Scene(120),
)


async def record() -> dict[str, Any]:
    """Play the story; the dashboard, and each expression's series."""
    with tempfile.TemporaryDirectory(prefix="forebay-recording-") as folder:
        place = Path(folder)
        async with Destination() as destination, private_broker(place / "broker") as broker:
            SOURCE["spec"]["worker"]["destination"]["url"] = destination.url
            source = manifest.read_source(SOURCE)
            secrets = {"github-webhook": {"secret": SECRET}}
            async with (
                LocalRun(source, secrets, broker=broker, folder=place / "run") as run,
                Provider(run.url, SECRET) as provider,
                _prometheus(place / "prometheus", run) as prometheus,
            ):
                began = time.time()
                for scene in STORY:
                    sys.stderr.write(f"{time.time() - began:4.0f} s  {scene}\n")
                    await _play(scene, provider, destination, broker)
                whole = dashboard.dashboard(source)
                series = await _ask_all(prometheus, whole, began, time.time())
    return {"dashboard": whole, "range": [began, time.time(), STEP_S], "series": series}


async def _play(scene: Scene, provider: Provider, destination: Destination, broker: PrivateBroker) -> None:
    destination.mood = scene.mood
    if scene.broker == "full":
        await broker.control("set_vm_memory_high_watermark", "absolute", "1MiB")
    elif scene.broker == "killed":
        await broker.kill()
    async with asyncio.TaskGroup() as group:
        for second in range(scene.seconds):
            tick = asyncio.get_running_loop().time()
            for number in range(scene.rate):
                secret = b"another" if number < scene.forged * scene.rate else None
                group.create_task(_send(provider, second * scene.rate + number, number / scene.rate, secret))
            await asyncio.sleep(max(0.0, tick + 1 - asyncio.get_running_loop().time()))
    if scene.broker == "full":
        await broker.control("set_vm_memory_high_watermark", "0.6")
    elif scene.broker == "killed":
        await broker.start()


async def _send(provider: Provider, number: int, after_s: float, secret: bytes | None) -> None:
    await asyncio.sleep(after_s)
    await provider.send(push(number), secret=secret)


# ---------------------------------------------------------------------------------------------------------- Prometheus


@contextlib.asynccontextmanager
async def _prometheus(folder: Path, run: LocalRun) -> AsyncIterator[str]:
    """A Prometheus that scrapes the run's processes and knows the source's alerts; its URL."""
    await asyncio.to_thread(folder.mkdir)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    targets = [replica.admin for replica in run.replicas]
    (rule,) = prometheus_rule.objects(run.source, Platform(apis=frozenset({PROMETHEUS_RULE})))
    (folder / "rules.yaml").write_text(json.dumps(rule["spec"]))
    config = {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "forebay", "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yaml").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(built("prometheus-2") / "usr/bin/prometheus"),
            f"--config.file={folder}/prometheus.yaml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={address}",
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        await process.wait()


async def _ask_all(url: str, whole: dict[str, Any], began: float, ended: float) -> dict[str, Any]:
    asked = [target["expr"] for panel in whole["panels"] for target in panel.get("targets", ())]
    asked += [note["expr"] for note in whole["annotations"]["list"]]
    async with aiohttp.ClientSession() as session:
        return {expression: await _ask(session, url, expression, began, ended) for expression in dict.fromkeys(asked)}


async def _ask(session: aiohttp.ClientSession, url: str, expression: str, began: float, ended: float) -> Any:
    """The series of an expression, as Prometheus' API gives them."""
    query = {
        "query": expression.replace("$__rate_interval", RANGE),
        "start": f"{began:.0f}",
        "end": f"{ended:.0f}",
        "step": f"{STEP_S}s",
    }
    async with session.get(f"{url}/api/v1/query_range", params=query) as answer:
        said = await answer.json()
        if said["status"] != "success":
            raise SystemExit(f"error: Prometheus refuses {expression}: {said['error']}")
        return said["data"]["result"]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asyncio.run(record())))
