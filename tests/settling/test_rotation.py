"""What waits for a slot is taken lane by lane in turn."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.envelope import encode
from forebay.settings import WorkerSettings
from forebay.turns import Turns
from forebay_worker.app import lanes
from forebay_worker.rotation import Rotation, share
from forebay_worker.settle import Message
from tests.support.envelopes import envelope
from tests.support.memory_broker import Broker


def messages(queue: str, *ids: str) -> list[Message]:
    broker = Broker()
    broker.queues[queue] += [encode(envelope(id=one, queue=queue)) for one in ids]
    return [cast("Message", broker.deliver(queue)) for _ in ids]


def test_a_lane_that_is_full_does_not_make_the_other_wait() -> None:
    rotation = Rotation()
    for message in (*messages("default:busy", "a1", "a2", "a3"), *messages("default", "b1", "b2")):
        rotation.append(message)
    assert len(rotation) == 5
    assert [rotation.popleft().message_id for _ in range(3)] == ["a1", "b1", "a2"]
    for message in messages("default", "b3"):
        rotation.append(message)
    assert [rotation.popleft().message_id for _ in range(3)] == ["b2", "a3", "b3"]
    assert not rotation


def test_what_waits_no_longer_is_not_handed_out_and_takes_no_turn() -> None:
    turns = Turns[str]()
    for item in ("a1", "a2", "a3", "b1"):
        turns.append(item, item[0])
    for item in ("b1", "a2", "a2", "c1"):
        turns.discard(item)
    assert (sorted(turns), len(turns)) == (["a1", "a3"], 2)
    turns.append("b2", "b")
    assert [turns.popleft() for _ in range(3)] == ["a1", "b2", "a3"]
    assert not turns


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_who_comes_new_waits_for_one_of_each_other_group_and_each_is_in_order(
    steps: list[tuple[str, bool]],
) -> None:
    turns = Turns[tuple[str, int]]()
    for number, (group, takes) in enumerate(steps):
        turns.append((group, number), group)
        if takes:
            turns.popleft()
    turns.append(("d", 60), "d")
    order = [turns.popleft() for _ in range(len(turns))]
    assert [group for group, _ in order].index("d") <= 3  # one of each of a, b and c
    for group in "abc":
        numbers = [number for one, number in order if one == group]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (2, 1), (4, 3), (10, 8), (16, 13), (1000, 800)])
def test_a_lane_beside_the_queue_never_takes_all_slots(concurrency: int, most: int) -> None:
    assert share(concurrency) == most
    settings = WorkerSettings(source="a/b", queue="default", lanes=("default:busy",), concurrency=concurrency)
    (lane,) = lanes(settings)
    assert (lane.queue, lane.window, lane.most) == ("forebay.a.b.default:busy", None, most)


def test_an_ordered_lane_has_the_same_window_in_every_worker() -> None:
    settings = WorkerSettings(source="a/b", queue="default", lanes=("default:0",), ordered=True, concurrency=2)
    assert [lane.window for lane in lanes(settings)] == [16]
