"""What the broker still holds at the end of a run: messages in queues, and the dead letters, which go into the ledger."""

import contextlib
import re
from typing import Any
from urllib.parse import quote

from bench.faults import webhooks
from bench.faults.ledger import Ledger
from forebay.errors import Unavailable
from forebay.management import Management

_BATCH = 500


async def left(management: Management, vhost: str, dead: str, prefixes: tuple[str, ...] = ("",)) -> dict[str, int]:
    """Webhooks in the queues with such names, but for the dead letters. Raises Unavailable.

    A source's permits, and its memory of what it has seen, are no webhooks.
    """
    source = dead.rpartition(".")[0]
    others = (dead, f"{source}.permits.", f"{source}.stream.")
    found = [one for one in await management.queues(vhost) if one.name.startswith(prefixes)]
    return {one.name: one.messages for one in found if one.messages and not one.name.startswith(others)}


async def waiting(management: Management, vhost: str, dead: str, prefixes: tuple[str, ...] = ("",)) -> int:
    """How many they are; one that can not be counted now is not empty."""
    with contextlib.suppress(Unavailable):
        return sum((await left(management, vhost, dead, prefixes)).values())
    return 1


async def enter_dead_letters(management: Management, vhost: str, queue: str, ledger: Ledger) -> None:
    """Take all that is in the queue out of it, and into the ledger."""
    path = f"queues/{quote(vhost, safe='')}/{quote(queue, safe='')}/get"
    want = {"count": _BATCH, "ackmode": "ack_requeue_false", "encoding": "auto"}
    while found := await management.post(path, want):
        for letter in found:
            _enter(letter, ledger)


def _enter(letter: dict[str, Any], ledger: Ledger) -> None:
    properties = letter["properties"]
    headers = properties.get("headers", {})
    number = _number(letter["payload"].encode(), headers, ledger.run)
    if number is None:
        ledger.foreign += 1
    else:
        ledger.bury(number, headers.get("forebay-reason", "by the broker"), properties.get("message_id", ""))


def _number(body: bytes, headers: dict[str, Any], run: str) -> int | None:
    """Of a large webhook the body is elsewhere."""
    if "forebay-claim-key" not in headers:
        return webhooks.number_of(run, body)
    named = re.fullmatch(rf"{run}-([0-9]+)", str(headers.get("forebay-delivery-id")))
    return int(named[1]) if named else None
