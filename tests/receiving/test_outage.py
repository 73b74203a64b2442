"""With an outage buffer a webhook that the broker does not confirm is stored first, answered 2xx then, and queued in its turn."""

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from forebay.amqp.publisher import Outcome
from forebay.settings import Lanes, Match, OutageBuffer, Route, Storage
from forebay_ingest import holdings, leases, shelter
from forebay_ingest.segments import FOLDER, folder
from tests.receiving.endpoint import Endpoint, request
from tests.receiving.outages import Opener, accepted, answers, away, back, bodies, cause, envelopes, outage, webhook
from tests.receiving.wire import statuses
from tests.support.waiting import eventually, so

pytestmark = pytest.mark.usefixtures("soon")
THRESHOLD = 50_000


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """The folder that is the storage."""
    return tmp_path / "bucket"


@pytest.fixture
def sheltered(endpoint: Opener, bucket: Path) -> Opener:
    """An endpoint with an outage buffer."""

    def opened(**changes: Any) -> Any:
        storage = Storage(provider="File", bucket=str(bucket), threshold_bytes=THRESHOLD)
        given = OutageBuffer(**changes.pop("buffer", {}))
        return endpoint(**{"storage": storage, "outage_buffer": given, "body_bytes": 200_000, **changes})

    return opened


def stored(bucket: Path) -> list[Path]:
    """The segments that are there."""
    return sorted(path for path in (bucket / FOLDER).rglob("*-*-*") if path.is_file())


async def empty(bucket: Path) -> None:
    await eventually(so(lambda: not stored(bucket)), every_s=0.01)


def waiting(it: Endpoint) -> float:
    return it.metric("forebay_outage_buffer_webhooks")


# -------------------------------------------------------------------------------------------------------- an outage


async def test_while_the_broker_is_away_webhooks_are_stored_and_queued_in_order_when_it_is_back(
    sheltered: Opener, bucket: Path
) -> None:
    async with outage(sheltered()) as it:
        replies = await answers(it, *(webhook(number, f"X-GitHub-Delivery: d-{number}") for number in range(1, 30)))
        assert {reply.status for reply in replies} == {202}
        assert bodies(it) == [0]
        assert waiting(it) == 29
        assert it.metric("forebay_outage_buffer_bytes") == sum(path.stat().st_size for path in stored(bucket))
        assert it.ingest.unready() is None
        back(it)
        await empty(bucket)
        assert bodies(it) == list(range(30))
        assert [one.id for one in envelopes(it)[1:]] == [reply.headers["x-forebay-id"] for reply in replies]
        assert envelopes(it)[5].delivery_id == "d-5"
        assert it.metric("forebay_outage_buffered_total") == it.metric("forebay_outage_drained_total") == 29
        assert it.metric("forebay_ingest_accepted_total", queue="default") == 30
        assert waiting(it) == it.metric("forebay_outage_buffer_bytes") == 0
        buffer = it.ingest._shelter
        assert buffer is not None
        await eventually(so(lambda: not buffer.diverting), every_s=0.01)
        await accepted(it, 30)
        assert bodies(it)[-1] == 30
        assert it.metric("forebay_outage_buffered_total") == 29


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.DISCONNECTED, Outcome.REFUSED, Outcome.BLOCKED])
async def test_what_was_published_and_not_confirmed_is_stored_and_published_again(
    sheltered: Opener, bucket: Path, outcome: Outcome
) -> None:
    async with sheltered() as it:
        await accepted(it, 0)
        it.broker.outcome = outcome
        sending = asyncio.ensure_future(accepted(it, 1))
        await eventually(so(lambda: stored(bucket)), every_s=0.01)
        back(it)
        await sending
        await empty(bucket)
        first, *copies = [one for one in envelopes(it) if one.body == b'{"n": 1}']
        assert copies
        assert {one.id for one in copies} == {first.id}  # so that a destination can tell
        assert it.metric("forebay_ingest_accepted_total", queue="default") == 2


async def test_an_alarm_of_the_broker_is_an_outage_too(sheltered: Opener, bucket: Path) -> None:
    async with sheltered() as it:
        await accepted(it, 0)
        it.broker.link.blocked = True
        await accepted(it, 1, 2)
        back(it)
        await empty(bucket)
        assert bodies(it) == [0, 1, 2]


async def test_a_queue_that_is_not_there_is_none(sheltered: Opener, bucket: Path) -> None:
    async with sheltered() as it:
        await accepted(it, 0)
        it.broker.outcome = Outcome.UNROUTABLE
        assert statuses(await it.say(webhook(1))) == [503]
        assert not stored(bucket)


async def test_more_than_fits_into_flight_waits_instead_of_being_refused(sheltered: Opener, bucket: Path) -> None:
    async with sheltered(in_flight=2) as it:
        await accepted(it, 0)
        it.broker.outcome = None
        senders = [asyncio.ensure_future(accepted(it, number)) for number in range(1, 5)]
        await eventually(so(lambda: it.broker.in_flight == 2 and it.ingest._shelter._waiting), every_s=0.005)
        back(it)
        for tag in (2, 3):
            it.broker.confirms(tag)
        await asyncio.gather(*senders)
        assert sorted(bodies(it)) == [0, 1, 2, 3, 4]
        assert not stored(bucket)


async def test_what_was_under_way_stays_before_what_came_later(sheltered: Opener, bucket: Path) -> None:
    """Of a broker that hangs, more is not taken than fits into flight; then the first ones run out of time."""
    async with sheltered(in_flight=3, confirm_s=0.3) as it:
        await accepted(it, 0)
        it.broker.outcome = None
        senders = []
        for number in range(1, 7):
            senders.append(asyncio.ensure_future(accepted(it, number)))
            await eventually(so(partial(knows_of, it, number)), every_s=0.002)
        await eventually(so(lambda: stored(bucket)), every_s=0.01)
        it.broker.written.clear()
        back(it)
        await asyncio.gather(*senders)
        await empty(bucket)
        assert bodies(it) == [1, 2, 3, 4, 5, 6]


def knows_of(it: Endpoint, count: int) -> bool:
    """Whether so many webhooks have no answer yet."""
    buffer = it.ingest._shelter
    assert buffer is not None
    return it.broker.in_flight + len(buffer._waiting) + len(buffer._came_back) == count


async def test_new_webhooks_do_not_overtake_stored_ones(sheltered: Opener, bucket: Path) -> None:
    async with outage(sheltered()) as it:
        await accepted(it, *range(1, 50))
        back(it)
        for number in range(50, 90):
            await accepted(it, number)
        await empty(bucket)
        assert bodies(it) == list(range(90))


async def test_a_broker_that_fails_again_while_the_buffer_empties_costs_nothing_but_copies(
    sheltered: Opener, bucket: Path
) -> None:
    async with outage(sheltered()) as it:
        for number in range(1, 40):
            await accepted(it, number)
        for outcome in (None, Outcome.REFUSED, Outcome.TIMEOUT):
            it.broker.written.clear()
            back(it, outcome)
            await eventually(so(lambda: it.broker.published), every_s=0.005)
            away(it)
        it.broker.written.clear()
        back(it)
        await empty(bucket)
        assert bodies(it) == list(range(1, 40))


# --------------------------------------------------------------------------------------------------------- its limits


async def test_a_full_buffer_is_503(sheltered: Opener, bucket: Path) -> None:
    async with outage(sheltered(buffer={"max_bytes": 2_000})) as it:
        assert statuses(await it.say(request(b"x" * 3_000))) == [202]
        answer = (await answers(it, webhook(1)))[0]
        assert (answer.status, cause(answer)) == (503, "buffer-full")
        assert answer.headers["retry-after"]
        assert "buffer is full" in str(it.ingest.unready())
        back(it)
        await empty(bucket)
        await accepted(it, 2)


async def test_a_buffer_whose_oldest_is_too_old_takes_no_more_and_loses_nothing(
    sheltered: Opener, bucket: Path
) -> None:
    async with outage(sheltered(buffer={"max_age_s": 0.2})) as it:
        await accepted(it, 1)
        await eventually(so(lambda: it.metric("forebay_outage_buffer_oldest_seconds") > 0.2), every_s=0.02)
        assert statuses(await it.say(webhook(2))) == [503]
        back(it)
        await empty(bucket)
        assert bodies(it) == [0, 1]


async def test_with_the_storage_away_too_it_is_503_and_the_broker_alone_brings_it_back(
    sheltered: Opener, bucket: Path
) -> None:
    async with outage(sheltered()) as it:
        (bucket / FOLDER).mkdir(parents=True, exist_ok=True)
        (bucket / folder("payments/github", "one")).parent.mkdir(parents=True, exist_ok=True)
        (bucket / folder("payments/github", "one")).write_text("in its place")
        answer = (await answers(it, webhook(1)))[0]
        assert (answer.status, cause(answer)) == (503, "storage")
        assert it.metric("forebay_outage_buffer_failures_total", cause="unreachable") == 1
        back(it)
        await accepted(it, 2)
        assert bodies(it) == [0, 2]


async def test_headers_that_no_queue_takes_are_refused_in_an_outage_as_ever(sheltered: Opener) -> None:
    async with outage(sheltered(header_bytes=200_000, header_count=1000)) as it:
        await accepted(it, 1)
        large = [f"X-{number}: {'x' * 7_000}" for number in range(15)]
        assert statuses(await it.say(webhook(2, *large))) == [431]


# --------------------------------------------------------------------------------------------- what else a source has


async def test_queues_and_lanes_are_those_the_webhook_was_routed_to(sheltered: Opener, bucket: Path) -> None:
    routes = (Route(queue="urgent", match=Match(header="X-Urgent")), Route(queue="default"))
    async with sheltered(routes=routes, lanes=Lanes(header="X-Shop", ordered=4)) as it:
        await answers(it, webhook(0, "X-Shop: a", "X-Urgent: 1"))
        (before,) = it.broker.published
        away(it)
        replies = await answers(it, webhook(1, "X-Shop: a", "X-Urgent: 1"), webhook(2))
        assert [reply.status for reply in replies] == [202, 202]
        back(it)
        await empty(bucket)
        _, lane, plain = it.broker.published
        assert lane.routing_key == before.routing_key
        assert plain.routing_key.endswith(".default")
        assert envelopes(it)[1].key == "a"


async def test_a_webhook_for_a_queue_that_is_gone_meanwhile_goes_to_the_default_one(
    sheltered: Opener, bucket: Path
) -> None:
    routes = (Route(queue="urgent", match=Match(header="X-Urgent")), Route(queue="default"))
    async with outage(sheltered(routes=routes)) as it:
        await answers(it, webhook(1, "X-Urgent: 1"))
    async with sheltered() as it:
        await empty(bucket)
        (one,) = it.broker.published
        assert one.routing_key.endswith(".default")


async def test_the_reference_to_a_large_body_waits_like_any_webhook(sheltered: Opener, bucket: Path) -> None:
    large = os.urandom(THRESHOLD + 1)
    async with outage(sheltered()) as it:
        assert statuses(await it.say(request(large))) == [202]
        back(it)
        await empty(bucket)
        claim = envelopes(it)[1].claim
        assert claim is not None
        assert (bucket / claim.key).read_bytes() == large


async def test_bytes_come_back_as_they_were(sheltered: Opener, bucket: Path) -> None:
    body = bytes(range(256))
    async with sheltered() as it:
        wire = request(body, "X-Odd: \xe9\xff", "Traceparent: 00-" + "a" * 32 + "-" + "b" * 16 + "-01")
        await answers(it, wire)
        away(it)
        await answers(it, wire)
        back(it)
        await empty(bucket)
        before, after = envelopes(it)
        assert after.header_block == before.header_block
        assert (after.body, after.traceparent, after.client) == (body, before.traceparent, before.client)


async def test_a_source_without_a_buffer_has_nothing_of_it(endpoint: Opener) -> None:
    async with endpoint() as it:
        assert it.ingest._shelter is None
        assert it.ingest.receiver.publish == it.ingest.receiver._publish
        assert "forebay_outage" not in "".join(family.name for family in it.ingest.registry.collect())


# --------------------------------------------------------------------------------------------------- kills, and heirs


async def test_an_endpoint_that_was_killed_queues_what_it_left_before_all_that_comes(
    sheltered: Opener, bucket: Path
) -> None:
    async with outage(sheltered()) as it:
        await accepted(it, 1, 2)
        await accepted(it, 3)
    async with sheltered() as it:
        await accepted(it, 4)
        await empty(bucket)
        assert bodies(it) == [1, 2, 3, 4]


async def test_nothing_goes_from_the_storage_before_the_broker_has_confirmed_it(
    sheltered: Opener, bucket: Path
) -> None:
    async with outage(sheltered()) as it:
        await accepted(it, 1)
        await accepted(it, 2)
        segments = stored(bucket)
        it.broker.written.clear()
        back(it, None)
        await eventually(so(lambda: it.broker.published), every_s=0.005)
        assert stored(bucket) == segments
        it.broker.confirms(it.broker._next_tag - 1)
        await eventually(so(lambda: bodies(it) == [1, 2]), every_s=0.005)
        assert stored(bucket) == segments
    async with sheltered() as it:
        await empty(bucket)
        assert bodies(it) == [1, 2]


async def test_what_another_replica_left_is_taken_over_when_its_lease_has_lapsed(
    sheltered: Opener, bucket: Path
) -> None:
    async with outage(sheltered()) as it:
        await accepted(it, 1)
        await accepted(it, 2)
    began = time.monotonic()
    async with sheltered(replica="other") as it:
        await accepted(it, 3)
        await empty(bucket)
        assert time.monotonic() - began > leases.LAPSE_S
        assert bodies(it) == [3, 1, 2]
        assert it.metric("forebay_outage_inherited_total") == 2
        await eventually(so(lambda: not list((bucket / FOLDER).rglob("lease"))), every_s=0.02)


async def test_what_a_replica_works_on_is_not_taken_from_it(sheltered: Opener, bucket: Path, tmp_path: Path) -> None:
    async with outage(sheltered()) as it:
        await accepted(it, 1)
        (tmp_path / "other").mkdir()
        async with Endpoint.open(
            tmp_path / "other", replica="other", storage=it.ingest.settings.storage, outage_buffer=OutageBuffer()
        ) as other:
            await asyncio.sleep(3 * leases.LAPSE_S)
            assert other.metric("forebay_outage_inherited_total") == 0
        back(it)
        await empty(bucket)
        assert bodies(it) == [0, 1]


async def test_an_endpoint_that_ends_in_order_lets_others_take_over_at_once(
    sheltered: Opener, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with outage(sheltered()) as it:
        await accepted(it, 1)
        await it.ingest.drain()
    monkeypatch.setattr(leases, "LAPSE_S", 60)
    async with sheltered(replica="other") as it:
        await empty(bucket)
        assert bodies(it) == [1]


async def test_an_endpoint_that_ends_in_order_empties_its_buffer_first_if_it_can(
    sheltered: Opener, bucket: Path
) -> None:
    async with outage(sheltered()) as it:
        for number in range(1, 30):
            await accepted(it, number)
        back(it)
        await it.ingest.drain()
        assert not stored(bucket)
        assert bodies(it) == list(range(30))


@pytest.fixture(params=["cut", "changed", "empty", "of a newer version"])
def spoil(request: pytest.FixtureRequest) -> Callable[[Path], object]:
    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-1])

    def changed(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    def newer(path: Path) -> None:
        path.write_bytes(path.read_bytes().replace(b"segment 1", b"segment 9"))

    known: dict[str, Callable[[Path], object]] = {
        "cut": cut,
        "changed": changed,
        "empty": lambda path: path.write_bytes(b""),
        "of a newer version": newer,
    }
    return known[str(request.param)]


async def test_what_a_kill_left_half_written_is_swept(sheltered: Opener, bucket: Path) -> None:
    half = bucket / folder("payments/github", "one") / ".half"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"forebay outage")
    async with sheltered() as it:
        await accepted(it, 0)
        await eventually(so(lambda: not half.exists()), every_s=0.01)


async def test_a_segment_that_is_not_what_was_stored_is_never_delivered_and_holds_up_nothing(
    sheltered: Opener, bucket: Path, spoil: Callable[[Path], object]
) -> None:
    async with outage(sheltered()) as it:
        for number in (1, 2, 3):
            await accepted(it, number)
    spoil(stored(bucket)[1])
    async with sheltered() as it:
        await eventually(so(lambda: len(stored(bucket)) == 1), every_s=0.01)
        assert bodies(it) == [1, 3]
        assert it.metric("forebay_outage_buffer_failures_total", cause="wrong") == 1
        assert "outage.unusable" in it.log.getvalue()
        await accepted(it, 4)
        assert stored(bucket), "a person may look at it"
        await asyncio.sleep(3 * holdings.LOOK_S)
        assert it.metric("forebay_outage_buffer_failures_total", cause="wrong") == 1


async def test_a_put_that_failed_and_took_effect_all_the_same_is_queued_later(
    sheltered: Opener, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with outage(sheltered()) as it:
        await accepted(it, 1)
        (segment,) = stored(bucket)
        late = segment.read_bytes()
        back(it)
        await empty(bucket)
        segment.with_name(segment.name.replace(segment.name[:8], "ffffffff")).write_bytes(late)
        await eventually(so(lambda: bodies(it) == [0, 1, 1]), every_s=0.01)
        await empty(bucket)


def test_the_provider_gets_its_answer_within_the_time_that_it_grants() -> None:
    """GitHub waits ten seconds: for a confirm that does not come, and then for the storage."""
    assert shelter._PUT_S + 5.0 <= 10.0
