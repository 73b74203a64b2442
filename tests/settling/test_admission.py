"""A message waits for a permit before its attempt, and goes back where there is none for long."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.bucket import Bucket
from forebay_worker.permit import Admission, Over, ahead
from tests.settling.test_consuming import QUEUE, Case


class Tap:
    """Permits that a test hands out, and an intake that writes down what it is told."""

    def __init__(self) -> None:
        self.waiters: deque[asyncio.Future[bool]] = deque()
        self.told: list[str] = []
        self.waited: list[float] = []

    async def take(self, group: Hashable = None) -> bool:
        self.waiters.append(asyncio.get_running_loop().create_future())
        return await self.waiters[-1]

    def give(self) -> None:
        while (waiter := self.waiters.popleft()).done():
            pass
        waiter.set_result(True)

    async def stop_consuming(self) -> None:
        self.told.append("stop")

    def resume_consuming(self) -> None:
        self.told.append("resume")

    def admission(self, **changes: float) -> Admission:
        return Admission(None, self, lambda: self, self.waited.append, **changes)


def paced(tap: Tap, **changes: float) -> tuple[Case, Admission]:
    admission = tap.admission(**changes)
    case = Case(concurrency=2, admit=admission)
    return case, admission


async def test_no_attempt_begins_without_a_permit() -> None:
    tap = Tap()
    case, _ = paced(tap)
    await case.take("1", "2", "3")
    assert (case.under_way, case.worker.in_flight) == ({}, 2)
    tap.give()
    await case.turn()
    assert set(case.under_way) == {"1"}
    assert len(tap.waited) == 1
    await case.end("1")
    assert len(tap.waiters) == 2  # the slot that is free waits for the next one


async def test_what_finds_no_permit_goes_back_unattempted_and_nothing_is_taken_until_there_is_one() -> None:
    tap = Tap()
    case, admission = paced(tap, patience=0.01)
    await case.take("1")
    while case.worker.in_flight:
        await asyncio.sleep(0.005)
    assert (tap.told, admission.resting, case.under_way) == (["stop"], True, {})
    assert [one.message_id for one in case.broker.queues[QUEUE]] == ["1"]
    tap.give()
    await case.turn()
    assert (tap.told, admission.resting) == (["stop", "resume"], False)
    case.worker.on_message(case.broker.deliver(QUEUE))
    await case.turn()
    assert set(case.under_way) == {"1"}  # by the permit that was in hand


async def test_what_waits_for_a_permit_is_given_back_at_the_end_at_once() -> None:
    tap = Tap()
    case, _ = paced(tap)
    await case.take("1", "2", "3")
    for waiter in tap.waiters:
        waiter.set_result(False)
    assert await case.worker.drain(5.0) == 0
    assert len(case.broker.queues[QUEUE]) == 3
    assert case.witness.told == []


async def test_a_permit_that_comes_in_a_hold_is_spent_and_the_attempt_is_not() -> None:
    tap = Tap()
    case, _ = paced(tap)
    await case.take("1", "2")
    case.worker.limit(1)
    tap.give()
    await case.turn()
    assert (case.under_way, case.worker.in_flight, case.worker.in_hand) == ({}, 1, 1)
    tap.give()
    await case.turn()
    assert set(case.under_way) == {"2"}  # one at a time
    case.worker.limit(0)
    await case.end("2")
    assert (case.worker.in_flight, case.worker.in_hand, len(case.broker.handed_back)) == (0, 1, 0)


class Slots:
    """Slots that a test hands out."""

    def __init__(self, free: int) -> None:
        self.free = free

    async def take(self, group: Hashable = None) -> Over | None:
        while not self.free:
            await asyncio.sleep(0)
        self.free -= 1
        return self.give_back

    def give_back(self) -> None:
        self.free += 1


async def test_a_slot_goes_back_when_the_attempt_is_over_or_finds_no_permit() -> None:
    tap, slots = Tap(), Slots(1)
    case = Case(concurrency=2, admit=Admission(slots, tap, lambda: tap, tap.waited.append, patience=0.2))
    await case.take("1", "2")
    assert (len(tap.waiters), slots.free) == (1, 0)  # the other one has no slot
    tap.give()
    await case.turn()
    assert set(case.under_way) == {"1"}
    await case.end("1")
    assert (len(tap.waiters), slots.free) == (1, 0)
    while case.worker.in_flight:
        await asyncio.sleep(0.01)
    assert set(case.under_way) == set()
    await case.worker.drain(0.1)


@pytest.mark.parametrize(
    ("requests", "seconds", "count"), [(1000, 1, 10), (60, 60, 10), (5, 60, 5), (20, 3600, 1), (1, 3600, 1)]
)
def test_at_a_slow_rate_few_messages_are_taken_ahead(requests: int, seconds: int, count: int) -> None:
    assert ahead(10, requests / seconds) == count


@given(
    st.floats(1 / 3600, 1000), st.integers(1, 50), st.lists(st.floats(0.0, 100.0, allow_subnormal=False), max_size=50)
)
def test_a_bucket_never_gives_more_than_its_rate_and_its_burst(rate: float, burst: int, pauses: list[float]) -> None:
    bucket, now, given_out = Bucket(rate, burst, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        due = bucket.due(now)
        given_out += due
        assert due <= burst
    assert given_out <= rate * now + 1e-6


def test_a_bucket_that_is_asked_when_it_says_gives_its_rate() -> None:
    bucket, now, given_out = Bucket(70.0, 1, 0.0), 0.0, 0
    step: Callable[[float], float] = lambda at: at + max(0.001, bucket.wait(at))  # noqa: E731
    while now < 10:
        now = step(now)
        given_out += bucket.due(now)
    assert given_out in range(699, 702)
