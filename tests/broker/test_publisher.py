"""Every way in which a publish can end, on real brokers: only what the broker has for good is called confirmed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from forebay.amqp.frames import cut
from forebay.amqp.publisher import Outcome, Publisher
from forebay.envelope import AmqpMessage
from forebay.errors import Rejected, Unavailable
from forebay.management import SETTLE_S
from forebay.topology import BrokerObject
from tests.broker.proxy import proxy
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually, so

EXCHANGE, QUEUE = "amq.direct", "kept"


def queue(host: VirtualHost, name: str = QUEUE, *, bounded: bool = False) -> list[BrokerObject]:
    bound = {"x-max-length": 2, "x-overflow": "reject-publish"} if bounded else {}
    body = {"durable": True, "arguments": {"x-queue-type": "quorum", **bound}}
    path = f"queues/{host.name}/{name}"
    binding = f"bindings/{host.name}/e/{EXCHANGE}/q/{name}"
    return [
        BrokerObject(kind="queue", name=name, path=path, body=body),
        BrokerObject(kind="binding", name=name, path=binding, body={"routing_key": name}, method="POST"),
    ]


async def declare(host: VirtualHost, *, bounded: bool = False, settle_s: float = 0.0) -> None:
    await host.management.declare(queue(host, bounded=bounded), settle_s=settle_s)


@asynccontextmanager
async def publishing(uri: str, **bounds: Any) -> AsyncIterator[Publisher]:
    publisher = Publisher(lambda: uri, name="test", **bounds)
    running = asyncio.ensure_future(publisher.run())
    try:
        await eventually(so(lambda: publisher.obstacle is None), every_s=0.01)
        yield publisher
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def message(number: int = 0, body: bytes = b"x") -> AmqpMessage:
    return AmqpMessage(
        message_id=f"id-{number}", timestamp=1, content_type="text/plain", headers={"n": number}, body=body
    )


async def outcome(publisher: Publisher, *, key: str = QUEUE, number: int = 0, exchange: str = EXCHANGE) -> Outcome:
    one = message(number)
    ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    publisher.send(publisher.encode(exchange, key, one), cut(one.message_id), ended.set_result)
    async with asyncio.timeout(15):
        return await ended


def send_until_heard(publisher: Publisher, heard: list[Outcome]) -> int:
    """Publish in one turn of the loop until the first outcome is known, for ten seconds at most. How many."""
    end, sent = time.monotonic() + 10, 0
    while not heard and time.monotonic() < end:
        one = message(sent, b"x" * 8192)
        publisher.send(publisher.encode(EXCHANGE, QUEUE, one), cut(one.message_id), heard.append)
        sent += 1
        time.sleep(0.001)
    return sent


async def ready(host: VirtualHost, name: str = QUEUE) -> list[str]:
    """The ids in a queue, taken out."""
    body = {"count": 1000, "ackmode": "ack_requeue_false", "encoding": "auto"}
    found = await host.management.post(f"queues/{host.name}/{name}/get", body)
    return [one["properties"]["message_id"] for one in found]


async def test_what_is_confirmed_is_in_the_queue_as_it_was_sent(broker: VirtualHost) -> None:
    await declare(broker)
    async with publishing(broker.uri) as publisher:
        assert await asyncio.gather(*(outcome(publisher, number=n) for n in range(200))) == [Outcome.CONFIRMED] * 200
        large = bytes(range(256)) * 2000
        await publisher.publish(EXCHANGE, QUEUE, message(200, large))
        assert publisher.in_flight == publisher.in_flight_bytes == 0
    body = {"count": 1000, "ackmode": "ack_requeue_false", "encoding": "base64"}
    found = await broker.management.post(f"queues/{broker.name}/{QUEUE}/get", body)
    assert [one["properties"]["message_id"] for one in found] == [f"id-{n}" for n in range(201)]
    first = found[0]["properties"]
    assert (first["delivery_mode"], first["headers"]["n"], first["content_type"]) == (2, 0, "text/plain")
    assert found[200]["payload_bytes"] == len(large)


async def test_in_a_long_turn_of_the_loop_the_first_are_confirmed_while_the_last_are_sent(broker: VirtualHost) -> None:
    await declare(broker)
    async with publishing(broker.uri, max_in_flight=100_000) as publisher:
        heard: list[Outcome] = []
        sent = send_until_heard(publisher, heard)
        assert heard
        await eventually(so(lambda: len(heard) == sent))
        assert set(heard) == {Outcome.CONFIRMED}


async def test_what_nobody_is_bound_for_is_never_called_confirmed(broker: VirtualHost) -> None:
    await declare(broker)
    async with publishing(broker.uri) as publisher:
        assert await outcome(publisher, key="nobody") is Outcome.UNROUTABLE
        with pytest.raises(Rejected):
            await publisher.publish(EXCHANGE, "nobody", message())
        mixed = [outcome(publisher, key=QUEUE if n % 3 else "nobody", number=n) for n in range(300)]
        ended = await asyncio.gather(*mixed)
        assert ended == [Outcome.CONFIRMED if n % 3 else Outcome.UNROUTABLE for n in range(300)]
    assert await ready(broker) == [f"id-{n}" for n in range(300) if n % 3]


async def test_after_the_queue_is_deleted_nothing_is_called_confirmed(broker: VirtualHost) -> None:
    await declare(broker)
    async with publishing(broker.uri) as publisher:
        assert await outcome(publisher) is Outcome.CONFIRMED
        await broker.management.delete(f"queues/{broker.name}/{QUEUE}")
        ended = await asyncio.gather(*(outcome(publisher, number=n) for n in range(200)))
        assert set(ended) == {Outcome.UNROUTABLE}


async def test_a_full_queue_says_no_and_then_yes_again(broker: VirtualHost) -> None:
    await declare(broker, bounded=True)
    async with publishing(broker.uri) as publisher:

        async def refused() -> bool:
            return await outcome(publisher) is Outcome.REFUSED

        await eventually(refused, every_s=0.01)
        with pytest.raises(Unavailable):
            await publisher.publish(EXCHANGE, QUEUE, message())
        await ready(broker)

        async def taken() -> bool:
            return await outcome(publisher) is Outcome.CONFIRMED

        await eventually(taken, every_s=0.01)


async def test_an_exchange_that_is_not_there_is_a_no_and_the_next_publish_works(broker: VirtualHost) -> None:
    await declare(broker)
    async with publishing(broker.uri) as publisher:
        assert await outcome(publisher, exchange="missing") is Outcome.DISCONNECTED
        assert "404" in (publisher.link.error or "404")
        await eventually(so(lambda: publisher.obstacle is None), every_s=0.005)
        assert await outcome(publisher) is Outcome.CONFIRMED


async def test_a_broker_that_hangs_is_a_no_in_time_and_back_at_once_when_it_goes_on(broker: VirtualHost) -> None:
    await declare(broker)
    async with publishing(broker.uri, confirm_s=0.5) as publisher:
        assert await outcome(publisher) is Outcome.CONFIRMED
        broker.server.pause()
        try:
            began = time.monotonic()
            assert await outcome(publisher, number=1) is Outcome.TIMEOUT
            assert 0.45 < time.monotonic() - began < 1.2
            # Nobody answers, and nobody is kept waiting for it.
            assert await outcome(publisher, number=2) in (Outcome.DOWN, Outcome.DISCONNECTED)
        finally:
            broker.server.resume()
        began = time.monotonic()
        await eventually(so(lambda: publisher.obstacle is None), every_s=0.005)
        assert await outcome(publisher, number=3) is Outcome.CONFIRMED
        assert time.monotonic() - began < 2


async def test_a_memory_alarm_is_a_no_at_once_until_it_is_over(broker: VirtualHost) -> None:
    await declare(broker)
    async with publishing(broker.uri, confirm_s=30) as publisher:
        assert await outcome(publisher) is Outcome.CONFIRMED
        await broker.server.control("set_vm_memory_high_watermark", "0.000001")
        try:

            async def blocked() -> bool:
                return await outcome(publisher) is Outcome.BLOCKED

            await eventually(blocked, every_s=0.05)
            assert publisher.link.blocked
            assert publisher.obstacle is Outcome.BLOCKED
            began = time.monotonic()
            assert await outcome(publisher) is Outcome.BLOCKED
            assert time.monotonic() - began < 0.1
            assert publisher.link.up
        finally:
            await broker.server.control("set_vm_memory_high_watermark", "0.6")
        await eventually(so(lambda: publisher.obstacle is None), every_s=0.05)
        assert await outcome(publisher, number=7) is Outcome.CONFIRMED


async def test_beyond_the_bounds_it_is_busy(newest_broker: VirtualHost) -> None:
    await declare(newest_broker)
    async with publishing(newest_broker.uri, max_in_flight=10) as publisher:
        ended = await asyncio.gather(*(outcome(publisher, number=n) for n in range(15)))
        assert ended == [Outcome.CONFIRMED] * 10 + [Outcome.BUSY] * 5
    assert len(await ready(newest_broker)) == 10


async def test_a_broker_that_is_killed_is_a_no_and_what_it_had_confirmed_is_there_afterwards(
    newest_broker: VirtualHost,
) -> None:
    await declare(newest_broker, settle_s=SETTLE_S)
    async with publishing(newest_broker.uri) as publisher:
        confirmed: list[str] = []
        ended: list[Outcome] = []

        def heard(number: int, found: Outcome) -> None:
            ended.append(found)
            if found is Outcome.CONFIRMED:
                confirmed.append(f"id-{number}")

        async def flood() -> None:
            for number in range(100_000):
                one = message(number)
                frames, key = publisher.encode(EXCHANGE, QUEUE, one), cut(one.message_id)
                publisher.send(frames, key, lambda found, number=number: heard(number, found))  # type: ignore[misc]
                if number % 20 == 0:
                    await asyncio.sleep(0.002)

        flooding = asyncio.ensure_future(flood())
        await eventually(so(lambda: len(confirmed) > 500), every_s=0.005)
        killing = asyncio.ensure_future(newest_broker.server.kill())
        await eventually(so(lambda: Outcome.DOWN in ended), every_s=0.005)
        flooding.cancel()
        await killing
        assert publisher.in_flight == 0
        assert {Outcome.CONFIRMED, Outcome.DISCONNECTED} <= set(ended)
        assert publisher.link.error
        await newest_broker.server.start()
        await eventually(so(lambda: publisher.obstacle is None), every_s=0.005)
        assert await outcome(publisher, number=-1) is Outcome.CONFIRMED
    kept = set()
    while found := await ready(newest_broker):
        kept |= set(found)
    assert not set(confirmed) - kept


async def test_a_rotated_password_is_found_at_the_next_connection(newest_broker: VirtualHost) -> None:
    host = newest_broker
    await declare(host)
    password = [host.password]
    publisher = Publisher(
        lambda: host.server.uri(vhost=host.name, username=host.username, password=password[0]), name="t"
    )
    running = asyncio.ensure_future(publisher.run())
    await eventually(so(lambda: publisher.obstacle is None), every_s=0.01)
    await host.management.put(f"users/{host.username}", {"password": "rotated", "tags": ""})
    assert await outcome(publisher) is Outcome.CONFIRMED  # what is connected stays so
    publisher.link.recycle("the test")
    await eventually(so(lambda: "ACCESS_REFUSED" in (publisher.link.error or "")), every_s=0.01)
    assert "rotated" not in str(publisher.link.error)
    assert host.password not in str(publisher.link.error)
    password[0] = "rotated"
    await eventually(so(lambda: publisher.obstacle is None), every_s=0.01)
    assert await outcome(publisher) is Outcome.CONFIRMED
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_several_urls_are_tried_in_turn(newest_broker: VirtualHost) -> None:
    await declare(newest_broker)
    async with publishing(f"amqp://u:p@127.0.0.1:1/x, {newest_broker.uri} ,amqp://u:p@nohost.invalid/x") as publisher:
        assert await outcome(publisher) is Outcome.CONFIRMED


async def test_a_confirm_that_a_former_connection_still_delivers_confirms_nothing(newest_broker: VirtualHost) -> None:
    await declare(newest_broker)
    async with proxy(newest_broker.server.amqp_port) as between:
        uri = newest_broker.uri.replace(str(newest_broker.server.amqp_port), str(between.port))
        async with publishing(uri) as publisher:
            ends: list[Outcome] = []
            former = between.connections[-1]
            former.hold()
            one = message(1)
            publisher.send(publisher.encode(EXCHANGE, QUEUE, one), cut(one.message_id), ends.append)
            await eventually(so(lambda: former.held), every_s=0.001)  # its confirm is on the way
            attempts = publisher.link.attempts
            publisher.link.recycle("the test")
            await eventually(
                so(lambda: publisher.link.attempts > attempts and publisher.obstacle is None), every_s=0.001
            )
            assert ends == [Outcome.DISCONNECTED]
            between.connections[-1].hold()
            publisher.send(publisher.encode(EXCHANGE, QUEUE, one), cut(one.message_id), ends.append)
            heard = former.let_go()
            assert heard > 0
            for _ in range(20):
                await asyncio.sleep(0)
            assert ends == [Outcome.DISCONNECTED]
            between.connections[-1].let_go()
            await eventually(so(lambda: len(ends) == 2), every_s=0.001)
            assert ends[1] is Outcome.CONFIRMED


async def test_the_end_of_a_former_connection_is_not_the_end_of_the_present_one(newest_broker: VirtualHost) -> None:
    await declare(newest_broker)
    async with proxy(newest_broker.server.amqp_port) as between:
        uri = newest_broker.uri.replace(str(newest_broker.server.amqp_port), str(between.port))
        async with publishing(uri) as publisher:
            former = between.connections[-1]
            former.hold()  # it will never answer a polite close, and is dropped only when the next one is there
            publisher.link.recycle("the test")
            await eventually(so(lambda: len(between.connections) == 2 and publisher.obstacle is None), every_s=0.001)
            await eventually(so(lambda: former.ended), every_s=0.001)
            for _ in range(20):
                await asyncio.sleep(0)
            assert await outcome(publisher) is Outcome.CONFIRMED
            assert len(between.connections) == 2


async def test_at_the_end_nothing_is_left_without_an_answer_and_the_broker_hears_of_it(
    newest_broker: VirtualHost,
) -> None:
    await declare(newest_broker)
    ends: list[Outcome] = []
    async with proxy(newest_broker.server.amqp_port) as between:
        uri = newest_broker.uri.replace(str(newest_broker.server.amqp_port), str(between.port))
        async with publishing(uri) as publisher:
            between.connections[-1].hold()
            publisher.send(publisher.encode(EXCHANGE, QUEUE, message()), b"id-0", ends.append)
            assert publisher.in_flight == 1
    assert ends == [Outcome.DISCONNECTED]
