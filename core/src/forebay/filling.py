"""Fills a source's queue of slots, once: exactly as many as there are to be, whatever is interrupted.

The binding comes last and says that it is done; without it the queue is emptied and filled anew. Workers get their logins only
then, so nobody holds a slot while it is filled.
"""

import asyncio
from urllib.parse import quote

from forebay.management import Management
from forebay.topology import BrokerObject

# Seconds. A classic queue writes what is published to disk within a fraction of that.
_WRITTEN_S = 1.0
_AT_ONCE = 100


async def fill(management: Management, vhost: str, queue: BrokerObject, count: int) -> None:
    """Have exactly so many slots in a queue that nobody uses yet. Raises Unavailable or Rejected."""
    host = quote(vhost, safe="")
    await management.delete(f"{queue.path}/contents")
    slot: dict[str, object] = {
        "properties": {"delivery_mode": 2},
        "routing_key": queue.name,
        "payload": "",
        "payload_encoding": "string",
    }
    for done in range(0, count, _AT_ONCE):
        some = range(done, min(done + _AT_ONCE, count))
        await asyncio.gather(*(management.post(f"exchanges/{host}/amq.default/publish", slot) for _ in some))
    await asyncio.sleep(_WRITTEN_S)
