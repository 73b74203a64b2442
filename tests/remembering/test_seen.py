"""The memory of digests: what was added is there for the window, and not much longer; and nothing else is there."""

import hashlib
from itertools import count, islice

from hypothesis import given, settings
from hypothesis import strategies as st

from forebay_ingest.seen import Seen

WINDOW_S = 80.0


def digest(number: int) -> bytes:
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()


def test_a_digest_is_known_for_the_window_and_forgotten_an_eighth_later() -> None:
    seen = Seen(WINDOW_S, 1000)
    for second in range(200):
        seen.add(digest(second), second)
        seen.forget(second)
        assert all(digest(known) in seen for known in range(max(0, second - int(WINDOW_S) + 1), second + 1))
        assert not any(digest(known) in seen for known in range(max(0, second - int(WINDOW_S * 9 / 8))))
    for second in range(200, 300):
        seen.forget(second)
    assert seen.count == 0
    assert seen.cut_short == 0


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0, 300)), max_size=60))
def test_it_holds_what_a_set_would_hold_within_the_window(steps: list[tuple[int, float]]) -> None:
    seen, moments, before = Seen(WINDOW_S, 10_000), dict[bytes, float](), 0.0
    for number, at in sorted(steps, key=lambda step: step[1]):
        for second in range(int(before), int(at) + 1):
            seen.forget(second)
        before = at
        one, known = digest(number), moments.get(digest(number), -1e9)
        if at - known < WINDOW_S:
            assert one in seen
        if at - known > WINDOW_S * 9 / 8 + 2:
            assert one not in seen
        if one not in seen:
            moments[one] = at
            seen.add(one, at)
        assert seen.count == sum(len(shard) for shard in seen._shards) / 16


def test_beyond_its_bound_the_oldest_are_forgotten_early_and_counted() -> None:
    seen = Seen(WINDOW_S, 80)
    for number in range(1000):
        seen.add(digest(number), 1.0)
        assert seen.count <= 80
    assert seen.count + seen.cut_short == 1000
    assert all(digest(number) in seen for number in range(1000 - 60, 1000))


def test_what_others_tell_is_added_once() -> None:
    seen = Seen(WINDOW_S, 80)
    told = b"".join(map(digest, (1, 2, 3, 2)))
    seen.add_all(told, 1.0)
    seen.add_all(told, 2.0)
    assert seen.count == 3
    assert digest(4) not in seen


def test_what_is_noted_is_known_at_once_and_told_together() -> None:
    seen = Seen(WINDOW_S, 1000)
    for number in range(3):
        seen.note(digest(number))
    assert all(digest(number) in seen for number in range(3))
    assert not seen.count
    told = seen.settle(1.0)
    assert {told[at : at + 16] for at in range(0, len(told), 16)} == {digest(number) for number in range(3)}
    assert (seen.count, seen.settle(2.0)) == (3, b"")
    assert all(digest(number) in seen for number in range(3))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 70), max_size=40))
def test_whether_they_come_one_by_one_or_together_as_many_are_remembered(heaps: list[int]) -> None:
    together, alone, numbers = Seen(WINDOW_S, 100), Seen(WINDOW_S, 100), count()
    for second, heap in enumerate(heaps):
        for number in islice(numbers, heap):
            together.note(digest(number))
            alone.add(digest(number), second)
        together.settle(second)
        for one in (together, alone):
            one.forget(second)
    assert (together.count, together.cut_short) == (alone.count, alone.cut_short)
    assert together.count <= 100


def test_what_others_tell_of_what_is_noted_is_not_added_again() -> None:
    seen = Seen(WINDOW_S, 1000)
    seen.note(digest(1))
    seen.add_all(digest(1) + digest(2), 1.0)
    seen.settle(1.0)
    assert seen.count == 2
