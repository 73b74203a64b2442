"""What the broker still holds at the end of a run: messages in queues, and the dead letters, which go into the ledger."""

import contextlib
from typing import Any
from urllib.parse import quote

from bench.faults import webhooks
from bench.faults.ledger import Ledger
from forebay.errors import Unavailable
from forebay.management import Management

_BATCH = 500


async def waiting(management: Management, vhost: str, dead: str, prefixes: tuple[str, ...] = ("",)) -> int:
    """Messages in all queues with such a name but that of the dead letters; one that can not be counted now is not empty."""
    with contextlib.suppress(Unavailable):
        found = [one for one in await management.queues(vhost) if one.name.startswith(prefixes) and one.name != dead]
        return sum(queue.messages for queue in found)
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
    reason = properties.get("headers", {}).get("forebay-reason", "by the broker")
    number = webhooks.number_of(ledger.run, letter["payload"].encode())
    if number is None:
        ledger.foreign += 1
    else:
        ledger.bury(number, reason, properties.get("message_id", ""))
