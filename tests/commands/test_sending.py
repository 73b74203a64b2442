"""How webhooks are sent: all of them, at the pace that was asked for, and every answer counted."""

import asyncio
import os
import time
from collections.abc import Iterator

import pytest

from forebay import manifest as manifests
from forebay_cli.given import sampler_of
from forebay_cli.sampling import Moment, Sample
from forebay_cli.sending import Tally, send
from tests.support.destination import Answer, destination, in_turn, resets, says
from tests.support.sources import manifest

OK = says(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
PROBLEM = b'{"title": "Unauthorized", "detail": "The signature does not verify."}'
REFUSED = says(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n" % len(PROBLEM), PROBLEM)
ODD = says(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 10\r\n\r\n<h1>\n\nno\xff\n")


def samples(count: int) -> Iterator[Sample]:
    sampler = sampler_of(manifests.read_source(manifest()), b"secret")
    return (sampler.sample(Moment(number=n, now=time.time(), seed=os.urandom(8))) for n in range(count))


async def sent(answer: Answer, count: int = 1, concurrency: int = 1, rate: float | None = None) -> tuple[Tally, int]:
    seen: list[None] = []
    async with destination(answer) as target:
        url = f"http://127.0.0.1:{target.port}/hook?a=%2F"
        tally = await send(url, samples(count), concurrency=concurrency, rate=rate, sent=lambda: seen.append(None))
        assert len(seen) == tally.sent == count
        assert {request.line for request in target.requests} == {"POST /hook?a=%2F HTTP/1.1"}
        return tally, target.connections


async def test_every_answer_is_counted_by_its_status_and_explained_once() -> None:
    tally, _ = await sent(in_turn(OK, REFUSED, REFUSED, ODD, OK), 5)
    assert tally.statuses == {202: 2, 401: 2, 502: 1}
    assert tally.accepted == 2
    assert tally.explanations == {401: "The signature does not verify.", 502: "<h1> no�"}


async def test_no_answer_is_counted_by_its_cause() -> None:
    tally, _ = await sent(resets)
    assert tally.accepted == 0
    assert tally.errors.total() == 1


async def test_a_closed_port_is_no_traceback() -> None:
    tally = await send("http://127.0.0.1:1/", samples(3), concurrency=2, rate=None, sent=lambda: None)
    assert tally.sent == 3
    assert "refused" in next(iter(tally.errors)).lower()


async def test_no_more_than_so_many_are_under_way() -> None:
    _, connections = await sent(OK, 40, concurrency=4)
    assert connections <= 4


async def test_a_rate_is_kept_however_many_send() -> None:
    began = asyncio.get_running_loop().time()
    await sent(OK, 21, concurrency=8, rate=100)
    assert asyncio.get_running_loop().time() - began >= 0.2


@pytest.mark.parametrize(
    ("latencies", "share", "value"), [([], 0.5, 0.0), ([3.0, 1.0, 2.0], 0.5, 2.0), ([1.0], 0.99, 1.0)]
)
def test_quantiles_are_of_what_was_answered(latencies: list[float], share: float, value: float) -> None:
    assert Tally(latencies=latencies).quantile(share) == value
