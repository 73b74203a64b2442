"""Does a backlog of unimportant webhooks delay the important ones?

    uv run python -m bench.importance [--quick]

Two queues of one source, each with a worker process of its own, and a destination that takes 20 ms for each webhook. Important
ones come steadily; their way from the publish to the destination is timed, with nothing else to do and with the other queue full.
Results: section `importance` of bench/results/worker.json.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

from bench import rig, verdict
from bench.verdict import Bar, ratio
from forebay.amqp.publisher import Publisher
from forebay.envelope import Envelope, encode
from forebay.identity import IdSource
from forebay.settings import Destination, WorkerSettings
from forebay.topology import Names, SourceTopology, source_objects

SOURCE = "bench/importance"
HIGH, LOW = "orders", "default"
TAKES_S = 0.02  # the destination, for each webhook
EVERY_S = 0.02  # between two important ones
CONCURRENCY = {HIGH: 8, LOW: 4}
_AT_ONCE = 500  # publishes of the backlog

BARS = (
    Bar(figure="important ones' p99 beside a backlog ÷ alone", key="importance.p99_ratio", sign="≤", bar=1.2, aim=1.05),
)


class Slow:
    """Answers after a while, and notes how long each important webhook was on its way."""

    def __init__(self) -> None:
        self.ways: list[float] = []
        self.others = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r", 1)[0] or 0))
                if body:
                    self.ways.append(time.monotonic() - float(body))
                else:
                    self.others += 1
                await asyncio.sleep(TAKES_S)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()


async def measured(broker: rig.Broker, place: Path, *, backlog: int, seconds: float) -> dict[str, Any]:
    """Play it once: twice so many seconds, and the time to fill the queue."""
    topology = SourceTopology(names=Names.of(SOURCE), queues=(LOW, HIGH))
    await broker.management.declare(source_objects(rig.VHOST, topology))
    slow = Slow()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await asyncio.start_server(slow.serve, "127.0.0.1", 0))
        slow.url = "http://127.0.0.1:{1}/".format(*server.sockets[0].getsockname())
        sender = await stack.enter_async_context(_sender(broker))
        await stack.enter_async_context(_worker(place, broker, slow.url, HIGH))
        alone = await _p99_ms(sender, slow, seconds)
        await _fill(sender, backlog)
        await stack.enter_async_context(_worker(place, broker, slow.url, LOW))
        before = slow.others
        beside = await _p99_ms(sender, slow, seconds)
        if not before < slow.others < backlog:
            raise SystemExit(f"bench: the other queue was not busy all the time: {slow.others} of {backlog} delivered")
    return {
        "p99_ratio": ratio(beside, alone),
        "p99_ms_alone": alone,
        "p99_ms_beside_a_backlog": beside,
        "backlog": backlog,
    }


@asynccontextmanager
async def _sender(broker: rig.Broker) -> AsyncIterator[Publisher]:
    publisher = Publisher(lambda: broker.uri, name="bench importance")
    work = asyncio.create_task(publisher.run())
    try:
        await rig.until(lambda: publisher.link.up, "no connection to the broker", folder=Path())
        yield publisher
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def _worker(place: Path, broker: rig.Broker, url: str, queue: str) -> Any:
    settings = WorkerSettings(
        source=SOURCE,
        queue=queue,
        concurrency=CONCURRENCY[queue],
        destination=Destination(url=url, allow_loopback=True),
    )
    return rig.forebay_worker(place, broker, settings, f"importance-{queue}")


async def _p99_ms(sender: Publisher, slow: Slow, seconds: float) -> float:
    await asyncio.sleep(2)  # what has just been started or filled comes to rest
    slow.ways.clear()
    count = round(seconds / EVERY_S)
    for _ in range(count):
        await _publish(sender, HIGH, str(time.monotonic()).encode())
        await asyncio.sleep(EVERY_S)
    await rig.until(lambda: len(slow.ways) >= count, "not all important webhooks arrived", folder=Path())
    return round(quantiles(slow.ways, n=100)[98] * 1000, 2)


async def _fill(sender: Publisher, backlog: int) -> None:
    for begin in range(0, backlog, _AT_ONCE):
        await asyncio.gather(*(_publish(sender, LOW, b"") for _ in range(min(_AT_ONCE, backlog - begin))))


_ids = IdSource()


async def _publish(sender: Publisher, queue: str, body: bytes) -> None:
    now = int(time.time() * 1000)
    envelope = Envelope(
        id=_ids.next(now),
        source=SOURCE,
        queue=queue,
        method="POST",
        target="/hook",
        received_at=now,
        client="127.0.0.1",
        header_block=b"Content-Type: text/plain\r\n",
        body=body,
    )
    names = Names.of(SOURCE)
    await sender.publish(names.exchange, names.queue(queue), encode(envelope))


async def main(options: verdict.Options) -> int:
    backlog, seconds = (20_000, 10.0) if options.quick else (100_000, 40.0)
    with rig.folder() as place:
        async with rig.broker() as broker:
            told = await measured(broker, place, backlog=backlog, seconds=seconds)
    return verdict.enter("importance", told, BARS, options.output / "worker.json")


if __name__ == "__main__":
    sys.exit(asyncio.run(main(verdict.options("Measure whether a backlog delays webhooks of another queue."))))
