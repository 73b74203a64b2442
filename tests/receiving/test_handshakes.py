"""A provider's handshake is answered at the endpoint, without the broker, and never becomes a webhook."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forebay.amqp.publisher import Outcome
from forebay.settings import Handshake, Verification
from forebay_ingest import handshakes
from forebay_ingest.receive import Receiver
from tests.receiving.endpoint import PATH, SECRET, Endpoint, request
from tests.receiving.wire import Reply, finals
from tests.support.waiting import eventually, so

Opener = Callable[..., Any]

FILES = ("secrets/gh/secret",)
SLACK = {"verification": Verification(provider="Slack", secret_files=FILES)}
META = {
    "verification": Verification(provider="Meta", secret_files=FILES),
    "handshake": Handshake(token_file="secrets/gh/secret"),
}
CHALLENGE = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
ASKS = json.dumps({"token": "a", "challenge": CHALLENGE, "type": "url_verification"}).encode()
TARGET = f"{PATH}?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=It%27s%20a%20Secret+to+Everybody"


def slack(body: bytes, *headers: str, secret: bytes = SECRET) -> bytes:
    at = int(time.time())
    mac = hmac.new(secret, f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
    signed = (f"X-Slack-Signature: v0={mac}", f"X-Slack-Request-Timestamp: {at}")
    return request(body, *signed, *headers, secret=None)


def get(target: str = TARGET, method: str = "GET", framing: str = "") -> bytes:
    return request(b"", method=method, target=target, secret=None, framing=framing)


async def say(it: Endpoint, data: bytes) -> Reply:
    (reply,) = finals(await it.say(data))
    return reply


def cause(reply: Reply) -> str:
    return str(json.loads(reply.body)["type"]).rpartition("/")[2]


async def test_slacks_challenge_is_given_back_without_the_broker(endpoint: Opener) -> None:
    async with endpoint(**SLACK) as it:
        it.broker.outcome = None  # it confirms nothing
        reply = await say(it, slack(ASKS))
        assert (reply.status, reply.body) == (200, CHALLENGE.encode())
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert it.broker.published == []
        assert it.metric("forebay_ingest_handshakes_total") == 1
        assert json.loads(it.log.getvalue())["event"] == "handshake.answered"


async def test_a_webhook_of_the_same_provider_is_queued(endpoint: Opener) -> None:
    async with endpoint(**SLACK) as it:
        assert (await say(it, slack(b'{"type":"event_callback"}'))).status == 202
        assert (
            await say(it, slack(b'{"type":"event_callback","text":"url_verification","challenge":"a"}'))
        ).status == 202
        assert len(it.broker.published) == 2
        assert it.metric("forebay_ingest_handshakes_total") == 0


async def test_a_challenge_that_is_not_signed_gets_nothing_back(endpoint: Opener) -> None:
    async with endpoint(**SLACK) as it:
        for data in (slack(ASKS, secret=b"another"), request(ASKS, secret=None)):
            reply = await say(it, data)
            assert (reply.status, cause(reply)) == (401, "signature")
            assert CHALLENGE.encode() not in reply.body
        assert it.metric("forebay_ingest_refused_total", cause="signature", status="401") == 2
        assert it.metric("forebay_ingest_signature_refused_total", reason="bad-signature") == 1


async def test_a_connection_goes_on_after_a_handshake(endpoint: Opener) -> None:
    async with endpoint(**SLACK) as it, it.client() as client:
        await client.send(slack(ASKS) + slack(b"{}") + slack(ASKS))
        assert [reply.status for reply in await client.answers(3)] == [200, 202, 200]


async def test_metas_challenge_needs_the_verify_token(endpoint: Opener) -> None:
    async with endpoint(**META) as it:
        assert (await say(it, get())).body == b"1158201444"
        reply = await say(it, get(TARGET.replace("Secret", "secret")))
        assert (reply.status, cause(reply)) == (403, "verify-token")
        reply = await say(it, get(TARGET.replace("1158201444", "%3Cb%3E")))
        assert (reply.status, cause(reply)) == (400, "challenge")
        assert it.metric("forebay_ingest_refused_total", cause="verify-token", status="403") == 1
        assert it.broker.published == []


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get(PATH), 405),
        (get(TARGET.replace("subscribe", "unsubscribe")), 405),
        (get(TARGET.replace(PATH, "/elsewhere")), 404),
        (get(method="OPTIONS"), 405),
        (get(method="DELETE"), 405),
        (get(framing="Content-Length: 5000"), 405),
        (get(TARGET + "&hub.challenge=2"), 405),
    ],
)
async def test_its_method_is_open_for_the_handshake_alone(endpoint: Opener, data: bytes, status: int) -> None:
    async with endpoint(**META) as it:
        reply = await say(it, data)
        assert reply.status == status
        if status == 405:
            assert reply.headers["allow"] == "POST, GET"
        assert it.metric("forebay_ingest_handshakes_total") == 0
        assert it.broker.published == []


async def test_limits_of_bodies_and_types_count_all_the_same(endpoint: Opener) -> None:
    async with endpoint(**META, content_types=("application/json",), body_bytes=100) as it:
        assert (await say(it, get())).status == 200
        assert (await say(it, request(b"x", "Content-Type: text/plain"))).status == 415
        assert (await say(it, get(framing="Content-Length: 200") + b"x" * 200)).status == 413


async def test_a_suspended_source_answers_no_handshake_either(endpoint: Opener) -> None:
    async with endpoint(**META, suspended=True) as it:
        assert (await say(it, get())).status == 503


async def test_in_mode_queue_a_handshake_is_a_webhook_like_any_other(endpoint: Opener) -> None:
    async with endpoint(**SLACK, handshake=Handshake(answered=False)) as it:
        assert (await say(it, slack(ASKS))).status == 202
        assert [publish.body for publish in it.broker.published] == [ASKS]
    async with endpoint(**META | {"handshake": Handshake(answered=False)}) as it:
        reply = await say(it, get())
        assert (reply.status, reply.headers["allow"]) == (405, "POST")


async def test_a_rotated_secret_answers_too(endpoint: Opener) -> None:
    async with endpoint(**META) as it:
        it.rotate(b"new")
        await eventually(so(lambda: "secrets.reloaded" in it.log.getvalue()), every_s=0.005)
        assert (await say(it, get())).status == 403
        assert (await say(it, get(TARGET.partition("&hub.verify")[0] + "&hub.verify_token=new"))).status == 200


async def test_a_source_without_handshakes_has_no_door(endpoint: Opener) -> None:
    with patch.object(handshakes.Door, "receive", side_effect=AssertionError):
        async with endpoint() as it:
            assert type(it.ingest.receiver) is Receiver
            assert (await say(it, request())).status == 202
            assert (await say(it, get())).headers["allow"] == "POST"


async def test_a_flood_of_handshakes_is_answered_and_told_in_few_lines(endpoint: Opener) -> None:
    async with endpoint(**META) as it:
        replies = await asyncio.gather(*(say(it, get()) for _ in range(30)))
        assert {reply.status for reply in replies} == {200}
        assert 1 <= it.log.getvalue().count("handshake.answered") <= 15


def of(provider: str) -> dict[str, Any]:
    return {"verification": Verification(provider=provider, secret_files=FILES), "public_url": "https://a.example/b"}


async def test_an_answer_to_head_has_no_body_and_the_connection_goes_on(endpoint: Opener) -> None:
    async with endpoint(**of("Trello")) as it, it.client() as client:
        await client.send(get(PATH, "HEAD") + get(PATH, "HEAD"))
        assert [(reply.status, reply.body) for reply in await client.answers(2)] == [(200, b"")] * 2


async def test_an_answer_to_options_says_what_is_allowed(endpoint: Opener) -> None:
    async with endpoint(**of("CloudEvents")) as it:
        asked = request(b"", "WebHook-Request-Origin: a.example", method="OPTIONS", secret=None, framing="")
        reply = await say(it, asked)
        assert (reply.status, reply.headers["allow"]) == (200, "POST")
        assert (reply.headers["webhook-allowed-origin"], reply.headers["webhook-allowed-rate"]) == ("a.example", "*")
        assert (await say(it, get(PATH, "OPTIONS"))).status == 405


async def test_a_204_has_neither_body_nor_length(endpoint: Opener) -> None:
    key = Ed25519PrivateKey.generate()
    async with endpoint(**of("Discord"), secret=key.public_key().public_bytes_raw().hex().encode()) as it:
        at = str(int(time.time()))
        for body, status in ((b'{"type":0}', 204), (b'{"type":1,"event":{}}', 202)):
            signed = (f"X-Signature-Ed25519: {key.sign(at.encode() + body).hex()}", f"X-Signature-Timestamp: {at}")
            reply = await say(it, request(body, *signed, secret=None))
            assert reply.status == status
            assert ("content-length" in reply.headers) == (status != 204)
        signed = (f"X-Signature-Ed25519: {'0' * 128}", f"X-Signature-Timestamp: {at}")
        assert (await say(it, request(b'{"type":0}', *signed, secret=None))).status == 401


async def test_a_code_in_the_query_is_verified_before_the_answer(endpoint: Opener) -> None:
    body = b'[{"data":{"validationCode":"512d38b6"}}]'
    async with endpoint(**of("EventGrid")) as it:
        for code, status in (("It%27s+a+Secret+to+Everybody", 200), ("guess", 401)):
            asked = request(body, "aeg-event-type: SubscriptionValidation", target=f"{PATH}?code={code}", secret=None)
            assert (await say(it, asked)).status == status


ASANA = {"verification": Verification(provider="Asana", secret_files=FILES)}
NOTION = {"verification": Verification(provider="Notion", secret_files=FILES)}
DELIVERS = {"handshake": Handshake(delivers_secret=True)}
TOLD = "X-Hook-Secret: b537207f20cbfa02357cf448134da559"


async def test_asanas_secret_is_given_back_once_it_is_safe_in_the_queue(endpoint: Opener) -> None:
    async with endpoint(**ASANA | DELIVERS) as it:
        reply = await say(it, request(b"", TOLD, secret=None))
        assert (reply.status, reply.headers["x-hook-secret"]) == (200, "b537207f20cbfa02357cf448134da559")
        assert len(it.broker.published) == 1
        assert TOLD.encode() in bytes(it.broker.written)
        signature = hmac.digest(SECRET, b"{}", "sha256").hex()
        assert (await say(it, request(b"{}", f"X-Hook-Signature: {signature}", secret=None))).status == 202


async def test_a_secret_that_can_not_be_stored_is_not_given_back(endpoint: Opener) -> None:
    async with endpoint(**ASANA | DELIVERS) as it:
        it.broker.outcome = Outcome.TIMEOUT
        reply = await say(it, request(b"", TOLD, secret=None))
        assert reply.status == 503
        assert "x-hook-secret" not in reply.headers


async def test_notions_token_is_delivered_and_nothing_longer_beside_it(endpoint: Opener) -> None:
    async with endpoint(**NOTION | DELIVERS) as it:
        token = json.dumps({"verification_token": "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}).encode()
        assert (await say(it, request(token, secret=None))).status == 200
        assert len(it.broker.published) == 1
        long = json.dumps({"verification_token": "a", "type": "x" * 300}).encode()
        assert (await say(it, request(long, secret=None))).status == 401


@pytest.mark.parametrize("about", [ASANA, NOTION])
async def test_no_secret_is_taken_unasked(endpoint: Opener, about: dict[str, Any]) -> None:
    async with endpoint(**about) as it:
        for body in (b"", b"{}", b'{"verification_token":"secret_a"}'):
            reply = await say(it, request(body, TOLD, secret=None))
            assert reply.status == 401
            assert "x-hook-secret" not in reply.headers
        assert it.broker.published == []
