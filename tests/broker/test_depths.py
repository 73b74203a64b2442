"""How deep queues are, asked by a worker's own user over the connection it has anyway."""

import asyncio
import math

from forebay.amqp.consumer import Consumer
from forebay.amqp.depths import Depths
from forebay.topology import Names, SourceTopology, shared_objects, source_objects, worker_user
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually, so

NAMES = Names("shop", "orders")


async def test_a_worker_sees_its_queues_and_a_missing_one_disturbs_nothing(broker: VirtualHost) -> None:
    user = f"{broker.name}-worker"
    declared = [
        *shared_objects(broker.name),
        *source_objects(broker.name, SourceTopology(names=NAMES)),
        *worker_user(broker.name, NAMES, user, "secret"),
    ]
    await broker.management.declare(declared, settle_s=0)
    letter = {"properties": {}, "routing_key": NAMES.dead, "payload": "x", "payload_encoding": "string"}
    for _ in range(3):
        await broker.management.post(f"exchanges/{broker.name}/{NAMES.exchange}/publish", letter)
    uri = broker.server.uri(vhost=broker.name, username=user, password="secret")
    consumer = Consumer(lambda: uri, name="depths", queue=NAMES.queue(), prefetch=1, on_message=lambda _: None)
    depths = Depths(consumer.link, (NAMES.queue("gone"), NAMES.dead, NAMES.queue()), every_s=0.1)
    tasks = [asyncio.ensure_future(consumer.run()), asyncio.ensure_future(depths.run())]
    try:
        await eventually(
            so(lambda: depths.of(NAMES.dead) == 3),
            instead=lambda: (depths.of(NAMES.dead), consumer.link.error, consumer.consuming, tasks),
        )
        await eventually(so(lambda: depths.of(NAMES.queue()) == 0))
        assert math.isnan(depths.of(NAMES.queue("gone")))
        assert consumer.consuming
        assert consumer.link.attempts == 1, "the question for a missing queue cost the connection"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await broker.management.delete(f"users/{user}")
