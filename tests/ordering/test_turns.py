"""One webhook of a key at a time, in order, in its place while it is tried again; other keys go on."""

import asyncio
from typing import Any

import pytest

from forebay.envelope import KEY_HEADER, Envelope, encode
from forebay.settings import RetryPolicy
from forebay.topology import TIERS, Names
from forebay_worker import ordered, retry
from forebay_worker.consume import Consumption
from forebay_worker.ordered import OrderedSettler, Sequence
from forebay_worker.outcome import Delivered, Outcome, Refused
from forebay_worker.retry import Ack, Decision, RetryIn
from forebay_worker.settle import Message, Settler
from tests.support.envelopes import envelope
from tests.support.memory_broker import Broker
from tests.support.waiting import eventually, so

LANE = "default:3"
NAMES = Names.of("payments/github")


class Witness:
    def __init__(self) -> None:
        self.told: list[tuple[str, int, Decision]] = []

    def attempted(self, one: Envelope, _: Outcome, decision: Decision, __: float) -> None:
        self.told.append((one.id, one.attempt, decision))

    def undecodable(self, *_: Any) -> None: ...

    def fault(self, error: Exception) -> None:
        raise error


class Case:
    """A worker of one lane, whose deliveries end when they are told to."""

    def __init__(self, *, hold: bool = False, attempts: int = 3) -> None:
        self.broker, self.witness = Broker(), Witness()
        self.under_way: dict[str, asyncio.Future[Outcome]] = {}
        self.waits: list[tuple[str | None, str | None]] = []  # who waits, and behind whom
        self.sequence = Sequence(self.hand_on, lambda who, behind: self.waits.append((who.message_id, behind)))
        settler = Settler(publisher=self.broker, names=NAMES, queue="default", unsettled=lambda _: None)
        settings = RetryPolicy(max_age_s=10**10, max_attempts=attempts, schedule_s=(1,))
        self.consumption = Consumption(
            self.deliver,
            OrderedSettler(settler=settler, sequence=self.sequence, hold=hold),
            retry.policy(settings, TIERS),
            self.witness,
            concurrency=4,
            deliver_claimed=self.deliver,
        )

    def hand_on(self, message: Message) -> None:
        self.consumption.on_message(message)

    async def deliver(self, one: Envelope) -> Outcome:
        self.under_way[one.id] = asyncio.get_running_loop().create_future()
        return await self.under_way[one.id]

    async def take(self, *ids: str) -> None:
        """Webhooks by their ids, of which the first letter is the key."""
        queue = NAMES.queue(LANE)
        for one in ids:
            self.broker.queues[queue].append(encode(envelope(id=one, key=one[0], queue=LANE)))
        while self.broker.queues[queue]:
            self.sequence.on_message(self.broker.deliver(queue))
        await turns()

    async def end(self, one: str, outcome: Outcome = Delivered(200)) -> None:  # noqa: B008  # frozen
        self.under_way.pop(one).set_result(outcome)
        await turns()


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def case() -> Case:
    return Case()


BUSY = Refused(503, "busy")


async def test_one_of_a_key_is_under_way_at_a_time_and_other_keys_are_beside_it(case: Case) -> None:
    await case.take("a1", "a2", "b1", "a3", "b2")
    assert set(case.under_way) == {"a1", "b1"}
    await case.end("b1")
    await case.end("a1")
    assert set(case.under_way) == {"a2", "b2"}
    for one in ("a2", "b2", "a3"):
        await case.end(one)
    assert case.broker.everywhere() == set()
    await case.take("a4")
    assert set(case.under_way) == {"a4"}
    await case.end("a4")


async def test_what_is_tried_again_keeps_its_place_and_its_attempts(case: Case) -> None:
    await case.take("a1", "a2", "b1")
    await case.end("a1", BUSY)
    await case.end("b1")
    assert case.under_way == {}
    assert case.sequence.resting == 1
    assert "delay" not in case.broker.queues  # it is in no tier: there it would be overtaken
    await eventually(so(lambda: "a1" in case.under_way), within_s=3)
    await case.end("a1")
    assert set(case.under_way) == {"a2"}
    assert [(one, attempt) for one, attempt, _ in case.witness.told] == [("a1", 1), ("b1", 1), ("a1", 2)]
    await case.end("a2")


async def test_it_is_told_who_waits_behind_one_that_is_tried_again_and_when_that_ends(case: Case) -> None:
    await case.take("a1", "a2", "b1", "b2")
    await case.end("b1")
    await case.end("b2")
    assert case.waits == []  # to wait until another one is delivered is nothing to tell
    await case.end("a1", BUSY)
    await case.take("a3")
    assert case.waits == [("a2", "a1"), ("a3", "a1")]
    await eventually(so(lambda: "a1" in case.under_way), within_s=3)
    await case.end("a1", BUSY)
    assert len(case.waits) == 2  # it was told of both
    await eventually(so(lambda: "a1" in case.under_way), within_s=3)
    await case.take("a4")
    await case.end("a1")
    assert case.waits[2:] == [("a2", None)]
    for one in ("a2", "a3", "a4"):
        await case.end(one)
    assert case.waits[3:] == [("a3", None)]
    assert [decision for one, _, decision in case.witness.told if one == "a1"] == [
        RetryIn(1, in_place=True), RetryIn(1, in_place=True), Ack()
    ]  # fmt: skip


async def test_the_next_of_a_key_goes_on_when_one_is_a_dead_letter() -> None:
    case = Case(attempts=1)
    await case.take("a1", "a2")
    await case.end("a1", BUSY)
    assert set(case.under_way) == {"a2"}
    assert [message.message_id for message in case.broker.queues[NAMES.dead]] == ["a1"]
    await case.end("a2")


async def test_with_hold_what_would_be_a_dead_letter_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered, "HOLD_S", 1)
    case = Case(hold=True, attempts=1)
    await case.take("a1", "a2", "b1")
    await case.end("a1", BUSY)
    await case.end("b1")
    assert (case.sequence.resting, case.sequence.held) == (1, 1)
    assert case.broker.queues[NAMES.dead] == []
    assert case.witness.told[0][2] == RetryIn(1, in_place=True, held=True)
    await eventually(so(lambda: "a1" in case.under_way), within_s=3)
    assert case.sequence.held == 0
    await case.end("a1")
    assert set(case.under_way) == {"a2"}
    await case.end("a2")


async def test_after_a_loss_of_the_connection_each_key_begins_anew(case: Case) -> None:
    await case.take("a1", "a2", "b1", "b2")
    await case.end("a1", BUSY)  # a1 rests, b1 is under way
    case.broker.lose_channel()
    await case.take()
    assert "a1" in case.under_way  # at once: what it was before is forgotten
    assert "b2" not in case.under_way  # the first b1 is still under way
    first = case.under_way.pop("b1")
    first.set_result(Delivered(200))
    await turns()
    assert "b1" in case.under_way
    for one in ("a1", "b1", "a2", "b2"):
        await case.end(one)
    assert case.broker.everywhere() == set()


async def test_what_may_not_be_delivered_now_is_not_overtaken(case: Case) -> None:
    queue = NAMES.queue(LANE)
    case.broker.queues[queue] += [encode(envelope(id=one, key="a", queue=LANE)) for one in ("a1", "a2")]
    handed: list[Message] = []
    sequence = Sequence(handed.append)
    sequence.on_message(case.broker.deliver(queue))
    sequence.on_message(case.broker.deliver(queue))
    handed.pop().give_back()
    assert handed == []
    await eventually(so(lambda: len(handed) == 1), within_s=3)
    assert handed[0].message_id == "a1"
    case.broker.lose_channel()
    handed.pop().give_back()
    for _ in range(2):
        sequence.on_message(case.broker.deliver(queue))
    assert [message.message_id for message in handed] == ["a1"]


async def test_a_stopping_worker_gives_back_nothing_of_a_lane(case: Case) -> None:
    await case.take("a1", "a2", "b1", "c1")
    await case.end("c1", BUSY)
    draining = asyncio.ensure_future(case.consumption.drain(5))
    await turns()
    await case.end("a1")
    await case.end("b1")
    assert await draining == 0
    assert case.broker.handed_back == []
    assert case.under_way == {}
    assert case.broker.everywhere() == {"a2", "c1"}


async def test_a_message_that_says_no_key_waits_for_nothing(case: Case) -> None:
    queue = NAMES.queue()
    for one in ("1", "2"):
        case.broker.queues[queue].append(encode(envelope(id=one)))
        case.sequence.on_message(case.broker.deliver(queue))
    strange = encode(envelope(id="3"))
    strange.headers[KEY_HEADER] = 7
    case.broker.queues[queue].append(strange)
    case.sequence.on_message(case.broker.deliver(queue))
    await turns()
    assert set(case.under_way) == {"1", "2"}
    assert [message.message_id for message in case.broker.queues[NAMES.dead]] == ["3"]  # it is no envelope
    await case.end("1", BUSY)
    assert [message.message_id for message in case.broker.queues["delay"]] == ["1"]
    await case.end("2")
