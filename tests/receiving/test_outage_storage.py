"""An outage buffer in S3 that fails itself: slow, 500, connections cut in the middle. 503, or durable and queued; never a 2xx for nothing."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from forebay.settings import OutageBuffer
from forebay_ingest.segments import FOLDER
from tests.receiving.endpoint import Endpoint, request
from tests.receiving.outages import Opener, accepted, answers, away, back, bodies, cause, outage, webhook
from tests.support.gateway import CREDENTIALS, Gateway, s3
from tests.support.proxy import PASS, Fate, Proxy, proxy
from tests.support.waiting import eventually, so

pytestmark = pytest.mark.usefixtures("soon")
FAILS = Fate(answer=(500, "<Error/>"))


@pytest.fixture
async def front(s3_server: Gateway) -> AsyncIterator[Proxy]:
    """A proxy before the S3 server."""
    async with proxy(s3_server.url, keeps_host=True) as one:
        yield one


@pytest.fixture
def sheltered(endpoint: Opener) -> Opener:
    """An endpoint with an outage buffer in S3 behind this URL."""

    def opened(url: str, replica: str = "one", **storage: Any) -> Any:
        given = s3(url, **{"put_s": 1.0, **storage})
        return endpoint(storage=given, credentials=CREDENTIALS, outage_buffer=OutageBuffer(), replica=replica)

    return opened


def segments(server: Gateway) -> list[Path]:
    return [path for path in server.objects() if FOLDER in path.parts and path.name != "lease"]


def of_segments(fate: Fate, *methods: str) -> Any:
    """This for requests about segments, by these methods; leases and listings pass."""
    return lambda found: fate if found.method in methods and found.path.count("-") > 5 else PASS


async def all_queued(it: Endpoint, server: Gateway, *numbers: int) -> None:
    """Until just these are queued, in this order, and nothing is left."""
    await eventually(so(lambda: bodies(it) == list(numbers)), every_s=0.01)
    await eventually(so(lambda: not segments(server)), every_s=0.02)


async def refused(it: Endpoint, number: int) -> None:
    (answer,) = await answers(it, webhook(number))
    assert (answer.status, cause(answer)) == (503, "storage")
    assert answer.headers["retry-after"]


async def test_object_storage_keeps_webhooks_as_a_folder_does(sheltered: Opener, s3_server: Gateway) -> None:
    async with outage(sheltered(s3_server.url)) as it:
        await accepted(it, 1)
        await accepted(it, 2, 3)
        back(it)
        await all_queued(it, s3_server, 0, 1, 2, 3)
        away(it)
        await accepted(it, 4)
    async with sheltered(s3_server.url, "two") as it:
        await all_queued(it, s3_server, 4)
        await eventually(so(lambda: not s3_server.objects()), every_s=0.02)


async def test_a_slow_storage_is_waited_for_and_the_2xx_comes_when_it_has_the_webhook(
    sheltered: Opener, front: Proxy, s3_server: Gateway
) -> None:
    async with outage(sheltered(front.url)) as it:
        front.fate = of_segments(Fate(delay_s=0.4), "PUT")
        began = asyncio.get_running_loop().time()
        await accepted(it, 1)
        assert len(segments(s3_server)) == 1
        assert asyncio.get_running_loop().time() - began >= 0.4
        back(it)
        await all_queued(it, s3_server, 0, 1)


async def test_one_that_is_too_slow_is_503(sheltered: Opener, front: Proxy, s3_server: Gateway) -> None:
    async with outage(sheltered(front.url, put_s=0.3)) as it:
        front.fate = of_segments(Fate(delay_s=3), "PUT")
        await refused(it, 1)
        assert it.metric("forebay_outage_buffer_failures_total", cause="unreachable") == 1
        front.fate = lambda _: PASS
        await accepted(it, 2)
        back(it)
        await all_queued(it, s3_server, 0, 2)


async def test_a_500_that_passes_costs_nobody_the_2xx(sheltered: Opener, front: Proxy, s3_server: Gateway) -> None:
    async with outage(sheltered(front.url, put_s=5.0)) as it:
        fates = [FAILS, Fate(hang_up=True)]
        front.fate = lambda found: fates.pop() if fates and found.method == "PUT" else PASS
        await accepted(it, 1)
        assert len(segments(s3_server)) == 1
        back(it)
        await all_queued(it, s3_server, 0, 1)


async def test_a_storage_that_only_fails_is_503_and_taken_again_when_it_is_well(
    sheltered: Opener, front: Proxy, s3_server: Gateway
) -> None:
    async with outage(sheltered(front.url)) as it:
        front.fate = of_segments(FAILS, "PUT")
        await refused(it, 1)
        assert not segments(s3_server)
        front.fate = lambda _: PASS
        await accepted(it, 2)
        back(it)
        await all_queued(it, s3_server, 0, 2)


async def test_a_put_that_is_cut_in_the_middle_is_503_and_leaves_nothing(sheltered: Opener, s3_server: Gateway) -> None:
    async with cutting(s3_server.port) as line, outage(sheltered(line.url)) as it:
        line.cut_after = 30_000
        (answer,) = await answers(it, request(b'{"n": 1, "rest": "%b"}' % (b"x" * 60_000)))
        assert answer.status == 503
        assert line.cuts
        assert not segments(s3_server)
        line.cut_after = None
        await accepted(it, 2)
        back(it)
        await all_queued(it, s3_server, 0, 2)


async def test_a_put_whose_answers_are_lost_is_503_and_queued_all_the_same(
    sheltered: Opener, front: Proxy, s3_server: Gateway
) -> None:
    """Nobody knows that it is there, until it is found; the provider sends it again, and it comes twice."""

    async def unheard() -> bool:
        return False

    async with outage(sheltered(front.url)) as it:
        front.end = unheard
        await refused(it, 1)
        front.end = None
        assert len(segments(s3_server)) == 1
        back(it)
        await all_queued(it, s3_server, 0, 1)


@pytest.mark.parametrize("fate", [FAILS, Fate(hang_up=True), Fate(line_cut=True)], ids=["500", "hang up", "cut"])
async def test_what_can_not_be_read_now_is_queued_when_it_can(
    sheltered: Opener, front: Proxy, s3_server: Gateway, fate: Fate
) -> None:
    async with outage(sheltered(front.url)) as it:
        await accepted(it, 1)
        await accepted(it, 2)
        front.fate = of_segments(fate, "GET")
        back(it)
        await eventually(
            so(lambda: it.metric("forebay_outage_buffer_failures_total", cause="unreachable")), within_s=20
        )
        assert bodies(it) == [0]
        assert len(segments(s3_server)) == 2
        front.fate = lambda _: PASS
        await all_queued(it, s3_server, 0, 1, 2)


async def test_whatever_the_storage_does_a_2xx_is_queued_in_the_end_and_in_order(
    sheltered: Opener, front: Proxy, s3_server: Gateway
) -> None:
    dice = random.Random(8)
    fates = [PASS, PASS, PASS, FAILS, Fate(hang_up=True), Fate(delay_s=0.1), Fate(held_s=0.1), Fate(line_cut=True)]

    async def heard() -> bool:
        return dice.random() > 0.2

    async with outage(sheltered(front.url)) as it:
        front.fate, front.end = lambda _: dice.choice(fates), heard
        taken = [0]
        for number in range(1, 25):
            (answer,) = await answers(it, webhook(number))
            assert answer.status == 202 or (answer.status, cause(answer)) == (503, "storage")
            taken += [number] if answer.status == 202 else []
        front.fate, front.end = lambda _: PASS, None
        back(it)
        await eventually(so(lambda: set(taken) <= set(bodies(it)) and not segments(s3_server)), within_s=20)
        firsts = [number for number in dict.fromkeys(bodies(it)) if number in taken]
        assert firsts == taken
        assert len(taken) > 5


# ------------------------------------------------------------------------------------------------ a line that breaks


class Line:
    """A TCP line to a server, which breaks when a connection has carried so many bytes to it."""

    def __init__(self, server: int) -> None:
        self.cut_after: int | None = None
        self.cuts = 0
        self.url = ""
        self._server = server

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._server)
        there = asyncio.create_task(self._pass(reader, to_writer, counted=True))
        here = asyncio.create_task(self._pass(to_reader, writer, counted=False))
        _, left = await asyncio.wait({there, here}, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()
        for end in (writer, to_writer):
            end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        carried = 0
        while data := await reader.read(4096):
            carried += len(data)
            if counted and self.cut_after is not None and carried > self.cut_after:
                self.cuts += 1
                return
            writer.write(data)


@asynccontextmanager
async def cutting(server: int) -> AsyncIterator[Line]:
    """A line to the server at this port of loopback."""
    line = Line(server)
    async with await asyncio.start_server(line.carry, "127.0.0.1", 0) as listening:
        line.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield line
