"""The example with a circuit breaker, as processes on a real broker: an outage of its destination costs a few attempts."""

import asyncio
from pathlib import Path
from typing import Any

from forebay import manifest
from forebay_cli.holding import held
from forebay_cli.local.run import LocalRun
from tests.local.test_rate_limit import fill, to
from tests.support.brokers import VirtualHost
from tests.support.destination import destination, says
from tests.support.waiting import eventually, so

EXAMPLE = Path(__file__).parents[2] / "examples" / "paced"
COUNT = 60
OK, BUSY = (b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % line for line in (b"200 OK", b"503 Service Unavailable"))


async def test_an_outage_costs_a_few_attempts_and_then_all_is_delivered(
    newest_broker: VirtualHost, tmp_path: Path
) -> None:
    answers = [BUSY]

    async def answer(request: Any, writer: Any) -> None:
        await says(answers[-1])(request, writer)

    found = manifest.load(EXAMPLE)
    secrets = {secret.name: dict(secret.data) for secret in found.secrets}
    async with destination(answer) as server:
        source = to(server.port, found.sources[0])
        breaker, concurrency = source.spec.worker.circuit_breaker, source.spec.worker.concurrency
        assert breaker is not None
        async with LocalRun(
            source, secrets, broker=newest_broker.server, vhost=newest_broker.name, folder=tmp_path
        ) as run:
            await fill(newest_broker, run, COUNT)

            async def is_open() -> bool:
                return bool(held(await run.metrics()).get("breaker"))

            await eventually(is_open)
            await asyncio.sleep(1)
            assert breaker.minimum <= len(server.requests) <= breaker.minimum + concurrency
            answers.append(OK)
            await eventually(so(lambda: len({r.header("x-forebay-id") for r in server.requests}) == COUNT), within_s=30)
