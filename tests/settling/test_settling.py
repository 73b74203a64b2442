"""What the broker hears of a decision, in which order, and what happens when it does not listen."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from forebay.envelope import AmqpMessage, Attempt, decode, encode
from forebay.errors import Busy, Rejected, Unavailable
from forebay.topology import Names, delay_key
from forebay_worker import settle
from forebay_worker.retry import Ack, DeadLetter, RetryIn
from forebay_worker.settle import Settler, undecodable
from tests.support.envelopes import envelope
from tests.support.memory_broker import Broker

NAMES = Names.of("payments/github")
QUEUE = NAMES.queue("default")
ATTEMPT = Attempt(at=1_700_000_000_000, ms=12, error="HTTP 503", status=503)


@dataclass(slots=True)
class Publisher:
    """Raises the errors it is given, one a publish, then publishes."""

    broker: Broker
    errors: list[Exception] = field(default_factory=list)
    keys: list[tuple[str, str]] = field(default_factory=list)

    async def publish(self, exchange: str, routing_key: str, message: AmqpMessage) -> None:
        self.keys.append((exchange, routing_key))
        if self.errors:
            raise self.errors.pop(0)
        await self.broker.publish(exchange, routing_key, message)


@dataclass(slots=True)
class Case:
    broker: Broker
    publisher: Publisher
    settler: Settler
    unsettled: list[Exception]

    def message(self, sent: AmqpMessage) -> Any:
        self.broker.queues[QUEUE].append(sent)
        return self.broker.deliver(QUEUE)


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(settle, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(settle, "LAST_PAUSE", 0.002)
    broker, unsettled = Broker(), list[Exception]()
    publisher = Publisher(broker)
    settler = Settler(publisher=publisher, names=NAMES, queue="default", unsettled=unsettled.append)
    return Case(broker, publisher, settler, unsettled)


async def test_an_acknowledged_message_is_gone_without_a_publish(case: Case) -> None:
    assert await case.settler.settle(case.message(encode(envelope())), envelope(), Ack())
    assert case.broker.everywhere() == set()
    assert case.publisher.keys == []


async def test_a_retry_goes_through_its_tier_and_back_to_this_queue(case: Case) -> None:
    one = envelope().failed(ATTEMPT)
    assert await case.settler.settle(case.message(encode(envelope())), one, RetryIn(30))
    assert case.publisher.keys == [("forebay.delay", delay_key(30, QUEUE))]
    (sent,) = case.broker.queues["delay"]
    assert decode(sent.message_id, sent.content_type, sent.headers, sent.body) == one
    assert case.broker.unacknowledged == {}


async def test_a_dead_letter_carries_its_reason(case: Case) -> None:
    one = envelope().failed(ATTEMPT)
    assert await case.settler.settle(case.message(encode(envelope())), one, DeadLetter("gone", "HTTP 410"))
    assert case.publisher.keys == [(NAMES.exchange, NAMES.dead)]
    (sent,) = case.broker.queues[NAMES.dead]
    found = decode(sent.message_id, sent.content_type, sent.headers, sent.body)
    assert found.dead is not None
    assert (found.dead.reason, found.dead.detail) == ("gone", "HTTP 410")
    assert found.attempts == (ATTEMPT,)
    assert case.broker.unacknowledged == {}


@pytest.mark.parametrize("error", [Unavailable("down"), Busy("full"), Rejected("no queue")])
async def test_a_message_is_held_while_the_broker_does_not_take_its_successor(case: Case, error: Exception) -> None:
    case.publisher.errors = [error, error, error]
    message = case.message(encode(envelope()))
    assert await case.settler.settle(message, envelope().failed(ATTEMPT), RetryIn(5))
    assert case.unsettled == [error] * 3
    assert len(case.broker.queues["delay"]) == 1
    assert case.broker.handed_back == []  # nothing that counts towards the delivery limit


async def test_a_message_whose_channel_is_gone_is_left_to_the_broker(case: Case) -> None:
    case.publisher.errors = [Unavailable("down")] * 1000
    message = case.message(encode(envelope()))
    settling = asyncio.ensure_future(case.settler.settle(message, envelope().failed(ATTEMPT), RetryIn(5)))
    await asyncio.sleep(0)
    case.broker.lose_channel()
    assert not await settling
    assert case.broker.everywhere() == {envelope().id}
    assert case.broker.queues["delay"] == []


async def test_a_message_is_given_back_before_the_broker_loses_patience(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "HOLD", 0.01)
    case.publisher.errors = [Rejected("no dead-letter queue")] * 1000
    message = case.message(encode(envelope()))
    assert not await case.settler.settle(message, envelope().failed(ATTEMPT), DeadLetter("gone", "HTTP 410"))
    assert case.broker.handed_back == [envelope().id]


async def test_a_message_that_is_no_envelope_is_buried_as_it_is(case: Case) -> None:
    sent = AmqpMessage(
        message_id="strange",
        timestamp=0,
        content_type="application/cbor",
        headers={
            "forebay-envelope": 99,
            "x-tenant": "a",
            "forebay-queue": 7,
            "x-death": [{"count": 1}],
            "x-delivery-count": 3,
        },
        body=b"\x00\xff\r\n",
    )
    assert await case.settler.bury_undecodable(case.message(sent), "envelope version 99 is not known here")
    (dead,) = case.broker.queues[NAMES.dead]
    assert (dead.message_id, dead.content_type, dead.body) == ("strange", "application/cbor", b"\x00\xff\r\n")
    assert {
        name: dead.headers[name] for name in ("forebay-envelope", "x-tenant", "forebay-queue", "forebay-reason")
    } == {
        "forebay-envelope": 99,
        "x-tenant": "a",
        "forebay-queue": "default",  # where it was found: it can be replayed
        "forebay-reason": "undecodable",
    }
    assert dead.headers["forebay-detail"] == "envelope version 99 is not known here"
    assert not {"x-death", "x-delivery-count"} & set(dead.headers)


async def test_what_is_no_envelope_and_can_not_be_published_is_left_to_the_broker_to_bury(case: Case) -> None:
    case.publisher.errors = [Unavailable("down"), Rejected("headers of 131100 bytes do not fit into a frame")]
    sent = AmqpMessage(message_id="huge", timestamp=0, content_type=None, headers={}, body=b"")
    assert await case.settler.bury_undecodable(case.message(sent), "header forebay-envelope is missing")
    assert case.broker.dead_lettered == [sent]
    assert case.broker.everywhere() == set()


def test_what_the_broker_wrote_about_a_message_is_not_written_to_the_next_queue() -> None:
    broker = Broker()
    broker.queues["q"].append(
        AmqpMessage(message_id="", timestamp=0, content_type=None, headers={"x-first-death-queue": "a"}, body=b"")
    )
    dead = undecodable(broker.deliver("q"), "no", "default", 1_700_000_000_000)
    assert set(dead.headers) == {"forebay-queue", "forebay-reason", "forebay-detail", "forebay-dead-at"}
