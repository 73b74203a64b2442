"""`forebay dlq` on real brokers: looking changes nothing, and replaying loses nothing, whoever is killed in the middle."""

import asyncio
import json
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pika
import pytest

from forebay import manifest as manifests
from forebay.amqp.publisher import Publisher
from forebay.envelope import AmqpMessage, Envelope, decode, encode
from forebay.runtime import Runtime
from forebay.settings import Destination, WorkerSettings, dump
from forebay.telemetry import Log
from forebay.topology import Names
from forebay_cli.dead.reader import FIRST_PLACES, _Page, connected, reader
from forebay_cli.dead.replay import WINDOW
from forebay_cli.distribution import machine_version
from forebay_cli.local.topology import settle
from forebay_cli.rabbitmq import private_broker
from forebay_worker.app import Worker
from tests.support.brokers import VirtualHost
from tests.support.command_line import Ran, environment, run, start
from tests.support.envelopes import envelope
from tests.support.sources import manifest
from tests.support.waiting import eventually

NAMES = Names("payments", "github")
DEAD, DEFAULT, RELEASES = NAMES.dead, NAMES.queue(), NAMES.queue("releases")
SOURCE = manifests.read_source(
    manifest(metadata__namespace="payments", spec__queues=[{"name": "releases", "match": {"eventTypes": ["release"]}}])
)
DIED = 1_790_000_000_000

T = TypeVar("T")


def letter(number: int, **changes: Any) -> Envelope:
    """A dead letter of a worker."""
    reason = changes.pop("reason", "exhausted")
    at = changes.pop("at", DIED)
    return envelope(id=f"01990000-0000-7000-8000-{number:012}", body=b"%d" % number, **changes).buried(
        reason, "why", at
    )


async def publish(uri: str, queue: str, messages: Iterable[AmqpMessage]) -> None:
    publisher = Publisher(lambda: uri, name="test")
    work = asyncio.create_task(publisher.run())
    await connected(publisher.link)
    while publisher.obstacle is not None:  # it tells no event
        await asyncio.sleep(0.01)
    await asyncio.gather(*(publisher.publish(NAMES.exchange, queue, message) for message in messages))
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def bury(uri: str, letters: Iterable[Envelope]) -> None:
    await publish(uri, DEAD, map(encode, letters))


async def amqp(uri: str, work: Callable[[Any], T]) -> T:
    """Do it on a channel of a client that is none of ours."""

    def connect() -> T:
        connection = pika.BlockingConnection(pika.URLParameters(uri))
        try:
            return work(connection.channel())
        finally:
            connection.close()

    return await asyncio.to_thread(connect)


async def count(uri: str, queue: str) -> int:
    return await amqp(uri, lambda channel: int(channel.queue_declare(queue, passive=True).method.message_count))


async def take(uri: str, queue: str) -> list[tuple[Any, bytes]]:
    """Every message of a queue, taken out of it."""

    def work(channel: Any) -> list[tuple[Any, bytes]]:
        found = []
        while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
            found.append((got[1], got[2]))
        return found

    return await amqp(uri, work)


async def numbers(uri: str, queue: str) -> Counter[int]:
    return Counter(int(body) for _, body in await take(uri, queue))


class Desk:
    """The source's place on a broker, and the command line to work on it."""

    def __init__(self, uri: str, state: Path) -> None:
        self.uri = uri
        self.environ = environment(state, FOREBAY_BROKER=uri)

    async def dlq(self, command: str, *arguments: str) -> Ran:
        return await run(self.environ, "dlq", command, "--source", "payments/github", *arguments)

    async def starts(self, command: str, *arguments: str) -> asyncio.subprocess.Process:
        return await start(self.environ, "dlq", command, "--source", "payments/github", *arguments)

    async def counts(self) -> tuple[int, int]:
        return await count(self.uri, DEAD), await count(self.uri, DEFAULT)


@pytest.fixture
async def desk(newest_broker: VirtualHost, tmp_path: Path) -> Desk:
    await settle(SOURCE, newest_broker.server, newest_broker.name)
    return Desk(newest_broker.uri, tmp_path)


@asynccontextmanager
async def replaying(desk: Desk, moved: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A replay of everything, caught in the middle."""
    process = await desk.starts("replay", "--all", "--rate", "150")

    async def begun() -> bool:
        assert process.returncode is None, "it ended too early"
        return await count(desk.uri, DEFAULT) >= moved

    await eventually(begun, within_s=30)
    yield process


async def test_a_list_shows_what_died_and_changes_nothing(desk: Desk) -> None:
    await bury(desk.uri, [letter(1), letter(2, reason="gone", queue="releases", event_type="release")])
    for _ in range(2):
        listed = await desk.dlq("list")
        assert "exhausted" in listed.out
        assert "release" in listed.out
        assert listed.err == "2 of 2 dead letters: 1 exhausted, 1 gone\n"
    assert await count(desk.uri, DEAD) == 2


async def test_a_letter_is_shown_with_everything_known_of_it(desk: Desk, tmp_path: Path) -> None:
    await bury(desk.uri, [letter(number) for number in range(3)])
    shown = await desk.dlq("show", letter(1).id)
    assert shown.status == 0
    assert "exhausted: why" in shown.out
    assert "X-GitHub-Event: push" in shown.out
    saved = await desk.dlq("show", letter(2).id, "--body-to", str(tmp_path / "body"), "-o", "json")
    assert json.loads(saved.out)["body"] == "2"
    assert (tmp_path / "body").read_bytes() == b"2"
    missing = await desk.dlq("show", "none")
    assert (missing.status, missing.err.count("\n")) == (1, 1)
    assert "dlq list shows those there are" in missing.err


async def test_looking_more_often_than_the_delivery_limit_drops_nothing(desk: Desk) -> None:
    await bury(desk.uri, [letter(1)])
    for _ in range(25):
        async with reader(desk.uri, NAMES) as letters:
            assert [found.id async for found, _ in letters.letters()] == [letter(1).id]


async def test_a_replayed_letter_is_the_webhook_as_it_came_in(desk: Desk) -> None:
    await bury(desk.uri, [letter(1), letter(2, queue="releases")])
    replayed = await desk.dlq("replay", letter(2).id, "-o", "json")
    assert json.loads(replayed.out)["replayed"] == 1
    [(properties, body)] = await take(desk.uri, RELEASES)
    again = decode(properties.message_id, properties.content_type, properties.headers, body)
    original = envelope(id=letter(2).id, body=b"2", queue="releases")
    assert again.replayed_from == "exhausted at 2026-09-21T14:13:20Z after 0 attempts"
    assert encode(again).headers == {**encode(original).headers, "forebay-replayed-from": again.replayed_from}
    assert await numbers(desk.uri, DEAD) == {1: 1}


async def test_only_those_that_are_meant_are_replayed_also_behind_many_that_are_not(desk: Desk) -> None:
    others = FIRST_PLACES * 2
    await bury(desk.uri, [letter(number) for number in range(others)])
    await bury(desk.uri, [letter(others + number, event_type="release") for number in range(20)])
    counted = await desk.dlq("replay", "--event-type", "rel*", "--dry-run")
    assert counted.out == f"20 of {others + 20:,} dead letters would be replayed (20 exhausted)\n"
    assert await desk.counts() == (others + 20, 0)
    assert (await desk.dlq("replay", "--event-type", "rel*", "--limit", "15")).status == 0
    assert await numbers(desk.uri, DEFAULT) == dict.fromkeys(range(others, others + 15), 1)
    assert await numbers(desk.uri, DEAD) == dict.fromkeys([*range(others), *range(others + 15, others + 20)], 1)


async def test_a_replay_that_is_killed_loses_nothing_and_the_next_one_finishes_it(desk: Desk) -> None:
    await bury(desk.uri, [letter(number) for number in range(300)])
    for moved in (60, 120):
        async with replaying(desk, moved) as process:
            process.send_signal(signal.SIGKILL)
            await process.communicate()
    # The broker gives back what a killed client held as soon as it notices.
    await eventually(lambda: _all_there(desk, 300))
    assert (await desk.dlq("replay", "--all")).status == 0
    assert await count(desk.uri, DEAD) == 0
    moved_to = await numbers(desk.uri, DEFAULT)
    assert moved_to.keys() == set(range(300))
    assert moved_to.total() <= 300 + 2 * WINDOW  # those under way, at each kill


async def test_ctrl_c_finishes_those_under_way_and_leaves_the_rest(desk: Desk) -> None:
    await bury(desk.uri, [letter(number) for number in range(300)])
    async with replaying(desk, 50) as process:
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130
    assert b"stopped; the rest is as it was" in err
    dead, moved = await numbers(desk.uri, DEAD), await numbers(desk.uri, DEFAULT)
    assert dead + moved == dict.fromkeys(range(300), 1)
    assert out.decode().startswith(f"{moved.total()} of 300 dead letters replayed")


@pytest.mark.skipif(machine_version() is None, reason="this machine has no rabbitmq-server")
async def test_a_broker_that_dies_in_the_middle_loses_nothing_and_the_error_says_how_to_go_on(tmp_path: Path) -> None:
    async with private_broker(tmp_path / "broker") as broker:
        await settle(SOURCE, broker, "/")
        desk = Desk(broker.uri(), tmp_path)
        await bury(desk.uri, [letter(number) for number in range(300)])
        async with replaying(desk, 50) as process:
            await broker.kill()
            _, err = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 1
        assert re.fullmatch(r"error: \d+ done, then [^;]+; run it again for the rest\n", err.decode())
        await broker.start()
        assert (await desk.dlq("replay", "--all")).status == 0
        moved = await numbers(desk.uri, DEFAULT)
        assert moved.keys() == set(range(300))
        assert moved.total() <= 300 + WINDOW


async def test_letters_of_a_queue_that_counts_as_empty_until_it_has_a_leader_are_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(desk.uri, [letter(number) for number in range(700)])
    count, counts = _Page.count, iter([0])

    async def without_a_leader_at_first(page: _Page) -> int:
        counted = await count(page)
        return next(counts, counted)

    monkeypatch.setattr(_Page, "count", without_a_leader_at_first)
    async with reader(desk.uri, NAMES) as opened:
        found = [one.envelope.body async for one, _ in opened.letters() if one.envelope is not None]
    assert opened.total == 700
    assert sorted(map(int, found)) == list(range(700))


async def test_a_letter_whose_queue_is_gone_is_kept_and_named(desk: Desk) -> None:
    await bury(desk.uri, [letter(1, queue="gone"), letter(2)])
    replayed = await desk.dlq("replay", "--all")
    assert replayed.status == 1
    assert f"kept {letter(1).id}: its queue 'gone' is gone; " in replayed.err
    assert await numbers(desk.uri, DEAD) == {1: 1}
    assert await numbers(desk.uri, DEFAULT) == {2: 1}


async def test_what_the_broker_buried_itself_can_be_shown_and_replayed(desk: Desk) -> None:
    await publish(desk.uri, DEFAULT, [encode(envelope())])

    def reject_until_gone(channel: Any) -> None:
        for method, _, _ in channel.consume(DEFAULT, inactivity_timeout=3):
            if method is None:
                return
            channel.basic_reject(method.delivery_tag, requeue=True)

    await amqp(desk.uri, reject_until_gone)
    shown = await desk.dlq("show", envelope().id)
    assert "delivery-limit: the broker handed it out again and again" in shown.out
    assert (await desk.dlq("replay", "--reason", "delivery-limit")).status == 0
    [(properties, body)] = await take(desk.uri, DEFAULT)
    assert body == envelope().body
    assert properties.headers["forebay-replayed-from"].startswith("delivery-limit at 20")


async def test_what_is_no_envelope_goes_back_byte_for_byte(desk: Desk) -> None:
    obituary = {"forebay-reason": "undecodable", "forebay-detail": "no version", "forebay-dead-at": DIED}
    kept = {"forebay-queue": "default", "other": "x"}
    raw = AmqpMessage(
        message_id="", timestamp=1, content_type="a/b", headers={**obituary, **kept}, body=b"\x00\xff" * 500
    )
    homeless = AmqpMessage(message_id="m-2", timestamp=1, content_type=None, headers=obituary, body=b"?")
    await publish(desk.uri, DEAD, [raw, homeless])
    listed = json.loads((await desk.dlq("list", "-o", "json")).out)
    assert [row["reason"] for row in listed] == ["undecodable", "undecodable"]
    shown = await desk.dlq("show", listed[0]["id"])
    assert "and 744 more; --body-to FILE saves them" in shown.out
    assert (await desk.dlq("replay", "--all")).status == 1
    [(properties, body)] = await take(desk.uri, DEFAULT)
    assert (body, properties.content_type) == (raw.body, "a/b")
    assert {name: properties.headers[name] for name in kept} == kept
    assert await count(desk.uri, DEAD) == 1


async def test_what_a_worker_could_not_read_is_replayed_and_buried_again_and_the_person_is_told(
    newest_broker: VirtualHost, desk: Desk, tmp_path: Path
) -> None:
    headers = {"forebay-envelope": 99, "forebay-queue": "elsewhere", "own": "kept"}
    garbage = AmqpMessage(message_id="m-1", timestamp=1, content_type="a/b", headers=headers, body=b"\x00\xff")
    async with working(newest_broker.uri, tmp_path / "worker") as worker:
        await publish(desk.uri, DEFAULT, [garbage])
        await eventually(lambda: _buried(worker, 1))
        [row] = json.loads((await desk.dlq("list", "-o", "json")).out)
        assert (row["id"], row["reason"], row["queue"]) == ("m-1", "undecodable", "default")
        assert "envelope version 99 is not known here" in row["detail"]
        replayed = await desk.dlq("replay", "m-1")
        assert replayed.status == 0
        assert replayed.out == "1 of 1 dead letters replayed (1 undecodable)\n"
        assert replayed.err == (
            "1 of them no envelope of Forebay's, sent as it is: a worker that can still not read it buries it again\n"
        )
        await eventually(lambda: _buried(worker, 2))
    [(properties, body)] = await take(desk.uri, DEAD)
    assert (properties.message_id, properties.content_type, body) == ("m-1", "a/b", b"\x00\xff")
    assert {name: properties.headers[name] for name in ("forebay-envelope", "own", "forebay-queue")} == {
        "forebay-envelope": 99, "own": "kept", "forebay-queue": "default",
    }  # fmt: skip


@asynccontextmanager
async def working(uri: str, root: Path) -> AsyncIterator[Worker]:
    """A worker of the default queue, on this test's loop; where it delivers to nobody listens."""
    settings = WorkerSettings(
        source="payments/github",
        queue="default",
        destination=Destination(url="http://127.0.0.1:1/", allow_loopback=True),
    )
    for file, text in (("config/worker.json", dump(settings)), ("secrets/broker/uri", uri)):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
    worker = Worker(Runtime(root=root), Log({}, level="error"))
    running = asyncio.ensure_future(worker.run())
    try:
        yield worker
    finally:
        await worker.drain()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _buried(worker: Worker, count: int) -> bool:
    labels = {"namespace": "payments", "source": "github", "queue": "default", "reason": "undecodable"}
    return worker.registry.get_sample_value("forebay_dead_letters_total", labels) == count


async def test_the_window_is_open_and_its_end_is_waited_for(desk: Desk) -> None:
    """A limit is kept exactly though many are under way, and what fails does not count towards it."""
    await bury(desk.uri, [letter(number, queue="gone" if number % 3 == 0 else "default") for number in range(300)])
    replayed = await desk.dlq("replay", "--all", "--limit", "150", "-o", "json")
    assert json.loads(replayed.out)["replayed"] == 150
    assert (await numbers(desk.uri, DEFAULT)).total() == 150
    assert (await numbers(desk.uri, DEAD)).total() == 150


async def test_bodies_larger_than_what_may_be_under_way_are_replayed_too(desk: Desk) -> None:
    body = b"x" * (9 * 1024 * 1024)
    large = [envelope(id=f"large-{number}", body=body).buried("exhausted", "why", DIED) for number in range(10)]
    await bury(desk.uri, large[:5])
    await bury(desk.uri, large[5:])
    assert (await desk.dlq("replay", "--all")).out == "10 of 10 dead letters replayed (10 exhausted)\n"
    assert await desk.counts() == (0, 10)


async def test_discarding_asks_first(desk: Desk) -> None:
    await bury(desk.uri, [letter(1), letter(2, reason="gone")])
    declined = await desk.starts("discard", "--all")
    out, _ = await declined.communicate()  # no input: no yes
    assert declined.returncode == 130
    assert b"2 of 2 dead letters of payments/github will be gone for good. Sure?" in out
    assert await count(desk.uri, DEAD) == 2
    discarded = await desk.dlq("discard", "--reason", "gone", "--yes", "-o", "json")
    assert json.loads(discarded.out)["discarded"] == 1
    assert await numbers(desk.uri, DEAD) == {1: 1}


async def test_times_choose_too(desk: Desk) -> None:
    await bury(desk.uri, [letter(1, at=DIED), letter(2, at=DIED + 60_000)])
    discarded = await desk.dlq("discard", "--since", "2026-09-21T14:14:00Z", "--yes")
    assert discarded.out == "1 of 2 dead letters discarded (1 exhausted)\n"
    assert await numbers(desk.uri, DEAD) == {1: 1}


async def test_a_source_that_is_not_there_is_named(desk: Desk) -> None:
    ran = await run(desk.environ, "dlq", "list", "--source", "a/b")
    assert ran.status == 1
    assert ran.err == (
        "error: the broker has no queue forebay.a.b.dead; check --source and the virtual host of --broker\n"
    )


@pytest.mark.parametrize("broken", ["password", "port"])
async def test_a_broker_that_can_not_be_used_is_one_line_without_the_password(desk: Desk, broken: str) -> None:
    host = desk.uri.rpartition("@")[2]
    uri = f"amqp://me:wr0ng@{host}" if broken == "password" else "amqp://me:wr0ng@127.0.0.1:1"
    ran = await run({**desk.environ, "FOREBAY_BROKER": uri}, "dlq", "replay", "--source", "a/b", "--all")
    assert (ran.status, ran.err.count("\n")) == (1, 1)
    assert ran.err.startswith("error: the broker can not be reached: ")
    assert "wr0ng" not in ran.err


async def test_the_oldest_come_first_on_every_release(broker: VirtualHost) -> None:
    await settle(SOURCE, broker.server, broker.name)
    await bury(broker.uri, [letter(number) for number in range(50)])
    for _ in range(2):
        async with reader(broker.uri, NAMES) as letters:
            assert letters.total == 50
            found = [int(found.body) async for found, _ in letters.letters()]
        assert found == list(range(50))


async def _all_there(desk: Desk, least: int) -> bool:
    return sum(await desk.counts()) >= least
