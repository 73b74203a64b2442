"""What a provider is answered: 2xx for what the broker has confirmed, an honest status for everything else."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from forebay.amqp.publisher import Outcome
from forebay.envelope import decode
from forebay.settings import Match, Route, Verification
from tests.receiving.endpoint import OPEN, PATH, chunked, head, request
from tests.receiving.wire import Reply, finals
from tests.support.waiting import eventually, so

Opener = Callable[..., Any]


async def answer(endpoint: Opener, data: bytes, **changes: Any) -> Reply:
    async with endpoint(**changes) as it:
        (reply,) = finals(await it.say(data))
        refused = it.metric("forebay_ingest_refused_total", cause=cause_of(reply), status=str(reply.status))
        accepted = it.metric("forebay_ingest_accepted_total", queue="default")
        assert (accepted, refused) == ((1, 0) if reply.status < 300 else (0, 1))
        assert len(it.broker.published) <= 1
        return reply


def cause_of(reply: Reply) -> str:
    return json.loads(reply.body)["type"].rpartition("/")[2] if reply.status >= 300 else ""


async def test_a_webhook_that_the_broker_confirmed_is_accepted(endpoint: Opener) -> None:
    async with endpoint() as it:
        data = request(
            b"{}", "X-GitHub-Event: push", "X-GitHub-Delivery: d-1", "X-A: 1", "x-a: 2", target=f"{PATH}?a=1"
        )
        (reply,) = finals(await it.say(data))
        (publish,) = it.broker.published
    assert reply.status == 202
    envelope = decode(publish.properties.message_id, None, publish.properties.headers, publish.body)
    assert envelope.id == reply.headers["x-forebay-id"]
    assert (envelope.body, envelope.target, envelope.method) == (b"{}", f"{PATH}?a=1", "POST")
    assert (envelope.delivery_id, envelope.event_type) == ("d-1", "push")
    assert [item for item in envelope.headers if item[0].lower() == "x-a"] == [("X-A", "1"), ("x-a", "2")]
    assert envelope.client == "127.0.0.1"


async def test_nothing_is_said_before_the_broker_has_confirmed(endpoint: Opener) -> None:
    async with endpoint() as it, it.client() as client:
        it.broker.outcome = None
        await client.send(request())
        await eventually(so(lambda: it.broker.in_flight), every_s=0.002)
        with pytest.raises(TimeoutError):
            await client.answers(1, within_s=0.05)
        it.broker.confirms(1)
        assert [reply.status for reply in await client.answers()] == [202]


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.CONFIRMED])
async def test_whatever_else_the_broker_does_makes_the_provider_come_back(endpoint: Opener, outcome: Outcome) -> None:
    async with endpoint(retry_after_s=9) as it, it.client() as client:
        it.broker.outcome = outcome
        await client.send(request())
        (reply,) = await client.answers()
        assert (reply.status, cause_of(reply)) == (503, outcome.value)
        assert reply.headers["retry-after"] == "9"
        it.broker.outcome = Outcome.CONFIRMED
        await client.send(request())  # on the same connection: there was nothing wrong with the request
        assert [reply.status for reply in await client.answers()] == [202]


async def test_a_confirm_that_does_not_come_is_503_in_time(endpoint: Opener) -> None:
    async with endpoint(confirm_s=0.05) as it:
        it.broker.outcome = None
        (reply,) = finals(await it.say(request()))
        assert (reply.status, cause_of(reply)) == (503, "timeout")


@pytest.mark.parametrize(
    ("data", "status", "cause"),
    [
        (request(secret=b"wrong"), 401, "signature"),
        (request(secret=None), 401, "signature"),
        (request(b"x", "X-Hub-Signature-256: sha256=00"), 401, "signature"),
        (request(target="/elsewhere"), 404, "not-found"),
        (request(target=PATH + "x"), 404, "not-found"),
        (request(target="/"), 404, "not-found"),
        (request(target="*", method="OPTIONS"), 404, "not-found"),
        (request(method="GET"), 405, "method"),
        (request(method="PUT"), 405, "method"),
        (request(b"x" * 11), 413, "too-large"),
        (request(b"", framing="Transfer-Encoding: chunked") + chunked(b"x" * 11), 413, "too-large"),
        (b"nonsense\r\n\r\n", 400, "bad-request"),
        (request().replace(b"Host: example\r\n", b""), 400, "bad-request"),
        (request(framing="Content-Length: -1"), 400, "bad-request"),
        (head("X-Large: " + "x" * 33_000), 431, "headers-too-large"),
        (head(*(f"X-{number}: 1" for number in range(101))), 431, "headers-too-large"),
        (head(*(f"X-{number}: " + "x" * 500 for number in range(80))), 431, "headers-too-large"),
        (head(target="/" + "x" * 17_000), 431, "headers-too-large"),
    ],
)  # fmt: skip
async def test_what_is_refused_and_why(endpoint: Opener, data: bytes, status: int, cause: str) -> None:
    reply = await answer(endpoint, data, body_bytes=10)
    assert (reply.status, cause_of(reply)) == (status, cause)


async def test_what_lies_below_the_path_is_taken_too(endpoint: Opener) -> None:
    assert (await answer(endpoint, request(target=f"{PATH}/eu/west?x=%20"))).status == 202
    assert (await answer(endpoint, request(target=f"http://example:80{PATH}?x"))).status == 202


async def test_a_wrong_method_is_told_the_right_ones(endpoint: Opener) -> None:
    reply = await answer(endpoint, request(method="DELETE"), methods=("POST", "PUT"))
    assert reply.headers["allow"] == "POST, PUT"


async def test_head_is_answered_without_a_body(endpoint: Opener) -> None:
    async with endpoint() as it:
        data = await it.say(head(method="HEAD"))
        assert data.startswith(b"HTTP/1.1 405 ")
        assert data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/json", 202), ("Application/JSON; charset=utf-8", 202), ("text/plain", 415), ("", 415), ("é", 415)],
)
async def test_other_content_types_are_refused_where_some_are_named(
    endpoint: Opener, content_type: str, status: int
) -> None:
    data = request(b"x", f"Content-Type: {content_type}")
    assert (await answer(endpoint, data, content_types=("application/json",))).status == status
    assert (await answer(endpoint, data)).status == 202


async def test_a_suspended_source_makes_the_provider_come_back(endpoint: Opener) -> None:
    reply = await answer(endpoint, request(), suspended=True)
    assert (reply.status, cause_of(reply)) == (503, "suspended")
    assert "retry-after" in reply.headers
    assert (await answer(endpoint, request(target="/elsewhere"), suspended=True)).status == 404


async def test_the_response_is_what_the_manifest_says(endpoint: Opener) -> None:
    reply = await answer(endpoint, request(), status=200, body="[accepted]", headers=(("X-A", "1"),))
    assert (reply.status, reply.body, reply.headers["x-a"]) == (200, b"[accepted]", "1")
    assert (await answer(endpoint, request(), status=204)).status == 204


async def test_a_body_of_nothing_is_a_webhook(endpoint: Opener) -> None:
    assert (await answer(endpoint, request(b""))).status == 202
    assert (await answer(endpoint, head(method="GET"), methods=("GET",))).status == 202


async def test_a_rotated_secret_is_taken_up_and_the_old_one_dropped(endpoint: Opener) -> None:
    async with endpoint() as it:
        it.rotate(b"new secret")
        await eventually(so(lambda: "secrets.reloaded" in it.log.getvalue()), every_s=0.005)
        assert [reply.status for reply in finals(await it.say(request(secret=b"new secret")))] == [202]
        assert [reply.status for reply in finals(await it.say(request()))] == [401]


async def test_a_secret_that_can_not_be_read_leaves_the_old_one_in_force(endpoint: Opener) -> None:
    async with endpoint() as it:
        (it.root / "secrets/gh/secret").unlink()
        await eventually(so(lambda: "secrets.unusable" in it.log.getvalue()), every_s=0.005)
        assert [reply.status for reply in finals(await it.say(request()))] == [202]


async def test_several_secrets_are_good_at_once(endpoint: Opener) -> None:
    both = Verification(provider="GitHub", secret_files=("secrets/gh/secret", "secrets/gh/secret2"))
    async with endpoint() as it:
        (it.root / "secrets/gh/secret2").write_bytes(b"the second")
    async with endpoint(verification=both) as it:
        for secret in (b"the second", b"It's a Secret to Everybody"):
            assert [reply.status for reply in finals(await it.say(request(secret=secret)))] == [202]


async def test_a_refusal_is_told_in_one_line_and_a_flood_of_them_in_few(endpoint: Opener) -> None:
    async with endpoint() as it:
        for _ in range(20):
            await it.say(request(secret=None))
        lines = [json.loads(line) for line in it.log.getvalue().splitlines()]
        assert 1 <= len(lines) <= 15
        assert lines[0]["cause"] == "signature"
        assert lines[0]["client"] == "127.0.0.1"
        assert it.metric("forebay_ingest_signature_refused_total", reason="missing-signature") == 20


async def test_webhooks_go_to_the_queue_that_the_routes_say(endpoint: Opener) -> None:
    routes = (Route(queue="urgent", match=Match(json_path="a", json_values=("1",))), Route(queue="default"))
    async with endpoint(routes=routes) as it:
        for body in (b'{"a": 1}', b'{"a": 2}', b"no json"):
            await it.say(request(body))
        keys = [publish.routing_key.rpartition(".")[2] for publish in it.broker.published]
        assert keys == ["urgent", "default", "default"]


async def test_a_json_event_type_that_is_no_unicode_is_taken_all_the_same(endpoint: Opener) -> None:
    hmac = Verification(provider="HMAC", secret_files=("secrets/gh/secret",), header="X-Hub-Signature-256",
                        prefix="sha256=", event_type_json="type")  # fmt: skip
    routes = (Route(queue="urgent", match=Match(event_types=("a*",))), Route(queue="default"))
    reply = await answer(endpoint, request(b'{"type": "\\ud800"}'), verification=hmac, routes=routes)
    assert reply.status == 202


async def test_headers_that_a_message_can_not_carry_are_431_and_nothing_breaks(endpoint: Opener) -> None:
    limits = {"header_bytes": 256 * 1024, "header_count": 1000}
    async with endpoint(**limits) as it:
        large = [f"X-{number}: " + "\xff" * 1000 for number in range(100)]
        assert [reply.status for reply in finals(await it.say(request(b"x", *large)))] == [431]
        assert [reply.status for reply in finals(await it.say(request()))] == [202]


async def test_an_unsigned_source_takes_everybody(endpoint: Opener) -> None:
    assert (await answer(endpoint, request(secret=None), verification=OPEN)).status == 202


async def test_an_endpoint_is_not_ready_before_the_broker_has_turned_confirms_on(endpoint: Opener) -> None:
    async with endpoint() as it:
        assert it.ingest.unready() is None
        it.broker._writer = None
        assert "no connection to the broker" in str(it.ingest.unready())
        assert [reply.status for reply in finals(await it.say(request()))] == [503]
