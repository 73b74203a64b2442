"""Who may send, and how fast: each answer over a real socket, and the counting by itself with a clock of the test's."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from forebay.settings import Guarding
from forebay.topology import RateLimit
from forebay_ingest import answers, rates
from forebay_ingest.guard import Guard
from forebay_ingest.rates import Bucket, Buckets
from tests.receiving.endpoint import request

SLOW = RateLimit(requests=1, per_s=3600.0, burst=2)
PROXIES = ("10.0.0.0/8", "fd00::/8", "127.0.0.1/32")


def head(*forwarded: str) -> Any:
    return SimpleNamespace(headers=CIMultiDict([("X-Forwarded-For", value) for value in forwarded]))


async def test_a_client_beyond_its_rate_gets_429_and_when_to_come_again(endpoint: Callable[..., Any]) -> None:
    async with endpoint(guarding=Guarding(client_limit=SLOW)) as it, it.client() as client:
        await client.send(request() * 3)
        replies = await client.answers(3)
        assert [reply.status for reply in replies] == [202, 202, 429]
        assert int(replies[2].headers["retry-after"]) >= 1
        assert it.metric("forebay_ingest_refused_total", cause="rate-limited", status="429") == 1
        assert len(it.broker.published) == 2


async def test_clients_behind_a_trusted_proxy_are_told_apart_on_one_connection(endpoint: Callable[..., Any]) -> None:
    guarding = Guarding(client_limit=SLOW, trusted_proxies=("127.0.0.0/8",))
    async with endpoint(guarding=guarding) as it, it.client() as client:
        for address in ("192.0.2.1", "192.0.2.2"):
            await client.send(request(b"{}", f"X-Forwarded-For: 203.0.113.9, {address}") * 3)
        assert [reply.status for reply in await client.answers(6)] == [202, 202, 429, 202, 202, 429]
        assert {one.properties.headers["forebay-client"] for one in it.broker.published} == {"192.0.2.1", "192.0.2.2"}


async def test_what_a_stranger_says_of_himself_is_not_believed(endpoint: Callable[..., Any]) -> None:
    guarding = Guarding(allowed_clients=("192.0.2.0/24",), trusted_proxies=("10.0.0.0/8",))
    async with endpoint(guarding=guarding) as it, it.client() as client:
        await client.send(request(b"{}", "X-Forwarded-For: 192.0.2.1"))
        (reply,) = await client.answers(1)
        assert reply.status == 403
        assert not it.broker.published


async def test_only_webhooks_that_verify_count_towards_the_rate_of_the_source(endpoint: Callable[..., Any]) -> None:
    async with endpoint(rate_limit=SLOW) as it, it.client() as client:
        await client.send(request(secret=b"wrong") * 2 + request() * 2 + request(secret=b"wrong") * 5 + request())
        statuses = [reply.status for reply in await client.answers(10)]
        assert statuses == [401] * 2 + [202, 202] + [401] * 5 + [429]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (b"10.0.0.1", ("192.0.2.1",), b"192.0.2.1"),
        (b"10.0.0.1", ("198.51.100.1, 192.0.2.1",), b"192.0.2.1"),  # the first is the client's own word
        (b"10.0.0.1", ("192.0.2.1, 10.9.9.9",), b"192.0.2.1"),  # through two proxies
        (b"10.0.0.1", ("192.0.2.1", "10.9.9.9"), b"192.0.2.1"),  # each adding a header of its own
        (b"10.0.0.1", ("10.1.1.1, 10.2.2.2",), b"10.1.1.1"),
        (b"10.0.0.1", ("192.0.2.1:4711",), b"192.0.2.1"),
        (b"10.0.0.1", ("[2001:db8::1]:4711",), b"2001:db8::1"),
        (b"10.0.0.1", ("192.0.2.1, rubbish",), b"10.0.0.1"),
        (b"10.0.0.1", ("",), b"10.0.0.1"),
        (b"10.0.0.1", (), b"10.0.0.1"),
        (b"::ffff:10.0.0.1", ("192.0.2.1",), b"192.0.2.1"),
        (b"192.0.2.7", ("192.0.2.1",), b"192.0.2.7"),
        (b"?", ("192.0.2.1",), b"?"),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(
    peer: bytes, forwarded: tuple[str, ...], client: bytes
) -> None:
    assert Guard(Guarding(trusted_proxies=PROXIES)).client_of(head(*forwarded), peer) == client


def test_whoever_has_a_64_of_ipv6_is_one_client() -> None:
    guard = Guard(Guarding(client_limit=SLOW), clock=lambda: 0.0)
    assert [guard.check(b"2001:db8::%d" % number) for number in range(3)] == [None, None, answers.RATE_LIMITED]
    assert guard.check(b"2001:db8:0:1::1") is None
    assert [guard.check(peer) for peer in (b"192.0.2.1", b"::ffff:192.0.2.1", b"192.0.2.1")][2] is answers.RATE_LIMITED


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 100), max_size=200), st.integers(1, 20), st.integers(1, 10), st.floats(0.5, 20))
def test_no_span_of_time_sees_more_than_burst_and_rate(
    moments: list[float], requests: int, burst: int, per_s: float
) -> None:
    limit = RateLimit(requests=requests, per_s=per_s, burst=burst)
    bucket, admitted = Bucket(limit), list[float]()
    for moment in sorted(moments):
        allowed = burst + (moment - admitted[0]) * limit.rate if admitted else burst
        if bucket.admit(moment):
            admitted.append(moment)
            assert len(admitted) <= allowed + 1e-3
        else:
            assert len([one for one in admitted if moment - one < burst / limit.rate]) >= burst - 1


def test_clients_who_are_silent_are_forgotten_and_a_flood_of_them_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MAX_CLIENTS", 100)
    buckets = Buckets(RateLimit(requests=1, per_s=10.0, burst=1))
    assert all(buckets.admit(b"%d" % number, 5.0) for number in range(100))
    assert [buckets.admit(b"new %d" % number, 5.0) for number in range(3)] == [True, False, False]
    assert len(buckets) == 100
    assert buckets.admit(b"later", 20.0)
    assert len(buckets) == 1
