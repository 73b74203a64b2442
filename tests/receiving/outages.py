"""An endpoint with an outage buffer whose broker goes and comes back, and what its provider sends meanwhile."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from forebay.amqp.publisher import Outcome
from forebay.envelope import Envelope, decode
from tests.receiving.endpoint import Endpoint, request
from tests.receiving.wire import Reply

Opener = Callable[..., Any]


def away(it: Endpoint) -> None:
    """The connection to the broker goes, and with it all that was under way."""
    it.broker.link.channel = None
    it.broker.on_down("gone")


def back(it: Endpoint, outcome: Outcome | None = Outcome.CONFIRMED) -> None:
    it.broker.outcome = outcome
    it.broker.link.blocked = False
    it.broker.link.channel = object()
    it.broker._writer = it.broker


def envelopes(it: Endpoint) -> list[Envelope]:
    """What the broker was given, in order."""
    told = [(one.properties, one.body) for one in it.broker.published]
    return [decode(one.message_id, one.content_type, one.headers, body) for one, body in told]


def bodies(it: Endpoint) -> list[int]:
    return [json.loads(one.body)["n"] for one in envelopes(it)]


def webhook(number: int, *headers: str) -> bytes:
    return request(b'{"n": %d}' % number, *headers)


async def answers(it: Endpoint, *requests: bytes) -> list[Reply]:
    async with it.client() as client:
        await client.send(b"".join(requests))
        return await client.answers(len(requests))


def cause(reply: Reply) -> str:
    """Why it was refused, as its problem document names it."""
    return str(json.loads(reply.body)["type"].rpartition("/")[2])


async def accepted(it: Endpoint, *numbers: int) -> None:
    replies = await answers(it, *map(webhook, numbers))
    assert [reply.status for reply in replies] == [202] * len(numbers)


@asynccontextmanager
async def outage(opened: Any) -> AsyncIterator[Endpoint]:
    """What was opened, after its broker has taken webhook 0 and gone."""
    async with opened as it:
        await accepted(it, 0)
        away(it)
        yield it
