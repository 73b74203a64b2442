"""Limits of a source and of its queues, as the operator makes them on the broker: filled, used by the workers, taken away."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.reconciling.provider import sending
from tests.reconciling.sources import source
from tests.support.apiserver import Api, OperatorProcess
from tests.support.brokers import VirtualHost
from tests.support.destination import Destination, destination, says
from tests.support.node import LocalNode
from tests.support.waiting import eventually, so

pytestmark = pytest.mark.timeout(240)

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def wanted(target: Destination, queue: dict[str, Any], **worker: Any) -> dict[str, Any]:
    return source(
        spec__queues=[{"name": "orders", "match": {"eventTypes": ["orders"]}, **queue}],
        spec__worker={"destination": {"url": f"http://127.0.0.1:{target.port}/hook"}, **worker},
    )


async def slots(broker: VirtualHost, place: Api) -> dict[str, int]:
    """How many slots each queue of slots has, those that are held too."""
    queues = await broker.management.get(f"queues/{quote(broker.name, safe='')}?columns=name,messages")
    prefix = f"forebay.{place.namespace}.github.permits.slots-"
    return {
        one["name"].removeprefix(prefix): one.get("messages", 0) for one in queues if one["name"].startswith(prefix)
    }


async def test_each_limit_is_filled_for_whom_it_bounds_and_goes_when_it_is_wanted_no_more(
    place: Api, running: OperatorProcess, node: LocalNode, newest_broker: VirtualHost
) -> None:
    def have(expected: dict[str, int]) -> Any:
        async def as_expected() -> bool:
            return await slots(newest_broker, place) == expected

        return as_expected

    async with destination(says(OK)) as target:
        limited = {"maxInFlight": 3, "rateLimit": {"requests": 500}}
        await place.apply(wanted(target, limited, maxInFlight=5))
        await place.until("github", "Ready", "True", within_s=60)
        await eventually(have({"5": 5, "3:orders": 3}), within_s=30)
        async with sending(place, node, "orders", "others") as provider:
            await eventually(so(lambda: len(provider.accepted) >= 20), within_s=30)
        sent = {body.encode() for body in provider.accepted}
        await eventually(so(lambda: sent <= {request.body for request in target.requests}), within_s=30)
        await place.apply(wanted(target, {"maxInFlight": 4}))
        await eventually(have({"4:orders": 4}), within_s=60)
