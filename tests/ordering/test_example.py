"""The examples of order and fairness, run as `forebay dev` runs them; and lanes that become fewer while webhooks wait in them."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from forebay import manifest
from forebay.process import split_address
from forebay.source import WebhookSource
from forebay_cli.life.said import said
from forebay_cli.local.run import LocalRun
from tests.support.brokers import VirtualHost
from tests.support.destination import Destination, destination, says
from tests.support.waiting import eventually, so

EXAMPLES = Path(__file__).parents[2] / "examples"
SHOPS, EACH = 10, 4
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def example(name: str, port: int, **ordering: Any) -> WebhookSource:
    """The example's source, unsigned and with another destination."""
    source = yaml.safe_load((EXAMPLES / name / "source.yaml").read_text("utf-8"))
    source["spec"]["ingest"]["verification"] = {"provider": "None"}
    source["spec"]["worker"]["destination"]["url"] = f"http://127.0.0.1:{port}/"
    source["spec"]["worker"].get("ordering", {}).update(ordering)
    return manifest.parse(yaml.safe_dump(source)).sources[0]


def running(source: WebhookSource, host: VirtualHost, **how: Any) -> LocalRun:
    return LocalRun(source, {}, broker=host.server, vhost=host.name, **how)


async def send(run: LocalRun) -> None:
    """Some webhooks of each shop in turn, one after another."""
    reader, writer = await asyncio.open_connection(*split_address(run.ingests[0].launch.env["FOREBAY_LISTEN"]))
    for number in range(EACH):
        for shop in range(SHOPS):
            body = json.dumps([shop, number]).encode()
            head = f"Host: a\r\nX-Shopify-Shop-Domain: shop-{shop}\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(f"POST {run.source.path} HTTP/1.1\r\n{head}".encode() + body)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202")
    writer.close()


async def all_delivered(seen: Destination) -> None:
    await eventually(so(lambda: len(seen.requests) >= SHOPS * EACH))


def by_shop(seen: Destination) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {shop: [] for shop in range(SHOPS)}
    for shop, number in (json.loads(request.body) for request in seen.requests):
        found[shop].append(number)
    return found


async def test_each_shop_s_webhooks_come_in_order(newest_broker: VirtualHost) -> None:
    async with destination(says(OK)) as seen, running(example("ordered", seen.port), newest_broker) as run:
        await send(run)
        await all_delivered(seen)
    assert by_shop(seen) == {shop: list(range(EACH)) for shop in range(SHOPS)}


async def test_one_that_waits_for_another_of_its_shop_says_for_which(newest_broker: VirtualHost) -> None:
    busy = says(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    async with destination(busy) as seen, running(example("ordered", seen.port), newest_broker) as run:
        first, second = [await accepted(run) for _ in range(2)]

        def story() -> list[tuple[str, Any]]:
            lines = [line for log in (run.folder / "logs").glob("*.log") for line in log.read_text().splitlines()]
            return [(one.event, one.fields["behind"]) for one in said(lines, second, round(time.time() * 1000))]

        await eventually(so(lambda: story() == [("order.waits", first)]))


async def accepted(run: LocalRun) -> str:
    """Send a webhook of one shop; its id."""
    shop = {"X-Shopify-Shop-Domain": "shop-1"}
    async with aiohttp.ClientSession() as client, client.post(run.url, headers=shop, data=b"{}") as answer:
        assert answer.status == 202
        return answer.headers["X-Forebay-Id"]


async def test_with_fewer_lanes_or_none_nothing_that_waits_is_left_behind(newest_broker: VirtualHost) -> None:
    async with destination(says(OK)) as seen:
        async with running(example("ordered", seen.port), newest_broker, workers=0) as run:
            await send(run)
        assert seen.requests == []
        async with running(example("ordered", seen.port, lanes=1), newest_broker):
            await all_delivered(seen)
    assert by_shop(seen) == {shop: list(range(EACH)) for shop in range(SHOPS)}


async def test_a_fair_source_delivers_what_is_put_aside_too(newest_broker: VirtualHost) -> None:
    async with destination(says(OK)) as seen, running(example("fair", seen.port), newest_broker) as run:
        await send(run)
        await all_delivered(seen)
        assert f"{run.names.queue()}:busy" in await run.depths()
