"""Envelopes for tests: one that is complete, changed where a test says so."""

from typing import Any

from forebay.envelope import Envelope


def envelope(**changes: Any) -> Envelope:
    """A webhook of the source payments/github."""
    fields: dict[str, Any] = {
        "id": "01990000-0000-7000-8000-000000000001",
        "source": "payments/github",
        "queue": "default",
        "method": "POST",
        "target": "/github?x=1",
        "received_at": 1_790_000_000_123,
        "client": "192.0.2.7",
        "header_block": b"Host: hooks.example\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\n",
        "body": b'{"zen": "Keep it logically awesome."}',
        "content_type": "application/json",
        "event_type": "push",
    }
    return Envelope(**{**fields, **changes})
