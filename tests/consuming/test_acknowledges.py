"""One acknowledge for many, checked against what a broker does with acknowledges."""

import struct

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from forebay.amqp.acknowledges import Acknowledges


class Channel:
    """The broker's side of a channel: which deliveries it waits for."""

    def __init__(self) -> None:
        self.waits_for: list[int] = []
        self.heard = 0

    def hear(self, frames: bytes) -> None:
        for start in range(0, len(frames), 21):
            tag, multiple = struct.unpack_from(">QB", frames, start + 11)
            assert tag in self.waits_for, "PRECONDITION_FAILED - unknown delivery tag"
            self.heard += 1
            self.waits_for = [other for other in self.waits_for if other > tag or (other < tag and not multiple)]


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.channel, self.acknowledges = Channel(), Acknowledges()
        self.open: list[int] = []
        self.done: list[int] = []
        self.last = 0

    @rule(count=st.integers(1, 5))
    def deliveries(self, count: int) -> None:
        for _ in range(count):
            self.last += 1
            self.open.append(self.last)
            self.channel.waits_for.append(self.last)

    @rule(which=st.integers(0, 50))
    def one_is_done(self, which: int) -> None:
        if self.open:
            tag = self.open.pop(which % len(self.open))
            self.done.append(tag)
            assert self.acknowledges.done(tag) == len(self.done)

    @rule(which=st.integers(0, 50))
    def one_is_rejected(self, which: int) -> None:
        if self.open:
            self.flush()
            tag = self.open.pop(which % len(self.open))
            self.acknowledges.rejected(tag)
            self.channel.waits_for.remove(tag)

    @rule()
    def flush(self) -> None:
        self.channel.hear(self.acknowledges.frames())
        self.done.clear()
        assert sorted(self.channel.waits_for) == sorted(self.open)

    @invariant()
    def nothing_is_acknowledged_that_is_not_done(self) -> None:
        assert set(self.open) <= set(self.channel.waits_for)


def test_the_broker_forgets_exactly_what_is_done() -> None:
    run_state_machine_as_test(Machine)


def test_one_acknowledge_stands_for_all_that_are_done_in_order() -> None:
    channel, acknowledges = Channel(), Acknowledges()
    channel.waits_for = list(range(1, 101))
    for tag in (3, 1, 2, 5, 4, 7):
        acknowledges.done(tag)
    channel.hear(acknowledges.frames())
    assert channel.heard == 2  # up to 5, and 7
    assert channel.waits_for == [6, *range(8, 101)]
    acknowledges.done(6)
    channel.hear(acknowledges.frames())
    assert channel.waits_for == list(range(8, 101))
    assert acknowledges.frames() == b""
    for tag in (8, 9):  # 7 is behind them: what was told out of order does not end the run
        acknowledges.done(tag)
    channel.hear(acknowledges.frames())
    assert channel.heard == 4
    assert channel.waits_for == list(range(10, 101))
