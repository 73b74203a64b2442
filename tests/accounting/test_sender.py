"""What the provider of a fault run writes down for each way in which a request can end."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from bench.faults import webhooks
from bench.faults.ledger import Answer as Known
from bench.faults.ledger import Ledger
from bench.faults.sender import Load
from tests.support.destination import Answer, Request, destination, in_turn, resets, says, then_closes

ACCEPTED = says(b"HTTP/1.1 202 Accepted\r\nX-Forebay-Id: one\r\nContent-Length: 2\r\n\r\nok")
PROBLEM = b'{"type": "https://forebay.dev/problems/busy"}'
BUSY = says(b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: %d\r\n\r\n" % len(PROBLEM) + PROBLEM)


async def resets_hard(request: Request, writer: asyncio.StreamWriter) -> None:
    """A RST, as from a process that was killed with requests unread."""
    linger_not = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
    await resets(request, writer)


async def outcome(answer: Answer, holds: Callable[[Ledger], object]) -> Ledger:
    """The ledger of a load on an endpoint that answers so, as soon as something holds."""
    ledger = Ledger("cafe")
    async with destination(answer) as endpoint:
        load = Load(ledger, lambda: [("127.0.0.1", endpoint.port)], path="/hook", rate=200, connections=2)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(load.run())
            while not holds(ledger):
                await asyncio.sleep(0.01)
            load.stop()
    return ledger


async def test_a_2xx_is_an_acknowledgment_with_forebays_id() -> None:
    ledger = await outcome(ACCEPTED, lambda ledger: ledger.answers[Known.ACKED] >= 5)
    assert {entry.event_id for entry in ledger.entries()} == {"one"}
    assert set(ledger.answers) == {Known.ACKED}


async def test_a_503_is_a_refusal_with_its_cause() -> None:
    ledger = await outcome(BUSY, lambda ledger: ledger.refused[503] >= 3)
    assert ledger.said == {"busy"}
    assert (ledger.impolite, ledger.answers[Known.ACKED]) == (0, 0)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (resets_hard, "reset"),
        (then_closes(says(b"")), "closed"),
        (then_closes(says(b"HTTP/1.1 202 Acc")), "cut short"),
        (then_closes(says(b"HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\nhalf")), "cut short"),
    ],
)
async def test_without_a_whole_answer_nothing_is_known(answer: Answer, what: str) -> None:
    ledger = await outcome(answer, lambda ledger: ledger.answers[Known.UNKNOWN] >= 2)
    assert ledger.said == {what}
    assert ledger.answers[Known.ACKED] == 0


async def test_a_lost_connection_is_followed_by_a_new_one() -> None:
    ledger = await outcome(in_turn(resets, ACCEPTED), lambda ledger: ledger.answers[Known.ACKED] >= 5)
    assert ledger.answers[Known.UNKNOWN] >= 1


async def test_every_webhook_is_signed_numbered_and_sent_once() -> None:
    seen: list[Request] = []

    def noting(then: Answer) -> Callable[[Request, asyncio.StreamWriter], Awaitable[None]]:
        async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
            seen.append(request)
            await then(request, writer)

        return answer

    ledger = await outcome(noting(ACCEPTED), lambda ledger: ledger.answers[Known.ACKED] >= 20)
    numbers = [webhooks.number_of("cafe", request.body) for request in seen]
    assert sorted(number for number in numbers if number is not None) == list(range(len(ledger)))
    assert all(request.header("x-hub-signature-256") == webhooks.signature(request.body) for request in seen)


async def test_nobody_to_connect_to_is_no_webhook_sent() -> None:
    ledger = Ledger("cafe")
    load = Load(ledger, lambda: [("127.0.0.1", 1)], path="/hook", rate=200, connections=1)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(load.run())
        while ledger.unreachable.total() < 3:
            await asyncio.sleep(0.01)
        load.stop()
    assert len(ledger) == 0
    assert set(ledger.unreachable) == {"ConnectionRefusedError"}


def test_a_body_that_was_changed_has_no_number() -> None:
    body = webhooks.body("cafe", 12)
    assert webhooks.number_of("cafe", body) == 12
    assert webhooks.number_of("beef", body) is None
    assert webhooks.number_of("cafe", body[:-1]) is None
    assert webhooks.number_of("cafe", body + b" ") is None
