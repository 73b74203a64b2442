"""`forebay storage sweep` on a real broker: what nothing refers to goes, what a webhook or a dead letter may refer to stays."""

import asyncio
import json
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from forebay.envelope import Claim, Envelope, claim_key, encode
from forebay.errors import Rejected
from forebay.manifest import read_source
from forebay.settings import Storage as Given
from forebay.source import WebhookSource
from forebay.storage import Storage, Stored
from forebay_cli.broker import given_broker
from forebay_cli.sweeping import Found, decide, least_age, let_go, look
from forebay_cli.target import Target
from tests.broker.test_worker import NAMES, Place
from tests.support.command_line import environment, run
from tests.support.envelopes import envelope
from tests.support.sources import manifest

DAY = 86_400.0
OLD, YOUNG = 6 * DAY, 4 * DAY  # around what the source's retry.maxAge of 3 days makes of it
SOURCE = manifest(
    metadata__namespace="payments",
    spec__storage={"provider": "File", "bucket": "/bodies"},
    spec__ingest__maxBodyBytes="2Mi",
)


def event_id(number: int) -> str:
    return f"01990000-0000-7000-8000-{number:012}"


def put(bodies: Path, number: int, age_s: float, source: str = "payments/github") -> str:
    """A body in the storage that was put so long ago; its key."""
    key = claim_key(source, event_id(number))
    path = bodies / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 100)
    os.utime(path, (time.time() - age_s,) * 2)
    return key


def referring(number: int, key: str) -> Envelope:
    return envelope(id=event_id(number), body=b"", claim=Claim(key=key, size=100, sha256="0" * 64))


def there(place: Place) -> Target:
    server, vhost = place.host.server, place.host.name
    return Target(source="payments/github", broker=given_broker(server.uri(vhost=vhost), server.management_url))


def shelf(bodies: Path) -> Storage:
    return Storage(Given(provider="File", bucket=str(bodies)), lambda _: b"")


def source() -> WebhookSource:
    return read_source(SOURCE)


async def look_at(place: Place, bodies: Path, patience_s: float = 10.0) -> Found:
    return await look(there(place), shelf(bodies), least_age(source()), patience_s)


async def bury(place: Place, letters: Iterable[Envelope]) -> None:
    dead = [one.buried("exhausted", "why", 1) for one in letters]
    await asyncio.gather(*(place.publisher.publish(NAMES.exchange, NAMES.dead, encode(one)) for one in dead))


def test_a_body_goes_only_when_it_is_old_and_no_dead_letter_refers_to_it() -> None:
    now = datetime(2026, 11, 28, tzinfo=UTC)
    stored = [Stored(key, 1, now - timedelta(days=days)) for key, days in (("a", 6), ("b", 6), ("c", 5), ("d", 4))]
    found = decide(stored, frozenset({"b", "d"}), now - timedelta(days=5))
    assert ([one.key for one in found.orphans], found.referred, found.young) == (["a"], 1, 2)


def test_nothing_goes_before_it_could_not_be_retried_any_more() -> None:
    assert least_age(source()) == 5 * DAY


async def test_what_nothing_refers_to_goes_and_what_is_young_or_dead_stays(place: Place, tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    orphan, young, dead = (put(bodies, number, age) for number, age in ((1, OLD), (2, YOUNG), (3, OLD)))
    foreign = put(bodies, 4, OLD, source="payments/git")
    await bury(place, [referring(3, dead)])
    found = await look_at(place, bodies)
    assert [one.key for one in found.orphans] == [orphan]
    assert (found.young, found.referred, found.bytes) == (1, 1, 100)
    assert (bodies / orphan).exists()  # looking changes nothing
    await let_go(found, shelf(bodies))
    assert found.deleted == 1
    assert [(bodies / key).exists() for key in (orphan, young, dead, foreign)] == [False, True, True, True]
    assert await place.ready(NAMES.dead) == 1


async def test_a_dead_letter_that_can_not_be_read_keeps_what_it_may_refer_to(place: Place, tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    put(bodies, 1, OLD)
    known = encode(referring(1, "elsewhere").buried("exhausted", "why", 1))
    message = replace(known, headers={**known.headers, "forebay-envelope": 99})
    await place.publisher.publish(NAMES.exchange, NAMES.dead, message)
    found = await look_at(place, bodies)
    assert (found.orphans, found.referred) == ([], 1)


async def test_while_a_webhook_waits_nothing_goes(place: Place, tmp_path: Path) -> None:
    """Whatever it is: nobody looks into a queue."""
    bodies = tmp_path / "bodies"
    key = put(bodies, 1, OLD)
    await place.send(referring(1, key))
    with pytest.raises(Rejected, match=r"1 in forebay\.payments\.github\.default"):
        await look_at(place, bodies, patience_s=8.0)


async def test_a_broker_that_does_not_know_the_source_is_the_wrong_one(place: Place, tmp_path: Path) -> None:
    put(tmp_path, 1, OLD)
    elsewhere = Target(source="payments/other", broker=there(place).broker)
    with pytest.raises(Rejected, match="no queue"):
        await look(elsewhere, shelf(tmp_path), OLD, 1.0)


async def test_the_command_counts_and_deletes_when_it_is_told_to(place: Place, tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    key = put(bodies, 1, OLD)
    file = tmp_path / "source.yaml"
    file.write_text(
        yaml.safe_dump({**SOURCE, "spec": {**SOURCE["spec"], "storage": {"provider": "File", "bucket": str(bodies)}}})
    )
    server = place.host.server
    environ = environment(
        tmp_path, FOREBAY_BROKER=server.uri(vhost=place.host.name), FOREBAY_MANAGEMENT=server.management_url
    )
    sweep = ("storage", "sweep", "-f", str(file))
    short = await run(environ, *sweep, "--older-than", "4d")
    assert (short.status, "5.0 days" in short.err) == (2, True)
    looked = await run(environ, *sweep)
    assert (looked.status, "nothing refers to 1 bodies" in looked.out, (bodies / key).exists()) == (0, True, True), (
        looked
    )
    swept = await run(environ, *sweep, "--delete", "-o", "json")
    assert (json.loads(swept.out)["deleted"], (bodies / key).exists()) == (1, False)
