"""For the tests of people who write handlers: make a webhook, call the handler as a worker does, see the outcome.

    from forebay_worker.testing import Delivered, RetryAsked, call, webhook

    def test_an_order_is_stored() -> None:
        assert call(handle, webhook(json={"order": 7}, event_type="order.created")) == Delivered()

The handler is called exactly as in production (in a thread if it is not async, with a timeout); no broker is needed.
"""

import asyncio
import json as json_module
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from forebay_worker.api import Headers, Webhook
from forebay_worker.handler import Function, ended, is_async
from forebay_worker.outcome import Buried, Delivered, Dropped, Failed, Outcome, RetryAsked
from forebay_worker.threads import Threads

__all__ = ["Buried", "Delivered", "Dropped", "Failed", "Outcome", "RetryAsked", "acall", "call", "webhook"]

_RECEIVED = datetime(2026, 1, 1, 12, tzinfo=UTC)


def webhook(
    body: bytes = b"",
    *,
    json: Any = None,
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    **fields: Any,
) -> Webhook:
    """A webhook with this body, or with `json` as its body. `fields` are those of Webhook (id, attempt, event_type …)."""
    items = list(headers.items() if isinstance(headers, Mapping) else headers)
    if json is not None:
        body = json_module.dumps(json).encode()
        fields.setdefault("content_type", "application/json")
    content_type = fields.get("content_type")
    if content_type and not any(name.lower() == "content-type" for name, _ in items):
        items.append(("Content-Type", content_type))
    known = {"id": "01990000-0000-7000-8000-000000000000", "received_at": _RECEIVED, "source": "default/test"}
    return Webhook(body=body, headers=Headers(items), **{**known, **fields})


def call(handler: Function, hook: Webhook, *, timeout_s: float = 30.0) -> Outcome:
    """Call a handler, async or not, and say how it ended. For tests that are not async themselves."""
    return asyncio.run(acall(handler, hook, timeout_s=timeout_s))


async def acall(handler: Function, hook: Webhook, *, timeout_s: float = 30.0) -> Outcome:
    """Call a handler, async or not, and say how it ended. For async tests."""
    if is_async(handler):
        return await ended(handler, hook, timeout_s)
    threads = Threads(1)
    await threads.reserve()
    return await ended(lambda given: threads.run(lambda: handler(given)), hook, timeout_s)
