"""The topology on real brokers: delays come back, orphans are kept, poison ends in the dead letters, rights end at one's own."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pika
import pika.exceptions
import pytest

from forebay.amqp.consumer import Consumer, Message
from forebay.amqp.publisher import Outcome
from forebay.errors import ForebayError
from forebay.topology import (
    DELAY_EXCHANGE,
    DELIVERY_LIMIT,
    ORPHANS,
    BrokerObject,
    Names,
    Retention,
    SourceTopology,
    delay_key,
    ingest_user,
    shared_objects,
    source_objects,
    tier_queue,
    worker_user,
)
from tests.broker.test_publisher import message, outcome, publishing
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually, so

GITHUB, STRIPE = Names.of("payments/github"), Names.of("payments/stripe")
TIERS = (1, 2)  # of 29; the others are the same but for their number


def everything(host: VirtualHost, *sources: SourceTopology) -> list[BrokerObject]:
    objects = list(shared_objects(host.name, TIERS))
    for source in sources or (SourceTopology(names=GITHUB), SourceTopology(names=STRIPE)):
        objects += source_objects(host.name, source)
    return objects


@pytest.fixture
async def host(broker: VirtualHost) -> VirtualHost:
    await broker.management.declare(everything(broker), settle_s=0)
    return broker


@pytest.fixture
async def newest(newest_broker: VirtualHost) -> VirtualHost:
    await newest_broker.management.declare(everything(newest_broker), settle_s=0)
    return newest_broker


@asynccontextmanager
async def reading(
    host: VirtualHost, queue: str, on_message: Callable[[Message], None] = Message.ack
) -> AsyncIterator[list[Message]]:
    found: list[Message] = []

    def take(one: Message) -> None:
        found.append(one)
        on_message(one)

    consumer = Consumer(lambda: host.uri, name="test", queue=queue, prefetch=100, on_message=take)
    running = asyncio.ensure_future(consumer.run())
    try:
        await eventually(so(lambda: consumer.consuming), every_s=0.005)
        yield found
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def ids(messages: Iterable[Message]) -> list[str]:
    return sorted(str(one.message_id) for one in messages)


async def test_a_delayed_message_comes_back_to_its_own_queue_no_sooner_than_its_tier(host: VirtualHost) -> None:
    async with (
        publishing(host.uri) as publisher,
        reading(host, GITHUB.queue()) as github,
        reading(host, STRIPE.queue()) as stripe,
    ):
        began = time.monotonic()
        ways = [delay_key(1, (GITHUB if number % 2 else STRIPE).queue()) for number in range(100)]
        publishes = (publisher.publish(DELAY_EXCHANGE, way, message(n, b"body %d" % n)) for n, way in enumerate(ways))
        await asyncio.gather(*publishes)  # all of them before the first can come back
        assert time.monotonic() - began < 0.9
        assert (github, stripe) == ([], [])
        await eventually(so(lambda: len(github) + len(stripe) >= 100), every_s=0.005)
        assert 0.95 < time.monotonic() - began < 4
        assert ids(github) == sorted(f"id-{n}" for n in range(100) if n % 2)
        assert ids(stripe) == sorted(f"id-{n}" for n in range(100) if not n % 2)
        assert github[0].body == b"body 1"
        assert (github[0].headers["n"], github[0].content_type) == (1, "text/plain")


async def test_a_message_may_go_round_as_often_as_it_takes(newest: VirtualHost) -> None:
    async with publishing(newest.uri) as publisher:
        again: list[asyncio.Future[Outcome]] = []

        def once_more(one: Message) -> None:
            if len(found) < 4:
                key = delay_key(1, GITHUB.queue())
                again.append(asyncio.ensure_future(outcome(publisher, exchange=DELAY_EXCHANGE, key=key)))
            one.ack()

        found: list[Message]
        async with reading(newest, GITHUB.queue(), once_more) as found:
            await publisher.publish(GITHUB.exchange, GITHUB.queue(), message())
            await eventually(so(lambda: len(found) == 4), within_s=20)
        assert await asyncio.gather(*again) == [Outcome.CONFIRMED] * 3


async def test_what_returns_to_a_source_that_is_gone_is_kept_and_stops_nobody(host: VirtualHost) -> None:
    async with publishing(host.uri) as publisher, reading(host, STRIPE.queue()) as stripe:
        for number in range(40):
            names = GITHUB if number % 2 else STRIPE
            await publisher.publish(DELAY_EXCHANGE, delay_key(1, names.queue()), message(number))
        await host.management.delete(f"queues/{host.name}/{GITHUB.queue()}")
        await eventually(so(lambda: len(stripe) >= 20), every_s=0.01)
        async with reading(host, ORPHANS) as orphans:
            await eventually(so(lambda: len(orphans) >= 20), every_s=0.01)
            assert ids(orphans) == sorted(f"id-{n}" for n in range(40) if n % 2)
            # The key says where each belongs: the way back.
            assert {one.routing_key for one in orphans} == {delay_key(1, GITHUB.queue())}


async def test_a_tier_that_is_not_there_is_a_no(host: VirtualHost) -> None:
    async with publishing(host.uri) as publisher:
        key = delay_key(30, GITHUB.queue())
        assert await outcome(publisher, exchange=DELAY_EXCHANGE, key=key) is Outcome.UNROUTABLE


async def test_a_message_that_no_worker_settles_ends_in_the_dead_letters_with_its_history(host: VirtualHost) -> None:
    async with publishing(host.uri) as publisher:
        await publisher.publish(GITHUB.exchange, GITHUB.queue(), message(1, b"poison"))
        async with reading(host, GITHUB.queue(), Message.reject) as seen, reading(host, GITHUB.dead) as dead:
            await eventually(so(lambda: dead), every_s=0.01)
            # A limit of 20 lets it be given back so often (the last one of which kills it).
            assert DELIVERY_LIMIT <= len(seen) <= DELIVERY_LIMIT + 1
        (one,) = dead
        assert (one.message_id, one.body) == ("id-1", b"poison")
        (death,) = one.headers["x-death"]
        assert (death["reason"], death["queue"]) == ("delivery_limit", GITHUB.queue())


async def test_looking_at_dead_letters_as_often_as_one_likes_loses_none(host: VirtualHost) -> None:
    async with publishing(host.uri) as publisher:
        await publisher.publish(GITHUB.exchange, GITHUB.dead, message(1))
        async with reading(host, GITHUB.dead, Message.reject) as seen:
            await eventually(so(lambda: len(seen) > 3 * DELIVERY_LIMIT), every_s=0.005)
        async with reading(host, GITHUB.dead) as dead:
            await eventually(so(lambda: dead), every_s=0.01)


async def test_dead_letters_are_kept_as_the_manifest_says(newest_broker: VirtualHost) -> None:
    host = newest_broker
    kept = SourceTopology(names=GITHUB, retention=Retention(count=5))
    expiring = SourceTopology(names=STRIPE, retention=Retention(age_s=1))
    await host.management.declare(everything(host, kept, expiring), settle_s=0)
    async with publishing(host.uri) as publisher:
        for number in range(20):
            await publisher.publish(GITHUB.exchange, GITHUB.dead, message(number))
        await publisher.publish(STRIPE.exchange, STRIPE.dead, message())
        assert (await host.management.depth(host.name, STRIPE.dead)).messages <= 1

        async def as_said() -> bool:
            depths = [(await host.management.depth(host.name, names.dead)).messages for names in (GITHUB, STRIPE)]
            return depths == [5, 0]

        await eventually(as_said, every_s=0.2)


# ---------------------------------------------------------------------------------------------------------------- rights


Attempt = Callable[[Any], object]


def refused(uri: str, attempt: Attempt) -> str | None:
    """What the broker says to an attempt, None if it lets it pass. Blocking."""
    connection = pika.BlockingConnection(pika.URLParameters(uri))
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        attempt(channel)
        connection.process_data_events(0.2)
        channel.basic_qos(prefetch_count=1)  # an answer to this comes after one to the attempt
    except pika.exceptions.ChannelClosedByBroker as error:
        return f"{error.reply_code}"
    except (pika.exceptions.UnroutableError, pika.exceptions.NackError):
        return None
    else:
        return None
    finally:
        if connection.is_open:
            connection.close()


def publish(exchange: str, key: str) -> Attempt:
    return lambda channel: channel.basic_publish(exchange, key, b"x", mandatory=True)


def consume(queue: str) -> Attempt:
    return lambda channel: channel.basic_consume(queue, lambda *_: None)


def get(queue: str) -> Attempt:
    return lambda channel: channel.basic_get(queue)


FORBIDDEN_TO_ALL: list[Attempt] = [
    lambda channel: channel.queue_declare("forebay.payments.github.new", durable=True),
    lambda channel: channel.queue_declare("", exclusive=True),
    lambda channel: channel.queue_delete(GITHUB.queue()),
    lambda channel: channel.queue_purge(STRIPE.queue()),
    lambda channel: channel.exchange_declare("x"),
    lambda channel: channel.exchange_delete(GITHUB.exchange),
    lambda channel: channel.queue_bind(GITHUB.queue(), STRIPE.exchange, "x"),
    publish("", GITHUB.queue()),
    publish("amq.topic", "x"),
    publish("forebay.return", delay_key(1, GITHUB.queue())),
    publish(STRIPE.exchange, STRIPE.queue()),
    consume(STRIPE.queue()),
    get(STRIPE.dead),
    get(ORPHANS),
    get(tier_queue(1)),
]


async def test_an_ingest_can_publish_to_its_own_exchange_and_nothing_else(host: VirtualHost) -> None:
    user = f"{host.name}-ingest"
    await host.management.declare(ingest_user(host.name, GITHUB, user, "secret"), settle_s=0)
    uri = host.server.uri(vhost=host.name, username=user, password="secret")
    try:
        assert await asyncio.to_thread(refused, uri, publish(GITHUB.exchange, GITHUB.queue())) is None
        forbidden = [
            *FORBIDDEN_TO_ALL, consume(GITHUB.queue()), get(GITHUB.queue()), get(GITHUB.dead),
            publish(DELAY_EXCHANGE, delay_key(1, GITHUB.queue())),
        ]  # fmt: skip
        answers = await asyncio.to_thread(lambda: [refused(uri, attempt) for attempt in forbidden])
        assert answers == ["403"] * len(forbidden)
    finally:
        await host.management.delete(f"users/{user}")


async def test_a_worker_can_consume_and_delay_what_is_its_own_and_nothing_else(host: VirtualHost) -> None:
    user = f"{host.name}-worker"
    await host.management.declare(worker_user(host.name, GITHUB, user, "secret"), settle_s=0)
    uri = host.server.uri(vhost=host.name, username=user, password="secret")
    allowed = [
        consume(GITHUB.queue()), get(GITHUB.dead), publish(GITHUB.exchange, GITHUB.dead),
        publish(DELAY_EXCHANGE, delay_key(1, GITHUB.queue())),
    ]  # fmt: skip
    forbidden = [
        *FORBIDDEN_TO_ALL, publish(DELAY_EXCHANGE, delay_key(1, STRIPE.queue())), publish(DELAY_EXCHANGE, "1.x"),
        publish(DELAY_EXCHANGE, f"1.{GITHUB.queue()}.x"), publish(DELAY_EXCHANGE, f"1.x.{GITHUB.queue()}"),
    ]  # fmt: skip
    try:
        answers = await asyncio.to_thread(lambda: [refused(uri, attempt) for attempt in (*allowed, *forbidden)])
        assert answers == [None] * len(allowed) + ["403"] * len(forbidden)
    finally:
        await host.management.delete(f"users/{user}")


async def test_a_user_of_a_source_is_no_user_of_the_management_api(newest: VirtualHost) -> None:
    user = f"{newest.name}-ingest"
    await newest.management.declare(ingest_user(newest.name, GITHUB, user, "secret"), settle_s=0)
    try:
        with pytest.raises(ForebayError):
            async with type(newest.management)(newest.server.management_url, user, "secret") as management:
                await management.version()
    finally:
        await newest.management.delete(f"users/{user}")


async def test_a_worker_that_keda_counts_by_is_told_lengths_and_gets_no_message_of_another(newest: VirtualHost) -> None:
    user = f"{newest.name}-worker"
    await newest.management.declare(worker_user(newest.name, GITHUB, user, "secret", counts=True), settle_s=0)
    try:
        async with type(newest.management)(newest.server.management_url, user, "secret") as management:
            found = await management.queues(newest.name)
            assert {GITHUB.queue(), GITHUB.dead} <= {queue.name for queue in found}
            path = f"queues/{quote(newest.name, safe='')}/{STRIPE.queue()}/get"
            with pytest.raises(ForebayError):
                await management.post(path, {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"})
    finally:
        await newest.management.delete(f"users/{user}")
