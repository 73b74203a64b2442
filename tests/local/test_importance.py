"""The example with two queues: a backlog of the one that is limited for itself does not hold up the other."""

import time
from pathlib import Path
from typing import Any

from forebay import manifest
from forebay_cli.local.run import LocalRun
from tests.local.test_rate_limit import OK, fill, to
from tests.support.brokers import VirtualHost
from tests.support.destination import destination
from tests.support.waiting import eventually, so

EXAMPLE = Path(__file__).parents[2] / "examples" / "importance"
BACKLOG, ORDERS = 15, 60


async def test_a_limit_of_one_queue_holds_for_it_alone(newest_broker: VirtualHost, tmp_path: Path) -> None:
    at: dict[str, float] = {}

    async def answer(request: Any, writer: Any) -> None:
        at.setdefault(request.header("x-forebay-id"), time.monotonic())
        await OK(request, writer)

    found = manifest.load(EXAMPLE)
    secrets = {secret.name: dict(secret.data) for secret in found.secrets}
    async with destination(answer) as server:
        source = to(server.port, found.sources[0])
        run = LocalRun(source, secrets, broker=newest_broker.server, vhost=newest_broker.name, folder=tmp_path)
        async with run:
            assert sorted(replica.name for replica in run.workers) == [
                "importance-worker-default-0", "importance-worker-orders-0", "importance-worker-orders-1"
            ]  # fmt: skip
            await fill(newest_broker, run, BACKLOG)
            await eventually(so(lambda: len(at) >= 2))
            began = time.monotonic()
            await fill(newest_broker, run, ORDERS, "orders")
            await eventually(so(lambda: len(at) == BACKLOG + ORDERS))
            depths = await run.depths()
    orders = [moment for name, moment in at.items() if name.startswith("orders")]
    others = sorted(moment for name, moment in at.items() if not name.startswith("orders"))
    assert max(orders) < others[-1], "all orders were there before the backlog was worked off"
    assert others[-1] - others[0] >= (BACKLOG - 5 - 2) / 5  # 5 at once, then 5 a second
    assert max(orders) - began < (ORDERS - 5) / 5  # which the limit of the others would have taken
    paced = {name for name in depths if name.startswith(run.names.permits_prefix)}
    assert {name.rpartition(":")[2] for name in paced} == {"default"}
