"""A body that is too large for the queue goes to the storage first, a reference into the queue then, the 2xx last."""

import asyncio
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forebay.amqp.publisher import Outcome
from forebay.envelope import Claim, Envelope, decode
from forebay.errors import SpecError
from forebay.settings import WHOLE_BYTES, Match, Route, Storage, Verification
from forebay_ingest import spool
from forebay_ingest.handshakes import Door
from tests.receiving.endpoint import SECRET, Endpoint, chunked, head, request
from tests.receiving.wire import statuses
from tests.support.gateway import CREDENTIALS, Gateway, s3
from tests.support.proxy import Fate, proxy
from tests.support.waiting import eventually, so

Opener = Callable[..., Any]

LIMIT, THRESHOLD = 4_000_000, 10_000
LARGE = os.urandom(1_000_000)


@pytest.fixture
def bodies(tmp_path: Path) -> Path:
    """The folder that is the storage."""
    return tmp_path / "bodies"


@pytest.fixture
def storing(endpoint: Opener, bodies: Path) -> Opener:
    """An endpoint with a storage."""

    def opened(**changes: Any) -> Any:
        given = {"threshold_bytes": THRESHOLD, **changes.pop("storage", {})}
        storage = Storage(provider="File", bucket=str(bodies), **given)
        return endpoint(**{"storage": storage, "body_bytes": LIMIT, **changes})

    return opened


def objects(bodies: Path) -> list[Path]:
    return [path for path in bodies.rglob("*") if path.is_file()] if bodies.exists() else []


def envelopes(it: Endpoint) -> list[Envelope]:
    told = [(one.properties, one.body) for one in it.broker.published]
    return [decode(one.message_id, one.content_type, one.headers, body) for one, body in told]


def is_clean(it: Endpoint) -> bool:
    """Whether nothing of any body is held."""
    assert it.ingest.claims is not None
    return it.ingest.claims.spool.held == 0 and it.ingest.reading_bytes == 0


def check_claimed(bodies: Path, envelope: Envelope, body: bytes) -> None:
    claim = envelope.claim
    assert claim == Claim(
        key=f"forebay/payments/github/{envelope.id}", size=len(body), sha256=hashlib.sha256(body).hexdigest()
    )
    assert envelope.body == b""
    assert (bodies / claim.key).read_bytes() == body


# ----------------------------------------------------------------------------------------------------------- what goes


@pytest.mark.parametrize("size", [1, 9_999, THRESHOLD])
async def test_what_the_queue_can_carry_goes_through_the_queue(storing: Opener, bodies: Path, size: int) -> None:
    async with storing() as it:
        assert statuses(await it.say(request(LARGE[:size]))) == [202]
        (envelope,) = envelopes(it)
        assert envelope.body == LARGE[:size]
        assert envelope.claim is None
    assert objects(bodies) == []


@pytest.mark.parametrize("size", [THRESHOLD + 1, 16_000, 16_384 + 1, 300_000, LIMIT])
async def test_what_is_larger_is_stored_and_referred_to(storing: Opener, bodies: Path, size: int) -> None:
    body = os.urandom(size)
    async with storing() as it:
        assert statuses(await it.say(request(body, "X-GitHub-Event: push"))) == [202]
        (envelope,) = envelopes(it)
        check_claimed(bodies, envelope, body)
        assert envelope.event_type is None or envelope.event_type == "push"
        assert is_clean(it)
        assert it.metric("forebay_claimed_total") == 1
        assert it.metric("forebay_claimed_bytes_total") == size
        assert it.metric("forebay_ingest_accepted_total", queue="default") == 1
        assert it.metric("forebay_ingest_body_bytes_total") == size
        assert it.metric("forebay_claim_put_seconds_count") == 1
        assert "claim.stored" in it.log.getvalue()


async def test_a_body_of_unknown_length_too(storing: Opener, bodies: Path) -> None:
    parts = [LARGE[start : start + 70_001] for start in range(0, len(LARGE), 70_001)]
    wire = request(LARGE, framing="Transfer-Encoding: chunked")[: -len(LARGE)] + chunked(*parts)
    async with storing() as it:
        assert statuses(await it.say(wire)) == [202]
        (envelope,) = envelopes(it)
        check_claimed(bodies, envelope, LARGE)


async def test_large_and_small_ones_follow_each_other_on_one_connection(storing: Opener, bodies: Path) -> None:
    sent = [LARGE[:50_000], b"small", LARGE, b"", LARGE[7:]]
    async with storing() as it, it.client() as client:
        await client.send(b"".join(request(body) for body in sent))
        assert [answer.status for answer in await client.answers(5)] == [202] * 5
        got = envelopes(it)
        assert [one.size for one in got] == [len(body) for body in sent]
        for one, body in zip(got, sent, strict=True):
            check_claimed(bodies, one, body) if one.claim else None
        assert is_clean(it)


async def test_a_sender_may_close_its_side_behind_a_large_body(storing: Opener) -> None:
    async with storing() as it, it.client() as client:
        await client.send(request(LARGE))
        client.close_our_side()
        assert statuses(await client.rest()) == [202]


def slack(body: bytes, at: float) -> str:
    signed = b"v0:%d:" % at + body
    return "v0=" + hmac.new(SECRET, signed, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("good", [True, False])
async def test_behind_the_door_for_handshakes_large_ones_pass_as_well(
    storing: Opener, bodies: Path, good: bool
) -> None:
    verification = Verification(provider="Slack", secret_files=("secrets/gh/secret",))
    now = int(time.time())
    stamp, signature = f"X-Slack-Request-Timestamp: {now}", f"X-Slack-Signature: {slack(LARGE, now - (not good))}"
    async with storing(verification=verification) as it:
        assert isinstance(it.ingest.receiver, Door)
        assert statuses(await it.say(request(LARGE, stamp, signature, secret=None))) == [202 if good else 401]
        assert is_clean(it)
    assert len(objects(bodies)) == good


@pytest.mark.parametrize("good", [True, False])
async def test_a_signature_that_needs_all_of_the_body_has_it(storing: Opener, bodies: Path, good: bool) -> None:
    key = Ed25519PrivateKey.generate()
    secret = key.public_key().public_bytes_raw().hex().encode()
    now = str(int(time.time()))
    signature = key.sign(now.encode() + LARGE if good else LARGE).hex()
    headers = (f"X-Signature-Timestamp: {now}", f"X-Signature-Ed25519: {signature}")
    verification = Verification(provider="Discord", secret_files=("secrets/gh/secret",))
    async with storing(verification=verification, secret=secret) as it:
        assert statuses(await it.say(request(LARGE, *headers, secret=None))) == [202 if good else 401]
        assert is_clean(it)
    assert len(objects(bodies)) == good


def test_bodies_that_have_to_be_looked_into_stay_below_what_fits_into_memory(tmp_path: Path) -> None:
    secret = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex().encode()
    verification = Verification(provider="Discord", secret_files=("secrets/gh/secret",))
    storage = Storage(provider="File", bucket=str(tmp_path / "bodies"))

    async def start() -> None:
        async with Endpoint.open(
            tmp_path, secret=secret, verification=verification, storage=storage, body_bytes=WHOLE_BYTES + 1
        ):
            pass

    with pytest.raises(SpecError, match="at most 16777216"):
        asyncio.run(start())


async def test_a_body_that_routes_look_into_is_looked_into(storing: Opener, bodies: Path) -> None:
    rule = Match(json_path="kind", json_values=("big",))
    routes = (Route(queue="special", match=rule), Route(queue="default"))
    body = json.dumps({"kind": "big", "rest": "x" * 100_000}).encode()
    async with storing(routes=routes) as it:
        assert statuses(await it.say(request(body))) == [202]
        assert [one.queue for one in envelopes(it)] == ["special"]
        assert is_clean(it)


# ------------------------------------------------------------------------------------------------------- what does not


async def test_what_does_not_verify_is_never_stored(storing: Opener, bodies: Path) -> None:
    wire = request(LARGE)
    async with storing() as it:
        assert statuses(await it.say(wire[:-1] + bytes([wire[-1] ^ 1]))) == [401]
        assert it.broker.published == []
        assert is_clean(it)
        assert it.metric("forebay_ingest_signature_refused_total", reason="bad-signature") == 1
    assert objects(bodies) == []


async def test_who_shows_no_signature_is_refused_before_the_body_has_come(storing: Opener) -> None:
    start = head("Content-Length: 3000000", secret=None)
    async with storing() as it, it.client() as client:
        await client.send(start + LARGE[: THRESHOLD + 1])
        assert statuses(await client.rest()) == [401]
        assert is_clean(it)


@pytest.mark.parametrize("declared", [True, False])
async def test_what_is_larger_than_the_limit_is_refused(storing: Opener, bodies: Path, declared: bool) -> None:
    body = bytes(LIMIT + 1)
    wire = request(body) if declared else request(body, framing="Transfer-Encoding: chunked")[: -len(body)]
    wire += b"" if declared else chunked(*[body[at : at + 100_000] for at in range(0, len(body), 100_000)])
    async with storing() as it, it.client() as client:
        send = asyncio.ensure_future(client.send(wire))
        assert [answer.status for answer in await client.answers(1)] == [413]
        send.cancel()
        await asyncio.gather(send, return_exceptions=True)
        await eventually(so(lambda: is_clean(it)))
    assert objects(bodies) == []


async def test_without_a_storage_nothing_has_changed(endpoint: Opener) -> None:
    async with endpoint(body_bytes=THRESHOLD) as it:
        assert statuses(await it.say(request(LARGE[: THRESHOLD + 1]))) == [413]
        assert it.ingest.claims is None
        assert not (it.root / "spool").exists()


async def test_a_sender_that_goes_in_the_midst_leaves_nothing(storing: Opener, bodies: Path) -> None:
    async with storing() as it, it.client() as client:
        await client.send(request(LARGE)[:-1])
        await eventually(so(lambda: it.ingest.claims.spool.held > 0))
        client.hang_up()
        await eventually(so(lambda: is_clean(it)))
        assert it.broker.published == []
    assert objects(bodies) == []


async def test_a_sender_that_goes_behind_its_body_has_sent_it(storing: Opener, bodies: Path) -> None:
    async with storing() as it, it.client() as client:
        it.broker.outcome = None
        await client.send(request(LARGE))
        await eventually(so(lambda: it.broker.published))
        client.hang_up()
        await eventually(so(lambda: it.metric("forebay_ingest_hangups_total") == 1))
        it.broker.confirms(1)
        check_claimed(bodies, envelopes(it)[0], LARGE)


async def test_a_large_body_that_is_too_slow_is_told_so(storing: Opener, bodies: Path) -> None:
    async with storing(body_s=0.2) as it, it.client() as client:
        await client.send(request(LARGE)[:-1])
        assert statuses(await client.rest()) == [408]
        assert is_clean(it)
    assert objects(bodies) == []


async def test_chunks_of_a_few_bytes_are_not_taken_in_a_large_body_either(storing: Opener) -> None:
    start = request(LARGE, framing="Transfer-Encoding: chunked")[: -len(LARGE)]
    async with storing(header_bytes=2000) as it, it.client() as client:
        await client.send(start + chunked(*[b"x"] * (THRESHOLD + 20_000)))
        assert statuses(await client.rest()) == [400]
        assert is_clean(it)


async def test_more_than_the_disk_may_hold_is_put_off(storing: Opener, bodies: Path) -> None:
    async with storing(storage={"spool_bytes": 900_000}) as it, it.client() as client:
        send = asyncio.ensure_future(client.send(request(LARGE)))
        (answer,) = await client.answers(1)
        assert answer.status == 503
        assert "retry-after" in answer.headers
        send.cancel()
        await asyncio.gather(send, return_exceptions=True)
        await eventually(so(lambda: is_clean(it)))
        assert it.metric("forebay_ingest_refused_total", cause="overloaded", status="503") == 1
    assert objects(bodies) == []


async def test_a_disk_that_fails_is_ours_to_mend(
    storing: Opener, bodies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    async with storing() as it:
        assert statuses(await it.say(request(LARGE[:200_000]))) == [503]
        assert it.metric("forebay_claim_failures_total", cause="spool") == 1
        assert "No space left" in it.log.getvalue()
        assert is_clean(it)
    assert objects(bodies) == []


async def test_a_sender_faster_than_the_disk_has_to_wait(storing: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    append = spool.Spooled._append

    def slowly(self: spool.Spooled, pieces: list[bytes]) -> None:
        nonlocal most
        most = max(most, sum(map(len, pieces)))
        time.sleep(0.01)
        append(self, pieces)

    monkeypatch.setattr(spool.Spooled, "_append", slowly)
    async with storing() as it:
        assert statuses(await it.say(request(bytes(LIMIT)))) == [202]
    assert most < 2 * spool._WAITING


# ------------------------------------------------------------------------------------------- storage and broker fail


async def test_nothing_is_said_before_the_broker_has_confirmed(storing: Opener, bodies: Path) -> None:
    async with storing() as it, it.client() as client:
        it.broker.outcome = None
        await client.send(request(LARGE))
        await eventually(so(lambda: it.broker.published))
        assert len(objects(bodies)) == 1  # before the publish
        await asyncio.sleep(0.05)
        assert client.received == b""
        it.broker.confirms(1)
        assert [answer.status for answer in await client.answers()] == [202]


@pytest.mark.parametrize(
    ("outcome", "left"),
    [(Outcome.UNROUTABLE, 0), (Outcome.REFUSED, 1), (Outcome.TIMEOUT, 1), (Outcome.DISCONNECTED, 1)],
)
async def test_an_object_goes_only_where_no_queue_can_refer_to_it(
    storing: Opener, bodies: Path, outcome: Outcome, left: int
) -> None:
    async with storing() as it:
        it.broker.outcome = outcome
        assert statuses(await it.say(request(LARGE))) == [503]
        await asyncio.sleep(0.05)
        assert len(objects(bodies)) == left


async def test_while_the_broker_is_away_no_large_body_is_read(storing: Opener) -> None:
    async with storing() as it, it.client() as client:
        it.broker._writer = None
        await client.send(head("Content-Length: 3000000") + LARGE[: THRESHOLD + 1])
        assert statuses(await client.rest()) == [503]
        assert it.metric("forebay_ingest_refused_total", cause="down", status="503") == 1
        it.broker._writer = it.broker


async def test_a_broker_that_goes_during_the_put_leaves_no_object(
    storing: Opener, bodies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with storing() as it:
        put = it.ingest.claims._storage.put

        async def and_then_down(key: str, path: Path) -> None:
            await put(key, path)
            it.broker._writer = None

        monkeypatch.setattr(it.ingest.claims._storage, "put", and_then_down)
        assert statuses(await it.say(request(LARGE))) == [503]
        await eventually(so(lambda: objects(bodies) == []))
        it.broker._writer = it.broker


@pytest.mark.parametrize("fate", [Fate(answer=(503, "<Error/>")), Fate(hang_up=True), Fate(delay_s=30)])
async def test_while_the_storage_fails_the_sender_is_told_to_come_back(
    endpoint: Opener, s3_server: Gateway, fate: Fate
) -> None:
    async with proxy(s3_server.url, keeps_host=True) as front:
        storage = s3(front.url, put_s=0.7, threshold_bytes=THRESHOLD)
        async with endpoint(storage=storage, body_bytes=LIMIT, credentials=CREDENTIALS) as it:
            front.fate = lambda _: fate
            (answer,) = await said(it, request(LARGE))
            assert answer == (503, "5")
            assert it.broker.published == []
            assert it.metric("forebay_claim_failures_total", cause="unreachable") == 1
            assert it.metric("forebay_ingest_refused_total", cause="storage", status="503") == 1
            assert is_clean(it)
            front.fate = lambda _: Fate()
            assert await said(it, request(LARGE)) == [(202, None)]
    assert len(s3_server.objects()) == 1


async def said(it: Endpoint, data: bytes) -> list[tuple[int, str | None]]:
    async with it.client() as client:
        await client.send(data)
        return [(answer.status, answer.headers.get("retry-after")) for answer in await client.answers()]


async def test_a_part_of_ours_that_breaks_is_answered(
    storing: Opener, bodies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with storing() as it:

        async def broken(*_: object) -> None:
            raise StopAsyncIteration

        monkeypatch.setattr(it.ingest.claims, "_put", broken)
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        assert statuses(await it.say(request(LARGE))) == [503]
        assert is_clean(it)
