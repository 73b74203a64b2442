"""Provider and destination in one pod: sends webhooks, takes what is delivered, and gives the account of both.

    python -m tests.cluster.witness      in the image of the worker, with what it needs of bench/faults beside it

Port 9000 is the destination's; port 9001 does what it is told, by POST with JSON: the methods of `Witness`;
GET `ledger` tells where it is. Who knows its Service can do the same: it is for clusters of tests.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import ssl
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import quote

from aiohttp import BasicAuth, ClientSession, web
from pika import BlockingConnection, URLParameters
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError
from yarl import URL

from bench.faults import webhooks
from bench.faults.account import account
from bench.faults.dead_letters import enter_dead_letters, left, waiting
from bench.faults.destination import Destination
from bench.faults.ledger import Answer, Ledger, Window
from bench.faults.sender import TIMEOUT_S, Load
from forebay.management import Management
from forebay.process import split_address
from forebay.topology import DELAY_EXCHANGE

DESTINATION_PORT, CONTROL_PORT = 9000, 9001
_QUIET_S = 2.5
_COUNT_S = 1.5  # the broker counts its messages once a second
_LEADS_S, _TRY_S = 10.0, 0.5


class Witness:
    """One ledger, and whoever writes in it."""

    def __init__(self) -> None:
        self.ledger = Ledger(secrets.token_hex(4))
        self.destination = Destination(self.ledger, DESTINATION_PORT, Random(1), host="0.0.0.0")
        self._load: Load | None = None
        self._sending: asyncio.Task[None] | None = None

    async def load(self, told: dict[str, Any]) -> dict[str, Any]:
        """Send `rate` webhooks a second to `path` at `address` (HOST:PORT) over so many `connections`, until `stop`.

        With `host` and `trust`, the certificates of authorities, it is HTTPS, for this host. With `large` some bodies do not
        fit into a queue. What a story that failed has left running ends first.
        """
        await self.stop({})
        name, port = split_address(told["address"])
        endpoint = (socket.gethostbyname(name), port)
        await _leads_somewhere(*endpoint)
        trust = ssl.create_default_context(cadata=told["trust"]) if told.get("trust") else None
        self._load = Load(
            self.ledger, lambda: [endpoint], path=told["path"], rate=told["rate"], connections=told["connections"],
            connect_s=TIMEOUT_S, habits=webhooks.Habits(large=told.get("large", False)),
            host=told.get("host") or webhooks.HOST, trust=trust,
        )  # fmt: skip
        self._sending = asyncio.create_task(self._load.run())
        return await self.told({})

    async def first(self, told: dict[str, Any]) -> dict[str, Any]:
        """The same, until one is acknowledged, or for `within_s`; whether one was, and where it is then."""
        before = self.ledger.answers[Answer.ACKED]
        await self.load(told)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(told["within_s"]):
                while self.ledger.answers[Answer.ACKED] == before:
                    await asyncio.sleep(0.01)
        return {"accepted": self.ledger.answers[Answer.ACKED] > before, **await self.stop(told)}

    async def stop(self, told: dict[str, Any]) -> dict[str, Any]:
        """Send no more; returns when each webhook that was sent has its answer."""
        if self._load and self._sending:
            self._load.stop()
            await self._sending
        return await self.told(told)

    async def mood(self, told: dict[str, Any]) -> dict[str, Any]:
        """Be this sort of destination from now on."""
        self.destination.mood = told["mood"]
        return {}

    async def phase(self, told: dict[str, Any]) -> dict[str, Any]:
        """Name what is done to the system from now on."""
        self.ledger.phase = told["phase"]
        return {}

    async def sign(self, told: dict[str, Any]) -> dict[str, Any]:
        """Sign with this `secret` from now on."""
        webhooks.SECRET = told["secret"].encode()
        return {}

    async def impossible(self, told: dict[str, Any]) -> dict[str, Any]:
        """For so many seconds from now nothing can be stored: a 2xx for what is sent and answered in them is false."""
        now = asyncio.get_running_loop().time()
        self.ledger.windows.append(Window(cause=told["cause"], begin=now, end=now + told["seconds"]))
        return {}

    async def trespass(self, told: dict[str, Any]) -> dict[str, Any]:
        """By the login in `uri`, publish to `exchange` and take from `queue`: what the broker says to each; by that in `management`, too."""
        said = await asyncio.to_thread(_trespass, told["uri"], told["exchange"], told["queue"])
        if told.get("management"):
            said["take by HTTP"] = await _taken_by_http(told["management"], told["queue"])
        return said

    async def told(self, _: dict[str, Any]) -> dict[str, Any]:
        """Where it is."""
        answers = {answer.name: count for answer, count in self.ledger.answers.items()}
        return {
            "sent": len(self.ledger), **dict.fromkeys((a.name for a in Answer), 0), **answers,
            "taken": self.ledger.taken, "phase": self.ledger.phase, "causes": sorted(self.ledger.said),
        }  # fmt: skip

    async def drain(self, told: dict[str, Any]) -> dict[str, Any]:
        """Wait until the queues of the virtual host are empty, enter the `dead` letters and what is `retained`, give the account."""
        vhost, dead = told["vhost"], told["dead"]
        self.destination.mood = "ok"
        async with Management(told["management"], told["username"], told["password"]) as management:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(told["within_s"]):
                    await self._until_quiet(management, vhost, dead)
            names = {queue.name for queue in await management.queues(vhost)}
            for queue in names.intersection([dead, *told["retained"]]):
                await enter_dead_letters(management, vhost, queue, self.ledger)
            await asyncio.sleep(_COUNT_S)
            there = await left(management, vhost, dead, _prefixes(dead))
        return {**account(self.ledger), "left_in_queues": sum(there.values()), "left_by_queue": there}

    async def copies(self, told: dict[str, Any]) -> dict[str, Any]:
        """Of each quorum queue, on how many nodes there is a copy that keeps up."""
        async with Management(told["management"], told["username"], told["password"]) as management:
            found = await management.get(f"queues/{quote(told['vhost'], safe='')}?columns=name,type,online")
        return {queue["name"]: len(queue.get("online", ())) for queue in found if queue["type"] == "quorum"}

    async def _until_quiet(self, management: Management, vhost: str, dead: str) -> None:
        clock = asyncio.get_running_loop().time
        since = clock()
        while clock() - max(since, self.ledger.latest_delivery) < _QUIET_S:
            if await waiting(management, vhost, dead, _prefixes(dead)):
                since = clock()
            await asyncio.sleep(0.3)


async def _leads_somewhere(host: str, port: int) -> None:
    """Wait until somebody answers there, or long enough: a Service leads to pods up to a second after they are ready.

    Until then a connection may hang for good, since all its packets go where the first one went.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LEADS_S):
            while not await _answers(host, port):
                await asyncio.sleep(0.1)


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_TRY_S):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # a timeout is one
        return False
    writer.close()
    return True


def _prefixes(dead: str) -> tuple[str, ...]:
    """Of the source's own queues, and of the delay tiers, which it may share."""
    return f"{dead.rpartition('.')[0]}.", f"{DELAY_EXCHANGE}."


def _trespass(uri: str, exchange: str, queue: str) -> dict[str, Any]:
    tries: dict[str, Callable[[BlockingChannel], object]] = {
        "publish": lambda channel: channel.basic_publish(exchange, queue, b"from a stranger", mandatory=True),
        "publish by the default exchange": lambda channel: channel.basic_publish("", queue, b"from a stranger"),
        "take": lambda channel: channel.basic_get(queue),
        "purge": lambda channel: channel.queue_purge(queue),
        "delete": lambda channel: channel.queue_delete(queue),
        "bind": lambda channel: channel.queue_bind(queue, exchange, "anything"),
    }
    return {name: _said(uri, act) for name, act in tries.items()}


async def _taken_by_http(management: str, queue: str) -> str:
    """What the management API said: nothing, if it handed out a message or said that there is none."""
    login = URL(management)
    url = login.with_user(None).with_path(f"/api/queues/%2F/{quote(queue, safe='')}/get", encoded=True)
    want = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
    auth = BasicAuth(login.user or "", login.password or "")
    async with ClientSession() as http, http.post(url, json=want, auth=auth) as answer:
        return "" if answer.ok else f"{answer.status}: {await answer.text()}"


def _said(uri: str, act: Callable[[BlockingChannel], object]) -> str:
    """What the broker said: nothing, if it let it be done."""
    try:
        connection = BlockingConnection(URLParameters(uri))
    except AMQPError as error:  # not even let in
        return f"{type(error).__name__}: {error}"
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        act(channel)
    except AMQPError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        with contextlib.suppress(AMQPError):
            connection.close()
    return ""


_ACTS = ("load", "first", "stop", "mood", "phase", "sign", "impossible", "trespass", "drain", "copies")


async def main() -> None:
    witness = Witness()
    await witness.destination.open()
    app = web.Application()

    async def act(request: web.Request) -> web.Response:
        name = request.match_info["act"]
        if name not in _ACTS:
            raise web.HTTPNotFound
        return web.json_response(await getattr(witness, name)(await request.json()))

    async def told(_: web.Request) -> web.Response:
        return web.json_response(await witness.told({}))

    app.add_routes([web.post("/{act}", act), web.get("/ledger", told)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, port=CONTROL_PORT).start()
    print(f"witness {witness.ledger.run} of {os.uname().nodename}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
