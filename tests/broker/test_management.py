"""The client of RabbitMQ's management API, against the real one of each release."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pika
import pytest
from aiohttp import web

from forebay.errors import Rejected, Unavailable
from forebay.management import Inequivalent, Management, Missing, QueueDepth
from forebay.topology import (
    BrokerObject,
    Names,
    SourceTopology,
    ingest_user,
    shared_objects,
    source_objects,
    worker_user,
)
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually

SOURCE = SourceTopology(names=Names("payments", "github"), queues=("default", "urgent"))


def queue(host: VirtualHost, name: str, **arguments: object) -> BrokerObject:
    body = {"durable": True, "arguments": {"x-queue-type": "quorum", **arguments}}
    return BrokerObject(kind="queue", name=name, path=f"queues/{host.name}/{name}", body=body)


async def publish(host: VirtualHost, name: str, count: int = 1) -> None:
    """Through the default exchange, by the management API itself."""
    body = {"properties": {"delivery_mode": 2}, "routing_key": name, "payload": "x", "payload_encoding": "string"}
    for _ in range(count):
        assert (await host.management.post(f"exchanges/{host.name}/amq.default/publish", body))["routed"]


def publish_confirmed(uri: str, name: str, count: int) -> None:
    with pika.BlockingConnection(pika.URLParameters(uri)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for number in range(count):
            channel.basic_publish("", name, str(number).encode(), mandatory=True)


def ready_messages(uri: str, name: str) -> int:
    with pika.BlockingConnection(pika.URLParameters(uri)) as connection:
        return int(connection.channel().queue_declare(name, passive=True).method.message_count)


async def names_of(host: VirtualHost, kind: str) -> set[str]:
    return {item["name"] for item in await host.management.get(f"{kind}/{host.name}")}


async def test_it_tells_the_version(broker: VirtualHost, release: str) -> None:
    version = await broker.management.version()
    assert version == broker.version
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert release == "newest" or version.startswith(release)


async def test_declaring_makes_the_whole_topology_and_declaring_again_changes_nothing(broker: VirtualHost) -> None:
    objects = [*shared_objects(broker.name), *source_objects(broker.name, SOURCE)]
    await broker.management.declare(objects, settle_s=0)
    first = await snapshot(broker)
    await broker.management.declare(objects, settle_s=0)
    assert await snapshot(broker) == first
    expected = {item.name for item in objects if item.kind == "queue"}
    assert await names_of(broker, "queues") == expected


async def snapshot(host: VirtualHost) -> Sequence[object]:
    """Everything declared in the virtual host, without what the broker counts."""
    queues = await host.management.get(f"queues/{host.name}?columns=name,arguments,durable,policy")
    return [
        sorted(queues, key=lambda item: str(item["name"])),
        await host.management.get(f"exchanges/{host.name}?columns=name,type,durable,arguments"),
        await host.management.get(f"bindings/{host.name}"),
        await host.management.get(f"policies/{host.name}"),
    ]


async def test_declaring_works_in_any_order(broker: VirtualHost) -> None:
    objects = [*shared_objects(broker.name), *source_objects(broker.name, SOURCE)]
    await broker.management.declare(reversed(objects), settle_s=0)
    assert await names_of(broker, "queues") >= {"forebay.payments.github.default", "forebay.payments.github.dead"}


async def test_users_get_their_rights(broker: VirtualHost) -> None:
    ingest, worker = f"{broker.name}-ingest", f"{broker.name}-worker"
    objects = [
        *ingest_user(broker.name, SOURCE.names, ingest, "secret-1"),
        *worker_user(broker.name, SOURCE.names, worker, "secret-2"),
        *shared_objects(broker.name),
    ]
    try:
        await broker.management.declare(objects, settle_s=0)
        rights = await broker.management.get(f"permissions/{broker.name}/{ingest}")
        seen = re.escape(SOURCE.names.seen)  # what came before, which endpoints tell each other
        assert (rights["configure"], rights["read"]) == ("^$", f"^{seen}$")
        assert await broker.management.get(f"topic-permissions/{broker.name}/{worker}")
    finally:
        await broker.management.delete(f"users/{ingest}")
        await broker.management.delete(f"users/{worker}")


async def test_other_arguments_of_an_object_that_exists_are_told_apart_from_other_refusals(broker: VirtualHost) -> None:
    await broker.management.declare([queue(broker, "jobs")], settle_s=0)
    with pytest.raises(Inequivalent, match=r"queue 'jobs'.*x-delivery-limit"):
        await broker.management.declare([queue(broker, "jobs", **{"x-delivery-limit": 5})], settle_s=0)
    with pytest.raises(Rejected, match=r"queue 'odd'") as refused:
        await broker.management.declare([queue(broker, "odd", **{"x-overflow": "nonsense"})], settle_s=0)
    assert not isinstance(refused.value, Inequivalent)


async def test_a_declared_queue_survives_a_kill_with_what_it_confirmed_at_once(broker: VirtualHost) -> None:
    await broker.management.declare([queue(broker, "jobs")])
    await asyncio.to_thread(publish_confirmed, broker.uri, "jobs", 100)
    await broker.server.kill()
    await broker.server.start()

    async def recovered() -> bool:
        return await asyncio.to_thread(ready_messages, broker.uri, "jobs") == 100

    await eventually(recovered)


async def test_one_bad_object_among_many_is_the_one_named(broker: VirtualHost) -> None:
    objects = [queue(broker, f"good-{number}") for number in range(20)]
    with pytest.raises(Rejected, match=r"queue 'bad'"):
        await broker.management.declare([*objects, queue(broker, "bad", **{"x-overflow": "nonsense"})])


async def test_depths_of_all_queues_come_in_one_call(broker: VirtualHost) -> None:
    await broker.management.declare([queue(broker, "full"), queue(broker, "empty")], settle_s=0)
    await publish(broker, "full", 3)

    async def counted() -> bool:
        depths = await broker.management.queues(broker.name)
        return {depth.name: depth.messages for depth in depths} == {"full": 3, "empty": 0}

    await eventually(counted)


async def test_the_depth_of_one_queue_tells_ready_from_unacknowledged(broker: VirtualHost) -> None:
    await broker.management.declare([queue(broker, "jobs")], settle_s=0)
    await publish(broker, "jobs", 2)

    async def counted() -> bool:
        return await broker.management.depth(broker.name, "jobs") == QueueDepth(name="jobs", ready=2, unacknowledged=0)

    await eventually(counted)


async def test_a_queue_that_is_not_there_is_missing(newest_broker: VirtualHost) -> None:
    with pytest.raises(Missing, match="queue 'nowhere'"):
        await newest_broker.management.depth(newest_broker.name, "nowhere")


async def test_deleting_what_is_not_there_is_success(broker: VirtualHost) -> None:
    await broker.management.declare([queue(broker, "jobs")], settle_s=0)
    await broker.management.delete(f"queues/{broker.name}/jobs")
    await broker.management.delete(f"queues/{broker.name}/jobs")
    assert await names_of(broker, "queues") == set()


async def test_a_virtual_host_that_is_not_there_is_named(newest_broker: VirtualHost) -> None:
    item = BrokerObject(kind="queue", name="jobs", path="queues/no-such-host/jobs", body={})
    with pytest.raises(Missing, match="queue 'jobs'"):
        await newest_broker.management.declare([item])


async def test_a_wrong_password_is_refused_and_never_repeated(newest_broker: VirtualHost) -> None:
    server = newest_broker.server
    async with Management(server.management_url, server.username, "not-the-password") as management:
        with pytest.raises(Rejected, match=server.username) as refused:
            await management.version()
    assert "not-the-password" not in str(refused.value)


async def test_a_refused_user_does_not_leak_its_password(newest_broker: VirtualHost) -> None:
    body = {"password": "hunter2", "tags": 7}
    item = BrokerObject(kind="user", name="bad", path="users/bad", body=body)
    with pytest.raises((Rejected, Unavailable)) as refused:
        await newest_broker.management.declare([item])
    assert "hunter2" not in str(refused.value)


async def test_an_api_that_is_not_there_is_unavailable_and_the_login_in_its_url_stays_secret() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        url = f"http://me:s3cret@127.0.0.1:{taken.getsockname()[1]}"
        async with Management(url, "me", "s3cret") as management:
            with pytest.raises(Unavailable) as failed:
                await management.version()
    assert "s3cret" not in str(failed.value)


async def test_an_api_that_does_not_answer_is_unavailable_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with Management(url, "me", "x", timeout_s=0.2) as management:
            with pytest.raises(Unavailable, match="no answer in time"):
                await management.version()


# The sort of reason that RabbitMQ gives when the process that its management API spoke to has died.
STUMBLED = {"error": "bad_request", "reason": "{'EXIT',{noproc,{gen_server,call,[a_process_that_died]}}}"}


@asynccontextmanager
async def stumbling(times: int) -> AsyncIterator[tuple[Management, list[str]]]:
    """A management API that stumbles so many times and then does as it is told; and the paths it was asked for.

    It stands in for the broker, which can not be made to give this one answer when a test wants it: a process inside the
    broker has to die at the right moment.
    """
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return web.json_response(STUMBLED, status=400) if len(asked) <= times else web.Response(status=201)

    app = web.Application()
    app.router.add_put("/api/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with Management(f"http://{host}:{port}", "guest", "guest") as management:
            yield management, asked
    finally:
        await runner.cleanup()


EXCHANGE = BrokerObject(kind="exchange", name="e", path="exchanges/%2F/e", body={"type": "direct"})


async def test_a_declaration_that_the_broker_stumbles_over_is_tried_again() -> None:
    async with stumbling(2) as (management, asked):
        await management.declare([EXCHANGE])
    assert asked == ["/api/exchanges/%2F/e"] * 3


async def test_one_that_it_goes_on_stumbling_over_is_left_for_later() -> None:
    async with stumbling(10) as (management, asked):
        with pytest.raises(Unavailable, match=r"RabbitMQ stumbled over exchange 'e': .*EXIT"):
            await management.declare([EXCHANGE])
    assert len(asked) == 4
