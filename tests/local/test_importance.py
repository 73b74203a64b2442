"""The example with two queues: a backlog of the one that is limited for itself does not hold up the other."""

import time
from pathlib import Path

from tests.local.test_rate_limit import fill, running
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually, so

EXAMPLE = Path(__file__).parents[2] / "examples" / "importance"
BACKLOG, ORDERS = 15, 60


async def test_a_limit_of_one_queue_holds_for_it_alone(newest_broker: VirtualHost, tmp_path: Path) -> None:
    async with running(EXAMPLE, newest_broker, tmp_path) as (run, seen):
        assert sorted(replica.name for replica in run.workers) == [
            "importance-worker-default-0", "importance-worker-orders-0", "importance-worker-orders-1"
        ]  # fmt: skip
        await fill(newest_broker, run, BACKLOG)
        await eventually(so(lambda: len(seen) >= 2))
        began = time.monotonic()
        await fill(newest_broker, run, ORDERS, "orders")
        await eventually(so(lambda: len(seen) >= BACKLOG + ORDERS))
        depths = await run.depths()
    orders = [moment for moment, name in seen if name.startswith("orders")]
    others = [moment for moment, name in seen if not name.startswith("orders")]
    assert (len(orders), len(others)) == (ORDERS, BACKLOG)
    assert max(orders) < others[-1], "all orders were there before the backlog was worked off"
    assert others[-1] - others[0] >= (BACKLOG - 5 - 2) / 5  # 5 at once, then 5 a second
    assert max(orders) - began < (ORDERS - 5) / 5  # which the limit of the others would have taken
    paced = {name for name in depths if name.startswith(run.names.permits_prefix)}
    assert {name.rpartition(":")[2] for name in paced} == {"default"}
