"""Ids are UUIDs of version 7: unique, sortable by time, readable by everybody's UUID library."""

from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from forebay.identity import IdSource, uuid7

DIGITS = st.text("0123456789abcdef", min_size=19, max_size=19)


@given(st.integers(0, 2**48 - 1), DIGITS)
def test_an_id_is_a_version_7_uuid_of_its_time(now_ms: int, random: str) -> None:
    text = uuid7(now_ms, random)
    found = UUID(text)
    assert str(found) == text
    assert (found.version, found.variant) == (7, RFC_4122)
    assert found.int >> 80 == now_ms


@given(st.integers(0, 2**48 - 2), DIGITS, DIGITS)
def test_a_later_id_sorts_behind(now_ms: int, first: str, second: str) -> None:
    assert uuid7(now_ms, first) < uuid7(now_ms + 1, second)


def test_every_random_bit_but_the_marks_is_used() -> None:
    source, ones, zeros = IdSource(), 0, 0
    for _ in range(200):
        value = UUID(source.next(0)).int
        ones, zeros = ones | value, zeros | ~value
    free = 0x0FFF_3FFF_FFFF_FFFF_FFFF
    assert ones & free == zeros & free == free


def test_no_two_ids_are_the_same() -> None:
    source = IdSource()
    assert len({source.next(1) for _ in range(5_000)}) == 5_000
