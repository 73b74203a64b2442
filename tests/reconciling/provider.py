"""A provider of webhooks that never gives up, as those with retries do."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from forebay.signatures.presets import preset
from forebay.signatures.sign import sign
from tests.support.apiserver import Api
from tests.support.node import LocalNode


class Provider:
    """Sends until it is told yes, as a provider with retries does; remembers what was accepted."""

    def __init__(self, place: Api, node: LocalNode, client: aiohttp.ClientSession) -> None:
        self._path, self._node, self._client = f"/{place.namespace}/github", node, client
        self.accepted: list[str] = []
        self.refused: set[str] = set()  # what was answered instead of yes; not that nobody was there

    async def send(self, event: str) -> None:
        body = f"{event} {len(self.accepted)}"
        signed = sign(
            preset("GitHub").scheme, b"s3cret", body.encode(), now=time.time(), delivery_id=body.replace(" ", "-")
        )
        while True:
            answer = await self._post(body, {**dict(signed), "X-GitHub-Event": event})
            if answer == "accepted":
                self.accepted.append(body)
                return
            if answer:
                self.refused.add(answer)
            await asyncio.sleep(0.1)

    async def _post(self, body: str, headers: dict[str, str]) -> str:
        for endpoint in self._node.of("ingest"):
            if not endpoint.ready:
                continue  # a Service would not send it there
            try:
                async with self._client.post(
                    f"http://{endpoint.address}{self._path}", data=body, headers=headers
                ) as answer:
                    return "accepted" if answer.status == 202 else await answer.text()
            except (aiohttp.ClientError, TimeoutError):
                continue  # it ended at this moment, or is too slow
        return ""

    async def keep_sending(self, *events: str) -> None:
        while True:
            for event in events:
                await self.send(event)
            await asyncio.sleep(0.05)


@asynccontextmanager
async def sending(place: Api, node: LocalNode, *events: str) -> AsyncIterator[Provider]:
    """A provider that sends, each event in turn, until the block ends."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as client:
        provider = Provider(place, node, client)
        task = asyncio.create_task(provider.keep_sending(*events))
        try:
            yield provider
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
