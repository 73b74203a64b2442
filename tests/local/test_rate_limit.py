"""The example with a rate limit, as processes on a real broker: the destination's clock decides whether it holds."""

import asyncio
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from forebay import manifest
from forebay.amqp.publisher import Publisher
from forebay.envelope import encode
from forebay.source import WebhookSource
from forebay_cli.local.run import LocalRun
from tests.support.brokers import VirtualHost
from tests.support.destination import destination, says
from tests.support.envelopes import envelope
from tests.support.waiting import eventually, so

EXAMPLE = Path(__file__).parents[2] / "examples" / "rate-limit"
OK = says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def to(port: int, source: WebhookSource) -> WebhookSource:
    """The source with its destination on this machine."""
    worker = source.spec.worker
    assert worker.destination is not None
    elsewhere = worker.destination.model_copy(update={"url": f"http://127.0.0.1:{port}/"})
    spec = source.spec.model_copy(update={"worker": worker.model_copy(update={"destination": elsewhere})})
    return source.model_copy(update={"spec": spec})


@asynccontextmanager
async def running(
    example: Path, host: VirtualHost, folder: Path
) -> AsyncIterator[tuple[LocalRun, list[tuple[float, str]]]]:
    """The example on this machine, and what its destination sees: when, and of which webhook."""
    seen: list[tuple[float, str]] = []

    async def answer(request: Any, writer: Any) -> None:
        seen.append((time.monotonic(), request.header("x-forebay-id")))
        await OK(request, writer)

    found = manifest.load(example)
    secrets = {secret.name: dict(secret.data) for secret in found.secrets}
    async with destination(answer) as server:
        source = to(server.port, found.sources[0])
        async with LocalRun(source, secrets, broker=host.server, vhost=host.name, folder=folder) as run:
            yield run, seen


async def test_workers_that_share_a_rate_keep_it_through_a_kill_and_lose_nothing(
    newest_broker: VirtualHost, tmp_path: Path
) -> None:
    async with running(EXAMPLE, newest_broker, tmp_path) as (run, seen):
        await fill(newest_broker, run, 40)
        await eventually(so(lambda: len(seen) >= 15))
        run.workers[0].kill()
        await eventually(so(lambda: len(seen) >= 40), within_s=40.0)
    assert {name for _, name in seen} == {f"{n}" for n in range(40)}
    limit, at = run.source.spec.worker.rate_limit, [moment for moment, _ in seen]
    assert limit is not None
    for seconds in (1.0, 5.0):
        most = max(bisect_left(at, moment + seconds) - index for index, moment in enumerate(at))
        # At most one permit is in the hands of each worker when it is held up, and of the one that was killed.
        assert most <= limit.requests / 60 * seconds + (limit.burst or 0) + 3


async def fill(host: VirtualHost, run: LocalRun, count: int, queue: str = "default") -> None:
    """Put so many webhooks into a queue; their ids are numbers, after its name if it is another than default."""
    publisher = Publisher(lambda: host.uri, name="test")
    running = asyncio.ensure_future(publisher.run())
    await eventually(so(lambda: publisher.obstacle is None))
    prefix = "" if queue == "default" else queue
    for number in range(count):
        one = envelope(id=f"{prefix}{number}", queue=queue, received_at=int(time.time() * 1000))
        await publisher.publish(run.names.exchange, run.names.queue(queue), encode(one))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
