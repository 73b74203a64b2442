"""What a handler is given, and the helper for tests of handlers."""

import asyncio
from datetime import UTC, datetime

import pytest

from forebay_worker import Drop, Headers, Retry, Webhook
from forebay_worker.testing import Delivered, Dropped, Failed, RetryAsked, acall, call, webhook
from tests.support.envelopes import envelope


def test_headers_are_found_in_any_case_the_first_of_several() -> None:
    headers = Headers([("X-A", "1"), ("x-a", "2"), ("X-B", "3")])
    assert headers["x-A"] == "1"
    assert headers.get_all("X-A") == ["1", "2"]
    assert headers.get("missing") is None
    assert "X-b" in headers
    assert object() not in headers
    assert dict(headers) == {"X-A": "1", "X-B": "3"}
    assert headers.multi_items() == [("X-A", "1"), ("x-a", "2"), ("X-B", "3")]
    with pytest.raises(KeyError):
        headers["missing"]


def test_a_webhook_is_what_the_envelope_holds() -> None:
    found = Webhook.of(envelope(attempts_made=2, delivery_id="d-1", replayed_from="gone at …", traceparent="00-…"))
    assert found.body == envelope().body
    assert found.text() == '{"zen": "Keep it logically awesome."}'
    assert (found.attempt, found.delivery_id, found.source, found.queue) == (3, "d-1", "payments/github", "default")
    assert (found.method, found.target) == ("POST", "/github?x=1")
    assert found.received_at == datetime(2026, 9, 21, 14, 13, 20, 123000, UTC)
    assert (found.replayed_from, found.traceparent) == ("gone at …", "00-…")


def test_a_time_that_no_calendar_has_does_not_stop_a_delivery() -> None:
    assert Webhook.of(envelope(received_at=2**53)).received_at.year == 1970


def test_a_body_that_is_no_json_says_so() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        webhook(b"no json").json()


def test_the_helper_makes_webhooks() -> None:
    one = webhook(json={"order": 7}, headers={"X-Shop": "a"}, event_type="order.created", attempt=3)
    assert one.json() == {"order": 7}
    assert one.headers["content-type"] == "application/json"
    assert (one.headers["x-shop"], one.event_type, one.attempt) == ("a", "order.created", 3)


def test_the_helper_calls_a_handler_as_a_worker_does() -> None:
    async def handle(given: Webhook) -> None:
        if given.attempt > 2:
            raise Drop("too often")
        if given.event_type == "later":
            raise Retry(after=10)

    assert call(handle, webhook()) == Delivered()
    assert call(handle, webhook(event_type="later")) == RetryAsked(10, "the handler asked for a retry")
    assert call(handle, webhook(attempt=3)) == Dropped("too often")


def test_the_helper_has_the_timeout_of_a_worker() -> None:
    async def slow(given: Webhook) -> None:
        await asyncio.Event().wait()

    assert call(slow, webhook(), timeout_s=0.01) == Failed("the handler did not end within 0.01 s")


async def test_the_helper_serves_async_tests_too() -> None:
    seen: list[bytes] = []

    def handle(given: Webhook) -> None:
        seen.append(given.body)

    assert await acall(handle, webhook(b"x")) == Delivered()
    assert seen == [b"x"]
