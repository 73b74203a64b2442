"""A body that is in the storage reaches the destination unchanged, or never whole."""

import asyncio
import base64
import hashlib
import hmac
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from forebay import settings
from forebay.envelope import Claim, Envelope
from forebay.settings import Destination, RetryPolicy
from forebay.storage import Storage, StorageError
from forebay.topology import TIERS
from forebay_worker import claims as claims_module
from forebay_worker.api import Webhook
from forebay_worker.claim_measures import ClaimMeasures
from forebay_worker.claims import Claims, homeless
from forebay_worker.deliver import HttpDelivery
from forebay_worker.handler import HandlerDelivery
from forebay_worker.measures import Measures
from forebay_worker.outcome import Delivered, Refused, Unfetched, Unreachable
from forebay_worker.retry import DeadLetter, RetryIn, decide, policy
from tests.support import destination as servers
from tests.support.destination import Answer, destination, says
from tests.support.envelopes import envelope
from tests.support.waiting import eventually, so

OK = b"HTTP/1.1 202 X\r\nContent-Length: 0\r\n\r\n"
BODY = os.urandom(3_000_000)
SIGNING = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def bodies(tmp_path: Path) -> Path:
    return tmp_path / "bodies"


@pytest.fixture
def storage(bodies: Path) -> Storage:
    return Storage(settings.Storage(provider="File", bucket=str(bodies)), lambda _: b"")


def claimed(bodies: Path, body: bytes = BODY, stored: bytes | None = None, **changes: Any) -> Envelope:
    """A webhook whose body is in the storage, or whatever is there in its place."""
    claim = Claim(key="forebay/payments/github/1", size=len(body), sha256=hashlib.sha256(body).hexdigest())
    path = bodies / claim.key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body if stored is None else stored)
    return envelope(body=b"", claim=claim, **changes)


@asynccontextmanager
async def delivering(answer: Answer, **changes: Any) -> AsyncIterator[tuple[HttpDelivery, servers.Destination]]:
    async with destination(answer) as server:
        given = {"url": f"http://127.0.0.1:{server.port}/hook", "allow_loopback": True, "timeout_s": 2.0, **changes}
        deliver = HttpDelivery(Destination(**given), root=Path("/nowhere"), read=lambda _: SIGNING)
        yield deliver, server
        await deliver.close()


def large(deliver: HttpDelivery | HandlerDelivery, storage: Storage, *, delete: bool = True) -> Claims:
    measures = ClaimMeasures(Measures("payments/github", "default").registry, "payments/github", "default")
    return Claims(deliver, storage, measures, delete=delete)


@pytest.mark.parametrize("size", [1, 256 * 1024, 256 * 1024 + 1, 3_000_000])
async def test_a_body_arrives_as_it_was_stored(storage: Storage, bodies: Path, size: int) -> None:
    async with delivering(says(OK)) as (deliver, server):
        assert await large(deliver, storage).deliver(claimed(bodies, BODY[:size])) == Delivered(202)
        (request,) = server.requests
        assert request.body == BODY[:size]
        assert request.header("content-length") == str(size)
        assert request.header("x-github-event") == "push"


async def test_it_is_signed_where_that_is_asked_for(storage: Storage, bodies: Path) -> None:
    async with delivering(says(OK), signing_files=("a", "b")) as (deliver, server):
        assert await large(deliver, storage).deliver(claimed(bodies)) == Delivered(202)
        (request,) = server.requests
        headers = dict(request.headers)
        message = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), BODY))
        mac = hmac.new(base64.b64decode(SIGNING.removeprefix(b"whsec_")), message, hashlib.sha256)
        assert headers["webhook-signature"].split(" ") == ["v1," + base64.b64encode(mac.digest()).decode()] * 2


@pytest.mark.parametrize("stored", [b"short", BODY + b"x", b""])
async def test_for_a_body_of_another_length_nobody_is_called(storage: Storage, bodies: Path, stored: bytes) -> None:
    async with delivering(says(OK)) as (deliver, server):
        outcome = await large(deliver, storage).deliver(claimed(bodies, stored=stored))
        assert isinstance(outcome, Unfetched)
        assert "forebay/payments/github/1" in outcome.error
        assert server.connections == 0


async def test_for_a_missing_body_nobody_is_called(storage: Storage, bodies: Path) -> None:
    lost = claimed(bodies)
    remove(bodies)
    async with delivering(says(OK)) as (deliver, server):
        assert isinstance(await large(deliver, storage).deliver(lost), Unfetched)
        assert server.connections == 0


def remove(bodies: Path) -> None:
    (bodies / "forebay/payments/github/1").unlink()


@pytest.mark.parametrize("at", [0, 2_999_999])
async def test_a_body_with_one_other_byte_never_arrives_whole(storage: Storage, bodies: Path, at: int) -> None:
    other = bytearray(BODY)
    other[at] ^= 1
    async with delivering(says(OK)) as (deliver, server):
        assert isinstance(await large(deliver, storage).deliver(claimed(bodies, stored=bytes(other))), Unfetched)
        await eventually(so(lambda: server.open == 0))
        assert server.requests == []  # none that was complete


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def unlike_any(serve: Serve, timeout_s: float) -> AsyncIterator[HttpDelivery]:
    """A destination that does not wait for a whole request."""
    over = asyncio.Event()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        await over.wait()
        writer.transport.abort()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    given = Destination(url=f"http://127.0.0.1:{port}/", allow_loopback=True, timeout_s=timeout_s)
    yield HttpDelivery(given, root=Path("/nowhere"), read=lambda _: b"")
    over.set()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.01)


async def test_a_destination_that_answers_early_is_heard(storage: Storage, bodies: Path) -> None:
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n")

    async with unlike_any(refuses, 2.0) as deliver:
        outcome = await large(deliver, storage).deliver(claimed(bodies, bytes(30_000_000)))
        assert outcome == Refused(413, "HTTP 413")


async def test_a_destination_that_does_not_read_is_timed_out_and_little_waits_for_it(
    storage: Storage, bodies: Path
) -> None:
    async def stuck(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]

    async with unlike_any(stuck, 0.5) as deliver:
        attempt = asyncio.ensure_future(large(deliver, storage).deliver(claimed(bodies, bytes(60_000_000))))
        await asyncio.sleep(0.3)
        (connection,) = deliver._client._deadlines._open
        assert connection._transport is not None
        assert 0 < connection._transport.get_write_buffer_size() < 1_000_000
        assert await attempt == Unreachable("no answer within 0.5 s", "timeout")


async def test_a_connection_that_took_a_large_body_takes_the_next_webhook(storage: Storage, bodies: Path) -> None:
    async with delivering(says(OK)) as (deliver, server):
        assert await large(deliver, storage).deliver(claimed(bodies)) == Delivered(202)
        assert await deliver(envelope()) == Delivered(202)
        assert server.connections == 1


async def test_a_function_gets_all_of_it(storage: Storage, bodies: Path) -> None:
    got: list[Webhook] = []

    async def handle(webhook: Webhook) -> None:
        got.append(webhook)

    deliver = HandlerDelivery(handle, timeout_s=1, threads=1)
    assert await large(deliver, storage).deliver(claimed(bodies)) == Delivered()
    assert got[0].body == BODY
    remove(bodies)
    assert isinstance(await large(deliver, storage).deliver(claimed_without(bodies)), Unfetched)


def claimed_without(bodies: Path) -> Envelope:
    lost = claimed(bodies)
    remove(bodies)
    return lost


async def test_a_worker_without_a_storage_says_where_the_body_is(bodies: Path) -> None:
    outcome = await homeless(claimed(bodies))
    assert isinstance(outcome, Unfetched)
    assert "forebay/payments/github/1" in outcome.error


def test_a_body_that_can_not_be_had_is_tried_again_and_buried_with_the_reason() -> None:
    rules = policy(RetryPolicy(max_attempts=3), TIERS)
    again = decide(Unfetched("gone"), attempt=2, age=5, policy=rules, jitter=0.5)
    assert isinstance(again, RetryIn)
    end = decide(Unfetched("gone"), attempt=3, age=5, policy=rules, jitter=0.5)
    assert end == DeadLetter("body-unavailable", "no success in 3 attempts; the last one: gone")


# ------------------------------------------------------------------------------------------------------------ letting go


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_module, "_LOOK_S", 0.01)
    monkeypatch.setattr(claims_module, "GRACE_S", 0.1)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(("stale", "delete", "left"), [(False, True, 0), (True, True, 1), (False, False, 1)])
async def test_a_body_goes_only_when_the_broker_can_not_hand_it_out_again(
    storage: Storage, bodies: Path, stale: bool, delete: bool, left: int
) -> None:
    one = claimed(bodies)
    assert one.claim is not None
    async with delivering(says(OK)) as (deliver, _):
        claims = large(deliver, storage, delete=delete)
        message = Handed()
        work = asyncio.ensure_future(claims.run())
        claims.acknowledged(message, one.claim)
        await asyncio.sleep(0.03)
        assert remaining(bodies) == 1  # the broker may not know yet
        message.stale = stale
        await asyncio.sleep(0.2)
        assert remaining(bodies) == left
        work.cancel()


class Handed:
    """A message of a channel that lives or not."""

    stale = False


def remaining(bodies: Path) -> int:
    return len([path for path in bodies.rglob("*") if path.is_file()])


@pytest.mark.usefixtures("at_once")
async def test_a_storage_that_fails_to_delete_is_counted_and_the_next_one_goes(
    storage: Storage, bodies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = claimed(bodies)
    assert one.claim is not None
    delete, failures = storage.delete, [StorageError("unreachable", "down")]

    async def sometimes(key: str) -> None:
        if failures:
            raise failures.pop()
        await delete(key)

    monkeypatch.setattr(storage, "delete", sometimes)
    async with delivering(says(OK)) as (deliver, _):
        claims = large(deliver, storage)
        work = asyncio.ensure_future(claims.run())
        for _ in range(2):
            claims.acknowledged(Handed(), one.claim)
        await eventually(so(lambda: remaining(bodies) == 0))
        work.cancel()
