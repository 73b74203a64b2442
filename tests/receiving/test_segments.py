"""A segment of the outage buffer holds webhooks byte for byte, and says so of nothing else."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.envelope import Claim
from forebay.identity import uuid7
from forebay_ingest.prepared import Received
from forebay_ingest.segments import Kept, Segment, UnreadableError, is_segment, pack, segment, unpack

ID = uuid7(1_700_000_000_000, "0123456789abcdef012")
texts = st.text(st.characters(codec="utf-8") | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF), max_size=20)
maybe = st.none() | texts
claims = st.builds(Claim, key=texts, size=st.integers(0, 2**40), sha256=texts)
received = st.builds(
    Received,
    event_id=st.binary(max_size=40), method=texts, target=texts, received_at=st.integers(0, 2**53),
    client=st.binary(max_size=20), header_block=st.binary(max_size=60), content_type=maybe, delivery_id=maybe,
    event_type=maybe, traceparent=maybe, body=st.binary(max_size=60), claim=st.none() | claims, lane=maybe, key=maybe,
)  # fmt: skip
webhooks = st.lists(st.builds(Kept, texts, received), max_size=5)


@given(webhooks)
def test_what_is_packed_is_unpacked_as_it_was(some: list[Kept]) -> None:
    assert unpack(pack(some)) == some


@given(webhooks.filter(bool), st.data())
def test_half_a_segment_is_none(some: list[Kept], data: st.DataObject) -> None:
    content = pack(some)
    half = content[: data.draw(st.integers(0, len(content) - 1))]
    with suppress(UnreadableError):
        assert len(unpack(half)) < len(some)  # cut between two webhooks: its name tells, by the hash


@given(st.binary())
def test_anything_else_is_unreadable_and_nothing_worse(content: bytes) -> None:
    with pytest.raises(UnreadableError):
        unpack(content)
    with suppress(UnreadableError):
        unpack(pack([]) + content)


def test_a_name_tells_all_that_a_listing_has_to() -> None:
    made = segment("payments/github", "pod-7", ID, b"content", 12)
    again = Segment(made.key, made.size)
    assert made.key.startswith(f"forebay-outage/payments/github/pod-7/{ID}-12-")
    assert (again.webhooks, again.made, again.size) == (12, 1_700_000_000_000, 7)
    assert again.content.key == made.key
    assert is_segment(made.key)


@pytest.mark.parametrize(
    "name", ["lease", ".hidden", f".{ID}-1-{'a' * 64}", f"{ID}-1-{'a' * 63}", f"{ID}-x-{'a' * 64}", ""]
)
def test_other_objects_are_none(name: str) -> None:
    assert not is_segment(f"forebay-outage/payments/github/pod-7/{name}")
