"""The demo's provider: signs and sends webhooks as GitHub would, comes back after a 503, and writes down every answer."""

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import aiohttp

from forebay.signatures.presets import preset
from forebay.signatures.sign import sign

SCHEME = preset("GitHub").scheme
CONNECTIONS = 100
RETRY_S = 0.25  # impatient: a real provider waits longer, the demo's audience does not
ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook, before it is signed."""

    id: str
    body: bytes
    event: str = "push"


@dataclass(slots=True)
class Ledger:
    """What was answered."""

    accepted: dict[str, str] = field(default_factory=dict)  # the provider's delivery id -> Forebay's id
    refused: Counter[int] = field(default_factory=Counter)  # by status
    unanswered: int = 0  # the connection was lost
    accept_ms: list[float] = field(default_factory=list)  # of those that were accepted


class Provider:
    """Sends to one URL over a pool of connections."""

    def __init__(self, url: str, secret: bytes) -> None:
        self.ledger = Ledger()
        self.sent = 0  # requests, repetitions included
        self._url = url
        self._secret = secret
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def burst(self, webhooks: Iterable[Webhook]) -> None:
        """Send all of them as fast as the connections allow, each until it is accepted."""
        waiting = iter(webhooks)

        async def connection() -> None:
            for webhook in waiting:
                while await self.send(webhook) != ACCEPTED:
                    await asyncio.sleep(RETRY_S)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(connection())

    async def send(self, webhook: Webhook, *, secret: bytes | None = None) -> int | None:
        """Send once. Returns the status, None if there was no answer."""
        assert self._session is not None
        headers = {"X-GitHub-Event": webhook.event, "Content-Type": "application/json"}
        signed = sign(SCHEME, secret or self._secret, webhook.body, now=time.time(), delivery_id=webhook.id)
        self.sent += 1
        began = time.perf_counter()
        try:
            async with self._session.post(self._url, data=webhook.body, headers={**headers, **dict(signed)}) as answer:
                status, event_id = answer.status, answer.headers.get("X-Forebay-Id", "")
        except (aiohttp.ClientError, TimeoutError):
            self.ledger.unanswered += 1
            return None
        if status == ACCEPTED:
            self.ledger.accepted[webhook.id] = event_id
            self.ledger.accept_ms.append((time.perf_counter() - began) * 1000)
        else:
            self.ledger.refused[status] += 1
        return status


def push(number: int) -> Webhook:
    """A harmless webhook; every tenth is a release, which has a queue of its own."""
    body = {"ref": "refs/heads/main", "number": number, "repository": {"full_name": "forebay/demo"}}
    return Webhook(str(uuid.uuid4()), json.dumps(body).encode(), "release" if number % 10 == 0 else "push")


def poison(status: int) -> Webhook:
    """A webhook that the destination answers with this status until it is repaired."""
    return Webhook(str(uuid.uuid4()), json.dumps({"poison": str(status)}).encode())


def oversized(limit: int) -> Webhook:
    """A webhook one byte larger than the limit."""
    return Webhook(str(uuid.uuid4()), b" " * (limit + 1))
