"""Crash the worker at any await, lose the channel, let publishes fail before and after they arrived: nothing is lost.

The machine drives the message path step by step, from one await to the next, and stops it wherever it likes.
"""

import itertools
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from forebay.envelope import AmqpMessage, Envelope, encode
from forebay.errors import Unavailable
from forebay.settings import RetryPolicy
from forebay.topology import TIERS, Names
from forebay_worker import consume, retry, settle
from forebay_worker.claims import homeless
from forebay_worker.consume import Consumption
from forebay_worker.outcome import Buried, Delivered, Outcome, Refused
from forebay_worker.settle import Settler
from tests.support.envelopes import envelope
from tests.support.memory_broker import Broker

NAMES = Names.of("payments/github")
QUEUE = NAMES.queue("default")
OUTCOMES: list[Outcome] = [Delivered(200), Refused(503, "HTTP 503"), Refused(404, "HTTP 404"), Buried("handler", "no")]


class Step:
    """An await that a coroutine driven by hand returns from at its next step."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Silent:
    """A witness who only remembers faults."""

    def __init__(self) -> None:
        self.faults: list[Exception] = []

    def attempted(self, *_: Any) -> None: ...
    def undecodable(self, *_: Any) -> None: ...
    def fault(self, error: Exception) -> None:
        self.faults.append(error)


class Machine(RuleBasedStateMachine):
    # Replaced by the sabotaged workers below.
    settler_kind: type[Settler] = Settler

    @initialize()
    def begin(self) -> None:
        self.broker = Broker(fate=self.fate)
        self.ids = itertools.count(1)
        self.accepted: set[str] = set()
        self.delivered: set[str] = set()
        self.running: list[Coroutine[Any, Any, None]] = []
        self.publishes: Callable[[str], bool] = lambda _: True
        self.outcome: Outcome = OUTCOMES[0]
        self.witness = Silent()
        self.worker = self.fresh_worker()

    def fresh_worker(self) -> Consumption:
        settler = self.settler_kind(publisher=self.broker, names=NAMES, queue="default", unsettled=lambda _: None)
        policy = retry.policy(RetryPolicy(max_attempts=4, max_age_s=10**9), TIERS)
        return Consumption(self.deliver, settler, policy, self.witness, concurrency=3, deliver_claimed=homeless)

    async def deliver(self, one: Envelope) -> Outcome:
        await Step()
        outcome = self.outcome
        if isinstance(outcome, Delivered):
            self.delivered.add(one.id)
        await Step()
        return outcome

    def fate(self, moment: str) -> None:
        if not self.publishes(moment):
            raise Unavailable(moment)

    # ------------------------------------------------------------------------------------ what can happen

    @rule(decodable=st.integers(0, 4))
    def a_webhook_is_accepted(self, decodable: int) -> None:
        sent = encode(envelope(id=f"webhook {next(self.ids)}", received_at=int(time.time() * 1000)))
        if not decodable:
            sent = AmqpMessage(message_id=sent.message_id, timestamp=0, content_type=None, headers={}, body=b"")
        self.accepted.add(sent.message_id)
        self.broker.queues[QUEUE].append(sent)

    @precondition(lambda self: self.broker.queues[QUEUE] and len(self.running) < 3)
    @rule()
    def the_broker_hands_out_a_message(self) -> None:
        self.running.append(self.worker._guarded(len(self.running), self.broker.deliver(QUEUE)))

    @precondition(lambda self: self.running)
    @rule(choice=st.integers(0, 2), outcome=st.sampled_from(OUTCOMES), steps=st.integers(1, 6))
    def a_message_gets_on(self, choice: int, outcome: Outcome, steps: int) -> None:
        self.outcome = outcome
        for _ in range(steps):
            self.step(self.running[choice % len(self.running)])
            if not self.running:
                return

    @rule(what=st.sampled_from(["works", "is down", "swallows the confirm"]))
    def publishing(self, what: str) -> None:
        bad = {"works": "", "is down": "before it arrived", "swallows the confirm": "before the confirm"}[what]
        self.publishes = lambda moment: moment != bad

    @rule()
    def the_worker_is_killed(self) -> None:
        for coroutine in self.running:
            coroutine.close()
        self.running.clear()
        self.broker.lose_channel()
        self.worker = self.fresh_worker()

    @rule()
    def the_channel_is_lost(self) -> None:
        self.broker.lose_channel()

    @rule()
    def delays_end(self) -> None:
        self.broker.end_delays(QUEUE)

    def step(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            coroutine.send(None)
        except StopIteration:
            self.running.remove(coroutine)

    # ------------------------------------------------------------------------------------ what must be so

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "broker"):
            assert self.accepted <= self.delivered | self.broker.everywhere()
            assert self.witness.faults == []

    def teardown(self) -> None:
        """With everything well again, each webhook is delivered or dead, and the queue is empty."""
        if not hasattr(self, "broker"):
            return
        self.publishing("works")
        self.the_worker_is_killed()
        self.outcome = Delivered(200)
        rounds = itertools.count()
        while self.broker.queues[QUEUE] or self.running or self.broker.queues.get("delay"):
            assert next(rounds) < 1000, "the webhooks go round and round"
            self.broker.end_delays(QUEUE)
            if self.broker.queues[QUEUE]:
                self.running.append(self.worker._guarded(0, self.broker.deliver(QUEUE)))
            while self.running:
                self.step(self.running[0])
        self.nothing_is_lost()
        dead = {message.message_id for message in self.broker.queues[NAMES.dead]}
        assert self.accepted == self.delivered | dead
        assert self.broker.unacknowledged == {}


@pytest.fixture(autouse=True)
def steps_instead_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "FIRST_PAUSE", 0)
    monkeypatch.setattr(settle, "LAST_PAUSE", 0)
    monkeypatch.setattr(consume, "PAUSE_AFTER_FAULT", 0)


def explore(machine: type[Machine], **changes: Any) -> None:
    steps = hypothesis_settings(max_examples=100, stateful_step_count=40, deadline=None, report_multiple_bugs=False)
    run_state_machine_as_test(machine, settings=hypothesis_settings(steps, **changes))


def test_nothing_is_lost_wherever_the_worker_is_stopped() -> None:
    explore(Machine)


class AcknowledgesFirst(Settler):
    """A worker with the oldest fault of its kind: it acknowledges, then publishes."""

    async def _confirmed(self, message: Any, exchange: str, key: str, successor: AmqpMessage, **_: Any) -> bool:
        message.ack()
        await self.publisher.publish(exchange, key, successor)
        return True


class AcknowledgesAnyway(Settler):
    """A worker that acknowledges although the publish failed."""

    async def _confirmed(self, message: Any, exchange: str, key: str, successor: AmqpMessage, **_: Any) -> bool:
        try:
            await self.publisher.publish(exchange, key, successor)
        finally:
            message.ack()
        return True


@pytest.mark.parametrize("fault", [AcknowledgesFirst, AcknowledgesAnyway])
def test_a_worker_that_loses_webhooks_is_found_out(fault: type[Settler]) -> None:
    sabotaged = type("Sabotaged", (Machine,), {"settler_kind": fault})
    with pytest.raises(AssertionError):
        explore(sabotaged, phases=[Phase.generate], database=None)
