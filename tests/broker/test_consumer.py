"""A consumer on real brokers: each message until it is settled, on the connection that delivered it and on no other."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

import pytest

from forebay.amqp.consumer import Consumer, Lane, Message
from tests.broker.proxy import proxy
from tests.broker.test_publisher import QUEUE, declare, message, publishing
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually, so


@dataclass(slots=True)
class Reading:
    """A consumer, and what it got."""

    consumer: Consumer
    messages: list[Message] = field(default_factory=list)

    async def got(self, count: int) -> list[Message]:
        await eventually(so(lambda: len(self.messages) >= count), every_s=0.002)
        return self.messages[:count]


@asynccontextmanager
async def consuming(
    uri: str, *, prefetch: int = 10, lanes: tuple[Lane, ...] = (), reserve: int = 0
) -> AsyncIterator[Reading]:
    found: list[Message] = []
    consumer = Consumer(
        lambda: uri, name="test", queue=QUEUE, prefetch=prefetch, on_message=found.append, lanes=lanes, reserve=reserve
    )
    running = asyncio.ensure_future(consumer.run())
    try:
        yield Reading(consumer, found)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def fill(host: VirtualHost, count: int, *, body: bytes = b"x") -> None:
    await declare(host)
    async with publishing(host.uri) as publisher:
        await asyncio.gather(*(publisher.publish("amq.direct", QUEUE, message(n, body)) for n in range(count)))


async def left(host: VirtualHost) -> int:
    return (await host.management.depth(host.name, QUEUE)).messages


async def none_left(host: VirtualHost) -> bool:
    return await left(host) == 0


def ids(messages: list[Message]) -> list[str | None]:
    return [one.message_id for one in messages]


async def test_messages_come_in_order_and_are_gone_once_acknowledged(broker: VirtualHost) -> None:
    await fill(broker, 50, body=b"y" * 200_000)
    async with consuming(broker.uri) as it:
        done = 0
        while done < 50:
            await it.got(done + 1)
            for one in it.messages[done:]:
                assert one.body == b"y" * 200_000
                assert one.headers == {"n": done}
                assert not one.redelivered
                one.ack()
                done += 1
        assert ids(it.messages) == [f"id-{n}" for n in range(50)]
        await eventually(lambda: none_left(broker))


async def test_no_more_are_open_than_were_asked_for(newest_broker: VirtualHost) -> None:
    await fill(newest_broker, 20)
    async with consuming(newest_broker.uri, prefetch=3) as it:
        await it.got(3)
        it.messages[1].ack()
        await it.got(4)
        await eventually(so(lambda: it.consumer.consuming))
        assert len(it.messages) == 4


async def test_of_a_lane_no_more_are_open_than_it_may_have_whatever_waits_there(newest_broker: VirtualHost) -> None:
    await fill(newest_broker, 10)
    aside = f"{QUEUE}:busy"
    quorum = {"durable": True, "arguments": {"x-queue-type": "quorum"}}
    await newest_broker.management.put(f"queues/{newest_broker.name}/{quote(aside)}", quorum)
    async with publishing(newest_broker.uri) as publisher:
        await asyncio.gather(*(publisher.publish("", aside, message(n)) for n in range(10)))
    async with consuming(newest_broker.uri, prefetch=5, lanes=(Lane(aside, most=3),)) as it:

        def taken() -> Counter[str]:
            return Counter(one.routing_key for one in it.messages)

        await it.got(8)
        assert taken() == {QUEUE: 5, aside: 3}
        next(one for one in it.messages if one.routing_key == aside).ack()
        await it.got(9)
        it.consumer.take(1)  # beside those that are open
        await it.got(11)
        assert taken() == {QUEUE: 6, aside: 5}


async def test_what_was_rejected_comes_again_and_says_so(broker: VirtualHost) -> None:
    await fill(broker, 1)
    async with consuming(broker.uri) as it:
        (first,) = await it.got(1)
        first.reject(requeue=True)
        again = (await it.got(2))[1]
        assert (again.message_id, again.redelivered) == ("id-0", True)
        again.give_back()
        (await it.got(3))[2].ack()
        await eventually(lambda: none_left(broker))


async def test_an_acknowledge_of_a_former_connection_settles_nothing_on_the_present_one(broker: VirtualHost) -> None:
    await fill(broker, 3)
    async with consuming(broker.uri) as it:
        first = await it.got(3)
        it.consumer.link.recycle("the test")
        again = (await it.got(6))[3:]
        assert it.consumer.generation == 2
        assert [one.stale for one in (*first, *again)] == [True] * 3 + [False] * 3
        for one in first:  # the same delivery tags as those of the present connection
            one.ack()
            one.reject(requeue=False)
            one.give_back()
        assert [one.delivery_tag for one in first] == [one.delivery_tag for one in again]
        again[0].ack()
        it.consumer.link.recycle("the test, again")
        last = (await it.got(8))[6:]
        assert sorted(ids(last), key=str) == ["id-1", "id-2"]
        for one in last:
            one.ack()
        await eventually(lambda: none_left(broker))


async def test_what_a_former_connection_still_delivers_is_not_handled(newest_broker: VirtualHost) -> None:
    await declare(newest_broker)
    port = newest_broker.server.amqp_port
    async with (
        proxy(port) as between,
        publishing(newest_broker.uri) as publisher,
        consuming(newest_broker.uri.replace(str(port), str(between.port))) as it,
    ):
        await eventually(so(lambda: it.consumer.consuming), every_s=0.002)
        former = between.connections[-1]
        former.hold()
        await publisher.publish("amq.direct", QUEUE, message(1))
        await eventually(so(lambda: former.held), every_s=0.001)
        it.consumer.link.recycle("the test")
        await eventually(so(lambda: it.consumer.generation == 2), every_s=0.001)
        former.let_go()
        (only,) = await it.got(1)
        assert not only.stale
        only.ack()
        await eventually(lambda: none_left(newest_broker))
        assert len(it.messages) == 1


async def test_a_queue_that_is_deleted_is_waited_for_without_a_flood_of_connections(broker: VirtualHost) -> None:
    await fill(broker, 1)
    async with consuming(broker.uri) as it:
        await it.got(1)
        await broker.management.delete(f"queues/{broker.name}/{QUEUE}")
        await eventually(so(lambda: not it.consumer.consuming), every_s=0.002)
        await eventually(so(lambda: "404" in (it.consumer.link.error or "")), every_s=0.002)
        attempts = it.consumer.link.attempts
        await asyncio.wait({asyncio.ensure_future(eventually(so(lambda: it.consumer.consuming)))}, timeout=1.5)
        assert it.consumer.link.attempts - attempts < 12
        await fill(broker, 1)
        await it.got(2)


async def test_stopped_it_takes_nothing_more_and_what_it_has_can_be_settled(broker: VirtualHost) -> None:
    await fill(broker, 2)
    async with consuming(broker.uri, prefetch=1) as it:
        await it.got(1)
        await it.consumer.stop_consuming()
        assert not it.consumer.consuming
        it.messages[0].ack()

        async def one_left() -> bool:
            return await left(broker) == 1

        await eventually(one_left)
        assert len(it.messages) == 1
        it.consumer.resume_consuming()
        await it.got(2)
        assert it.consumer.consuming


async def test_acknowledges_wait_for_each_other_within_the_reserve_and_when_it_stops_not_at_all(
    newest_broker: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.amqp.consumer.JOIN_S", 3600.0)
    await fill(newest_broker, 20)
    async with consuming(newest_broker.uri, prefetch=6, reserve=3) as it:
        await it.got(6)
        it.messages[0].ack()
        it.messages[1].ack()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(it.got(7), timeout=0.5)
        it.messages[2].ack()
        await it.got(9)
        it.messages[3].ack()
        await it.consumer.stop_consuming()
        it.messages[4].ack()

        async def fifteen_left() -> bool:
            return await left(newest_broker) == 15

        await eventually(fifteen_left)


async def test_an_acknowledge_waits_for_others_but_not_for_long(newest_broker: VirtualHost) -> None:
    await fill(newest_broker, 20)
    async with consuming(newest_broker.uri, prefetch=6, reserve=3) as it:
        await it.got(6)
        it.messages[0].ack()
        await it.got(7)


async def test_stopped_before_the_broker_has_answered_it_takes_nothing_either(newest_broker: VirtualHost) -> None:
    await declare(newest_broker)
    port = newest_broker.server.amqp_port
    async with proxy(port) as between, consuming(newest_broker.uri.replace(str(port), str(between.port))) as it:
        await eventually(so(lambda: it.consumer.link.up), every_s=0.0)
        between.connections[-1].hold()
        await it.consumer.stop_consuming(within_s=0.05)
        between.connections[-1].let_go()
        await eventually(lambda: nobody_consumes(newest_broker), every_s=0.1)
        assert not it.consumer.consuming
        it.consumer.resume_consuming()
        it.consumer.resume_consuming()  # once is enough
        await eventually(lambda: consumers_are(newest_broker, 1), every_s=0.1)


async def test_a_broker_that_never_says_that_it_has_registered_the_consumer_is_asked_anew(
    newest_broker: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.amqp.consumer.ANSWER_S", 0.3)
    await fill(newest_broker, 1)
    port = newest_broker.server.amqp_port
    async with proxy(port) as between, consuming(newest_broker.uri.replace(str(port), str(between.port))) as it:
        await eventually(so(lambda: it.consumer.link.up), every_s=0.0)
        between.connections[-1].hold()
        await eventually(so(lambda: "registered" in (it.consumer.link.error or "")), every_s=0.002)
        await it.got(1)
        assert it.consumer.generation == 2
        await asyncio.sleep(0.5)  # one that was registered is not asked anew
        assert it.consumer.generation == 2


async def nobody_consumes(host: VirtualHost) -> bool:
    return await consumers_are(host, 0)


async def consumers_are(host: VirtualHost, count: int) -> bool:
    return len(await host.management.get(f"consumers/{host.name}")) == count


async def test_stopped_and_reconnected_it_stays_stopped(newest_broker: VirtualHost) -> None:
    await fill(newest_broker, 1)
    async with consuming(newest_broker.uri) as it:
        await it.got(1)
        await it.consumer.stop_consuming()
        it.consumer.link.recycle("the test")
        await eventually(so(lambda: it.consumer.generation == 2), every_s=0.002)
        await eventually(lambda: nobody_consumes(newest_broker))
        assert len(it.messages) == 1


async def test_a_memory_alarm_does_not_stop_consuming(newest_broker: VirtualHost) -> None:
    await fill(newest_broker, 20)
    await newest_broker.server.control("set_vm_memory_high_watermark", "0.000001")
    try:
        async with consuming(newest_broker.uri) as it:
            for number in range(20):
                (await it.got(number + 1))[number].ack()
            await eventually(lambda: none_left(newest_broker))
    finally:
        await newest_broker.server.control("set_vm_memory_high_watermark", "0.6")
