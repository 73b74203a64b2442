"""The secret that Asana and Notion send is handed over once, while none is there, and by no other way than the broker."""

import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from forebay.amqp.publisher import Outcome
from forebay.captured import LONGEST, Captured, message_of, read
from forebay.settings import Handshake, Verification
from tests.receiving.endpoint import SECRET, Endpoint, request
from tests.receiving.wire import Reply, finals
from tests.support.waiting import eventually, so

FIRST, SECOND = "secrets/gh/secret", "secrets/gh/second"
SENT = "b537207f20cbfa02357cf448134da559"
NOTIONS = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"
ASANA = request(b"", f"X-Hook-Secret: {SENT}", secret=None)
NOTION = request(json.dumps({"verification_token": NOTIONS}).encode(), secret=None)


def captures(provider: str = "Asana", *files: str) -> dict[str, Any]:
    return {
        "verification": Verification(provider=provider, secret_files=files or (FIRST,)),
        "handshake": Handshake(captures_secret=True),
        "secret": b"",
    }


async def say(it: Endpoint, data: bytes) -> Reply:
    (reply,) = finals(await it.say(data))
    return reply


def signed(secret: str, body: bytes = b"{}") -> bytes:
    return request(body, f"X-Hook-Signature: {hmac.digest(secret.encode(), body, 'sha256').hex()}", secret=None)


@pytest.mark.parametrize(("provider", "data", "secret"), [("Asana", ASANA, SENT), ("Notion", NOTION, NOTIONS)])
async def test_what_the_provider_sends_goes_where_the_endpoint_can_not_read_and_is_answered_then(
    endpoint: Callable[..., Any], provider: str, data: bytes, secret: str
) -> None:
    async with endpoint(**captures(provider)) as it:
        reply = await say(it, data)
        assert reply.status == 200
        assert reply.headers.get("x-hook-secret") == (SENT if provider == "Asana" else None)
        (sent,) = it.broker.published
        assert (sent.exchange, sent.routing_key) == (
            "forebay.payments.github",
            "forebay.payments.github.handshake.secret",
        )
        assert sent.mandatory
        found = read(sent.properties.headers, sent.body)
        assert found is not None
        assert (found.secret.decode(), found.client) == (secret, "127.0.0.1")
        told = [json.loads(line) for line in it.log.getvalue().splitlines()]
        assert [line["event"] for line in told] == ["secret.captured", "handshake.answered"]
        assert secret not in it.log.getvalue()


async def test_once_it_is_there_webhooks_verify_and_nobody_replaces_it(endpoint: Callable[..., Any]) -> None:
    async with endpoint(**captures()) as it:
        assert (await say(it, signed(SENT))).status == 401
        assert it.metric("forebay_ingest_signature_refused_total", reason="no-secret") == 1
        it.rotate(SENT.encode())
        await eventually(so(lambda: "secrets.reloaded" in it.log.getvalue()), every_s=0.005)
        assert (await say(it, signed(SENT))).status == 202
        reply = await say(it, request(b"", "X-Hook-Secret: a-stranger-would-like-this", secret=None))
        assert reply.status == 401
        assert "x-hook-secret" not in reply.headers
        assert len(it.broker.published) == 1


async def test_a_secret_is_captured_beside_one_that_is_there(endpoint: Callable[..., Any]) -> None:
    async with endpoint(**captures("Asana", FIRST, SECOND) | {"secret": SECRET}) as it:
        assert (await say(it, signed(SECRET.decode()))).status == 202
        assert (await say(it, ASANA)).status == 200
        (it.root / SECOND).write_text(SENT)
        await eventually(so(lambda: "secrets.reloaded" in it.log.getvalue()), every_s=0.005)
        assert (await say(it, signed(SENT))).status == 202
        assert (await say(it, signed(SECRET.decode()))).status == 202
        assert (await say(it, ASANA)).status == 401


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(Outcome.UNROUTABLE, 409), (Outcome.REFUSED, 409), (Outcome.TIMEOUT, 503), (Outcome.DISCONNECTED, 503)],
)
async def test_what_is_not_safe_is_not_given_back(endpoint: Callable[..., Any], outcome: Outcome, status: int) -> None:
    async with endpoint(**captures()) as it:
        it.broker.outcome = outcome
        reply = await say(it, ASANA)
        assert reply.status == status
        assert "x-hook-secret" not in reply.headers
        assert SENT.encode() not in reply.body


@pytest.mark.parametrize("value", ["short", "x" * 513, "a secret with spaces in it", "<script>alert(1)</script>"])
async def test_what_can_be_no_secret_is_not_taken(endpoint: Callable[..., Any], value: str) -> None:
    async with endpoint(**captures()) as it:
        assert (await say(it, request(b"", f"X-Hook-Secret: {value}", secret=None))).status == 400
        assert it.broker.published == []


def test_a_message_says_the_secret_and_shows_none_of_it() -> None:
    captured = Captured(secret=SENT.encode(), client="192.0.2.1", at=1_800_000_000_000)
    message = message_of(captured, "id")
    assert read(message.headers, message.body) == captured
    assert SENT not in repr(captured)
    assert captured.shown == "from 192.0.2.1 at 2027-01-15T08:00:00Z"


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({}, b""),
        ({}, b"a" * (LONGEST + 1)),
        ({}, b"\xff" * 20),
        ({"forebay-client": 7}, b"a"),
        ({"forebay-received-at": "x"}, b"a"),
    ],
)
def test_a_message_of_somebody_else_is_none(changes: dict[str, Any], body: bytes) -> None:
    headers = message_of(Captured(secret=b"a", client="a", at=1), "id").headers
    assert read({**headers, **changes}, body) is None
