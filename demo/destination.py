"""The demo's destination: a real HTTP server with moods, which writes down every webhook that it has taken."""

import asyncio
import enum
import json
from collections import Counter
from typing import Self

from aiohttp import web


class Mood(enum.Enum):
    """How it answers what is not poison."""

    SLOW = "slow"
    FAILING = "failing"
    WELL = "well"


class Destination:
    """Listens on a free port of 127.0.0.1 while entered."""

    def __init__(self) -> None:
        self.mood = Mood.SLOW
        self.repaired = False  # once it is, it takes poison too
        self.delivered: Counter[str] = Counter()  # how often each delivery id was taken
        self.replayed: set[str] = set()  # delivery ids that came marked as a replay
        self.attempts = 0
        self.answers: Counter[int] = Counter()
        self.url = ""
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/webhooks"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        self.attempts += 1
        status = await self._status(json.loads(body))
        self.answers[status] += 1
        if status == web.HTTPOk.status_code:
            delivery = request.headers["X-GitHub-Delivery"]
            self.delivered[delivery] += 1
            if "X-Forebay-Replayed-From" in request.headers:
                self.replayed.add(delivery)
        return web.Response(
            status=status, text="" if status == web.HTTPOk.status_code else f"the demo answers {status}"
        )

    async def _status(self, webhook: dict[str, str]) -> int:
        poison = webhook.get("poison")
        if poison is not None and not self.repaired:
            return int(poison)
        if self.mood is Mood.SLOW:
            await asyncio.sleep(0.05)
        return 503 if self.mood is Mood.FAILING else 200
