"""A provider's certificate is fetched beside the way of its webhooks, from its own host, once; a webhook waits for it for a while.

The publisher is a real server with TLS under the provider's name; only the name's address and the authority are the test's.
"""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from forebay.settings import Handshake, Jwt, Verification
from forebay_ingest import fetching, waiting
from tests.receiving.endpoint import Endpoint, request
from tests.receiving.wire import Reply, finals
from tests.support import publishing
from tests.support.certificates import Pair, authority, issued, serving
from tests.support.waiting import eventually, so

Opener = Callable[..., Any]
SNS: dict[str, Any] = {"verification": Verification(provider="SNS", secret_files=("secrets/gh/secret",))}
HOST = "sns.us-east-1.amazonaws.com"


@dataclass(slots=True)
class Publisher:
    """The server, and what it answers."""

    authority: Pair
    port: int = 0
    status: int = 200
    body: bytes = b""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.split(" ")[1])
        await self.held.wait()
        location = "Location: http://169.254.169.254/\r\n" if self.status == 302 else ""
        with contextlib.suppress(ConnectionError):  # who asked may have given up
            writer.write(
                f"HTTP/1.1 {self.status} x\r\n{location}Content-Length: {len(self.body)}\r\n\r\n".encode() + self.body
            )
            await writer.drain()
            writer.close()


class _ToHere(AbstractResolver):
    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        found: Any = {"hostname": host, "host": "127.0.0.1", "port": self._port, "family": 2, "proto": 0, "flags": 0}
        return [found]

    async def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair]:
    folder = tmp_path_factory.mktemp("publisher")
    ca = authority(folder)
    return ca, issued(ca, folder, "publisher", names=f"DNS:{HOST},DNS:issuer.example.com")


@pytest.fixture
async def publisher(pairs: tuple[Pair, Pair]) -> AsyncIterator[Publisher]:
    ca, own = pairs
    it = Publisher(ca, body=publishing.certificate(now=time.time()))
    it.held.set()
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0, ssl=serving(own))
    it.port = server.sockets[0].getsockname()[1]
    trust = ssl.create_default_context(cafile=ca.certificate)

    def connector(_: object) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(resolver=_ToHere(it.port), ssl=trust)

    with patch.object(fetching, "connector", connector), patch.object(fetching, "PAUSE_S", 0.2):
        yield it
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def opened(endpoint: Opener, **changes: Any) -> AsyncIterator[Endpoint]:
    async with endpoint(secret=publishing.TOPIC, **(SNS | changes)) as it:
        yield it


def sns(**changes: Any) -> bytes:
    headers, body = publishing.sns(time.time(), **changes)
    return request(body, *(f"{name.decode()}: {value.decode()}" for name, value in headers), secret=None)


async def say(it: Endpoint, data: bytes) -> Reply:
    (reply,) = finals(await it.say(data))
    return reply


async def test_the_certificate_is_fetched_once_and_the_webhook_is_queued(
    endpoint: Opener, publisher: Publisher
) -> None:
    async with opened(endpoint) as it:
        for _ in range(3):
            assert (await say(it, sns())).status == 202
        assert (await say(it, sns(Message="other", private=publishing.key(number=1)))).status == 401
        assert publisher.asked == [publishing.CERTIFICATE.removeprefix(f"https://{HOST}")]
        assert len(it.broker.published) == 3
        assert it.metric("forebay_ingest_fetches_total", what="keys", outcome="fetched") == 1
        assert it.metric("forebay_ingest_signature_refused_total", reason="bad-signature") == 1


async def test_webhooks_that_come_meanwhile_wait_together_and_others_are_answered(
    endpoint: Opener, publisher: Publisher
) -> None:
    publisher.held.clear()
    async with opened(endpoint) as it:
        waiters = [asyncio.ensure_future(say(it, sns())) for _ in range(5)]
        await eventually(so(lambda: publisher.asked))
        assert (await say(it, request(b"{}", secret=None))).status == 401  # it needs no key to be refused
        assert (await say(it, sns(TopicArn="arn:aws:sns:us-east-1:1:other"))).status == 401
        assert it.broker.published == []
        assert not any(waiter.done() for waiter in waiters)
        publisher.held.set()
        assert [reply.status for reply in await asyncio.gather(*waiters)] == [202] * 5
        assert len(publisher.asked) == 1
        assert len(it.broker.published) == 5


async def test_a_publisher_that_does_not_answer_costs_a_bounded_wait_and_the_webhook_comes_again(
    endpoint: Opener, publisher: Publisher
) -> None:
    publisher.held.clear()
    with patch.object(fetching, "TIMEOUT_S", 0.3):
        async with opened(endpoint) as it:
            began = time.monotonic()
            reply = await say(it, sns())
            assert (reply.status, reply.headers["retry-after"]) == (503, "5")
            assert time.monotonic() - began < 3
            assert (await say(it, sns())).status == 503  # at once: nobody is asked again for a moment
            assert len(publisher.asked) == 1
            publisher.held.set()
            await asyncio.sleep(0.25)
            assert (await say(it, sns())).status == 202
            assert it.metric("forebay_ingest_refused_total", cause="keys", status="503") == 2
            assert it.metric("forebay_ingest_fetches_total", what="keys", outcome="unreachable") == 1


@pytest.mark.parametrize(("status", "answered"), [(404, 401), (403, 401), (429, 503), (500, 503), (302, 503)])
async def test_what_the_publisher_says_decides_whose_fault_it_is(
    endpoint: Opener, publisher: Publisher, status: int, answered: int
) -> None:
    publisher.status = status
    async with opened(endpoint) as it:
        assert (await say(it, sns())).status == answered
        assert len(publisher.asked) == 1  # a redirect is not followed
        assert it.broker.published == []


@pytest.mark.parametrize("body", [b"", b"no certificate", b"x" * (fetching.MAX_BYTES + 1)])
async def test_what_is_no_certificate_verifies_nothing(endpoint: Opener, publisher: Publisher, body: bytes) -> None:
    publisher.body = body
    async with opened(endpoint) as it:
        assert (await say(it, sns())).status == 503
        assert it.broker.published == []


async def test_no_more_than_so_many_wait(endpoint: Opener, publisher: Publisher) -> None:
    publisher.held.clear()
    with patch.object(waiting, "MAX_WAITING", 2):
        async with opened(endpoint) as it:
            waiters = [asyncio.ensure_future(say(it, sns())) for _ in range(2)]
            await eventually(so(lambda: publisher.asked))
            await eventually(so(lambda: it.ingest.receiver._waiting == 2))  # type: ignore[union-attr]
            assert (await say(it, sns())).status == 503
            publisher.held.set()
            assert [reply.status for reply in await asyncio.gather(*waiters)] == [202, 202]


async def test_who_hangs_up_while_it_waits_ends_nothing(endpoint: Opener, publisher: Publisher) -> None:
    publisher.held.clear()
    async with opened(endpoint) as it:
        async with it.client() as client:
            await client.send(sns())
            await eventually(so(lambda: publisher.asked))
            client.hang_up()
        publisher.held.set()
        assert (await say(it, sns())).status == 202


async def test_a_rotated_secret_is_taken_up(endpoint: Opener, publisher: Publisher) -> None:
    async with opened(endpoint) as it:
        assert (await say(it, sns())).status == 202
        other = "arn:aws:sns:us-east-1:123456789012:other"
        it.rotate(other.encode())
        await eventually(so(lambda: "secrets.reloaded" in it.log.getvalue()))
        assert (await say(it, sns())).status == 401
        assert (await say(it, sns(TopicArn=other))).status == 202


async def test_the_keys_of_an_issuer_are_fetched_as_well(endpoint: Opener, publisher: Publisher) -> None:
    publisher.body = publishing.issuer().key_set()
    jwt = Jwt(audience="us", keys_url=publishing.KEYS, issuers=("https://issuer.example.com",))
    async with endpoint(verification=Verification(provider="JWT", jwt=jwt)) as it:
        for alg, status in (("RS256", 202), ("ES256", 202), ("EdDSA", 202)):
            token = publishing.issuer().token(time.time(), alg)
            assert (await say(it, request(b"{}", f"Authorization: Bearer {token}", secret=None))).status == status
        old = publishing.issuer().token(time.time() - 3600)
        assert (await say(it, request(b"{}", f"Authorization: Bearer {old}", secret=None))).status == 401
        assert publisher.asked == ["/keys"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://127.0.0.1:1/keys", "the machine itself"), ("https://169.254.169.254/keys", "never dialed"),
        ("https://localhost:1/keys", "the machine itself"), ("https://10.0.0.1/keys", "private"),
        ("https://2130706433/keys", "is no address"), ("https://127.1/keys", "is no address"),
    ],
)  # fmt: skip
async def test_keys_are_not_fetched_from_addresses_that_the_platform_does_not_allow(
    endpoint: Opener, url: str, said: str
) -> None:
    jwt = Jwt(audience="us", keys_url=url, issuers=("https://issuer.example.com",))
    async with endpoint(verification=Verification(provider="JWT", jwt=jwt, allow_private=False)) as it:
        token = publishing.issuer().token(time.time())
        assert (await say(it, request(b"{}", f"Authorization: Bearer {token}", secret=None))).status == 503
        (line,) = [
            line for line in map(json.loads, it.log.getvalue().splitlines()) if line["event"] == "keys.unreachable"
        ]
        assert said in line["error"]


async def test_where_a_secret_verifies_nothing_is_fetched_and_nobody_waits(endpoint: Opener) -> None:
    async with endpoint() as it:
        assert it.ingest._fetchers == []
        assert type(it.ingest.receiver).__name__ == "Receiver"


ASKS = {
    "Type": "SubscriptionConfirmation", "Token": "2336412f37", "Subject": None,
    "SubscribeURL": f"https://{HOST}/?Action=ConfirmSubscription&TopicArn=a&Token=2336412f37",
}  # fmt: skip
CONFIRMS: dict[str, Any] = {"handshake": Handshake(confirms=True)}


async def test_a_subscription_is_confirmed_where_the_owner_asks_for_it(endpoint: Opener, publisher: Publisher) -> None:
    async with opened(endpoint, **CONFIRMS) as it:
        assert (await say(it, sns(**ASKS))).status == 200
        assert publisher.asked[1:] == ["/?Action=ConfirmSubscription&TopicArn=a&Token=2336412f37"]
        assert it.broker.published == []
        assert it.metric("forebay_ingest_handshakes_total") == 1
        assert (await say(it, sns())).status == 202


async def test_a_subscription_that_can_not_be_confirmed_is_asked_for_again(
    endpoint: Opener, publisher: Publisher
) -> None:
    async with opened(endpoint, **CONFIRMS) as it:
        assert (await say(it, sns())).status == 202
        publisher.status = 500
        assert (await say(it, sns(**ASKS))).status == 503
        assert it.metric("forebay_ingest_refused_total", cause="confirmation", status="503") == 1


@pytest.mark.parametrize(
    "changes", [{}, {"SubscribeURL": "https://evil.example/"}, {"SubscribeURL": "http://10.0.0.1/"}]
)
async def test_nothing_is_visited_unasked_or_elsewhere(
    endpoint: Opener, publisher: Publisher, changes: dict[str, Any]
) -> None:
    async with opened(endpoint, **(CONFIRMS if changes else {})) as it:
        assert (await say(it, sns(**ASKS | changes))).status == (400 if changes else 200)
        forged = sns(**ASKS, private=publishing.key(number=1))
        assert (await say(it, forged)).status == 401
        assert len(publisher.asked) == 1  # for the certificate
        assert it.broker.published == []
        assert changes or "subscription.unconfirmed" in it.log.getvalue()


async def test_event_grids_question_is_answered_to_who_shows_a_token(endpoint: Opener, publisher: Publisher) -> None:
    publisher.body = publishing.issuer().key_set()
    jwt = Jwt(audience="us", keys_url=publishing.KEYS, issuers=("https://issuer.example.com",))
    asks = json.dumps([{"eventType": "x", "data": {"validationCode": "512d38b6"}}]).encode()
    kind = "aeg-event-type: SubscriptionValidation"
    async with endpoint(verification=Verification(provider="EventGridEntra", jwt=jwt)) as it:
        token = f"Authorization: Bearer {publishing.issuer().token(time.time())}"
        reply = await say(it, request(asks, kind, token, secret=None))
        assert (reply.status, json.loads(reply.body)) == (200, {"validationResponse": "512d38b6"})
        assert (await say(it, request(asks, kind, secret=None))).status == 401
        assert (await say(it, request(asks, token, secret=None))).status == 202
