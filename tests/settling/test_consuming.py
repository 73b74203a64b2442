"""Slots: how many messages are under way, what waits, and what becomes of both when the worker stops."""

import asyncio
from typing import Any

import pytest

from forebay.envelope import AmqpMessage, Envelope, encode
from forebay.settings import RetryPolicy
from forebay.topology import TIERS, Names
from forebay_worker import consume, retry
from forebay_worker.claims import homeless
from forebay_worker.consume import Admit, Consumption
from forebay_worker.outcome import Delivered, Failed, Outcome
from forebay_worker.settle import Settler
from tests.support.envelopes import envelope
from tests.support.memory_broker import Broker
from tests.support.waiting import eventually

NAMES = Names.of("payments/github")
QUEUE = NAMES.queue()


class Witness:
    def __init__(self) -> None:
        self.told: list[tuple[str, Outcome]] = []
        self.errors: list[str] = []
        self.faults: list[Exception] = []

    def attempted(self, one: Envelope, outcome: Outcome, *_: Any) -> None:
        self.told.append((one.id, outcome))

    def undecodable(self, _: object, error: str) -> None:
        self.errors.append(error)

    def fault(self, error: Exception) -> None:
        self.faults.append(error)


class Case:
    """A consumption whose deliveries end when they are told to."""

    def __init__(self, concurrency: int = 2, admit: Admit | None = None) -> None:
        self.broker, self.witness = Broker(), Witness()
        self.under_way: dict[str, asyncio.Future[Outcome]] = {}
        settler = Settler(publisher=self.broker, names=NAMES, queue="default", unsettled=lambda _: None)
        policy = retry.policy(RetryPolicy(max_age_s=10**10), TIERS)
        self.worker = Consumption(
            self.deliver, settler, policy, self.witness, concurrency=concurrency, admit=admit, deliver_claimed=homeless
        )

    async def deliver(self, one: Envelope) -> Outcome:
        self.under_way[one.id] = asyncio.get_running_loop().create_future()
        return await self.under_way[one.id]

    async def take(self, *ids: str) -> None:
        for one in ids:
            self.broker.queues[QUEUE].append(encode(envelope(id=one, received_at=1_790_000_000_000 + int(one))))
            self.worker.on_message(self.broker.deliver(QUEUE))
        await self.turn()

    async def end(self, one: str, outcome: Outcome = Delivered(200)) -> None:  # noqa: B008  # frozen
        self.under_way.pop(one).set_result(outcome)
        await self.turn()

    async def turn(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
def case() -> Case:
    return Case()


async def test_what_comes_beyond_the_concurrency_waits_its_turn(case: Case) -> None:
    await case.take("1", "2", "3", "4")
    assert set(case.under_way) == {"1", "2"}
    assert case.worker.in_flight == 2
    await case.end("2")
    assert set(case.under_way) == {"1", "3"}
    for one in ("1", "3", "4"):
        await case.end(one)
    assert case.worker.in_flight == 0
    assert case.broker.everywhere() == set()


async def test_a_slot_that_became_free_is_used_again(case: Case) -> None:
    for one in range(20):
        await case.take(str(one))
        await case.end(str(one))
    assert len(case.witness.told) == 20
    assert case.worker.in_flight == 0


async def test_the_oldest_age_is_that_of_the_oldest_first_attempt(case: Case) -> None:
    assert case.worker.oldest_age(1_790_000_100) == 0
    await case.take("5000", "2000")
    assert case.worker.oldest_age(1_790_000_100) == 98
    await case.end("2000")
    assert case.worker.oldest_age(1_790_000_100) == 95
    case.broker.queues[QUEUE].append(encode(envelope(id="retried", attempts_made=1, received_at=1_700_000_000_000)))
    case.worker.on_message(case.broker.deliver(QUEUE))
    await case.turn()
    assert case.worker.oldest_age(1_790_000_100) == 95  # what is tried again is old by its nature
    await case.end("retried")
    await case.end("5000")
    assert case.worker.oldest_age(1_790_000_100) == 0


async def test_what_waits_is_not_delivered_once_its_channel_is_gone(case: Case) -> None:
    await case.take("1", "2", "3")
    case.broker.lose_channel()
    await case.end("1")
    assert "3" not in case.under_way
    assert case.broker.everywhere() == {"1", "2", "3"}  # all of them come again


async def test_a_stopping_worker_gives_back_what_waits_and_ends_what_is_under_way(case: Case) -> None:
    await case.take("1", "2", "3", "4")
    draining = asyncio.ensure_future(case.worker.drain(5))
    await case.turn()
    assert case.broker.handed_back == ["3", "4"]
    await case.take("5")
    assert len(case.broker.handed_back) == 3  # what comes late goes back too
    await case.end("1")
    await case.end("2")
    assert await draining == 0
    assert {one for one, _ in case.witness.told} == {"1", "2"}
    assert case.broker.everywhere() == {"3", "4", "5"}


async def test_a_worker_whose_time_is_over_leaves_the_rest_to_the_broker(case: Case) -> None:
    await case.take("1", "2")
    assert await case.worker.drain(0.01) == 2
    assert case.broker.everywhere() == {"1", "2"}
    assert case.witness.told == []


async def test_a_limit_cuts_nothing_and_keeps_what_waits_in_hand(case: Case) -> None:
    await case.take("1", "2", "3")
    case.worker.limit(0)
    await case.end("1")
    await case.end("2")
    await case.take("4")  # it was on its way already
    assert (case.worker.in_flight, case.worker.in_hand, case.under_way) == (0, 2, {})
    assert case.broker.handed_back == []
    case.worker.limit(1)
    await case.turn()
    assert set(case.under_way) == {"3"}
    case.worker.limit(2)
    await case.turn()
    assert set(case.under_way) == {"3", "4"}


async def test_it_is_told_when_what_was_in_hand_is_worked_off(case: Case) -> None:
    told: list[int] = []
    await case.take("1", "2", "3", "4")
    case.worker.when_worked_off(lambda: told.append(case.worker.in_flight))
    await case.end("1")
    assert told == []
    await case.end("2")
    await case.end("3")
    assert told == [1]
    await case.end("4")
    assert told == [1]  # once


async def test_a_limit_that_is_set_when_an_attempt_ends_keeps_the_next_one_from_being_made(case: Case) -> None:
    case.worker.ended = lambda *_: case.worker.limit(0)
    await case.take("1", "2", "3", "4")
    await case.end("1", Failed("no"))
    assert set(case.under_way) == {"2"}
    assert case.worker.in_hand == 2


async def test_an_idle_worker_stops_at_once(case: Case) -> None:
    assert await case.worker.drain(60) == 0


async def test_a_fault_of_ours_in_an_attempt_is_a_failed_attempt(case: Case) -> None:
    await case.take("1")
    case.under_way["1"].set_exception(RuntimeError("a bug"))
    await eventually(lambda: _is(case.witness.told))
    ((_, outcome),) = case.witness.told
    assert outcome == Failed("Forebay could not make the attempt: RuntimeError: a bug")
    assert len(case.broker.queues["delay"]) == 1
    assert [repr(error) for error in case.witness.faults] == ["RuntimeError('a bug')"]


async def test_a_fault_of_ours_in_settling_gives_the_message_back(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consume, "PAUSE_AFTER_FAULT", 0.01)

    def bug(_: str) -> None:
        raise ZeroDivisionError

    case.broker.fate = bug
    await case.take("1")
    await case.end("1", Failed("no"))
    await eventually(lambda: _is(case.broker.handed_back == ["1"]))
    await eventually(lambda: _is(case.worker.in_flight == 0))
    assert case.broker.everywhere() == {"1"}


async def test_a_message_that_is_no_envelope_takes_no_attempt(case: Case) -> None:
    case.broker.queues[QUEUE].append(AmqpMessage(message_id="m", timestamp=0, content_type=None, headers={}, body=b"x"))
    case.worker.on_message(case.broker.deliver(QUEUE))
    await eventually(lambda: _is(case.witness.errors))
    assert case.under_way == {}
    assert len(case.broker.queues[NAMES.dead]) == 1
    assert case.broker.unacknowledged == {}


async def _is(value: object) -> object:
    return value
