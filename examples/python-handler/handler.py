"""What becomes of one webhook. Returning acknowledges it; any exception has it tried again, as the source's retry says."""

import logging

from forebay_worker import DeadLetter, Drop, Retry, Webhook

log = logging.getLogger(__name__)


async def handle(webhook: Webhook) -> None:
    if webhook.event_type == "ping":
        raise Drop("a ping is only a test of the connection")
    payload = webhook.json()
    if "repository" not in payload:
        raise DeadLetter("there is no repository in it, and no retry will put one there")
    if payload.get("busy"):
        raise Retry("what it is about is not ready yet", after=30)
    # It may come twice: webhook.id is the same each time, so remember which ones were done.
    log.info("%s of %s, attempt %s", webhook.event_type, payload["repository"], webhook.attempt)
