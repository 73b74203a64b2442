"""The pods of a new source start while its queues settle; the broker lets them in only after that."""

import asyncio
import base64
import time
from functools import partial

import pika
from aiohttp import web
from pika.exceptions import AMQPError

from forebay.management import SETTLE_S
from forebay.topology import Names, ingest_user, worker_user
from tests.reconciling.sources import source
from tests.reconciling.yard import Yard
from tests.support.brokers import VirtualHost
from tests.support.proxy import PASS, Fate, is_act
from tests.support.waiting import eventually

_RIGHTS_LATE = Fate(delay_s=3)  # long enough to look at what there is without them


async def test_a_new_source_has_its_pods_at_once_and_their_rights_when_its_queues_have_settled(here: Yard) -> None:
    queues, rights = [0.0], []

    def watched(request: web.Request) -> Fate:
        if is_act(request) and request.path.startswith("/api/queues/"):
            queues.append(time.monotonic())
        if is_act(request) and request.path.startswith("/api/permissions/"):
            rights.append(time.monotonic())
            return _RIGHTS_LATE
        return PASS

    here.management.fate = watched
    await here.api.apply(source())
    for name in ("github-ingest", "github-worker-default"):
        await eventually(partial(here.api.find, "Deployment", name))
    assert not rights, "the pods came after their rights"
    logins = [await _login(here, component) for component in ("ingest", "worker")]
    for uri in logins:
        assert "NOT_ALLOWED" in await _refusal(uri), "it would be let in before its queues are safe"
    await here.api.until("github", "TopologyReady", "False", "Settling")
    await here.api.until("github", "TopologyReady", "True")
    assert rights[0] - queues[-1] >= SETTLE_S
    assert [await _login(here, component) for component in ("ingest", "worker")] == logins, "the pods would start again"
    for uri in logins:
        assert not await _refusal(uri)


async def test_a_login_without_rights_is_turned_away_by_every_broker(broker: VirtualHost) -> None:
    names, management = Names(broker.name, "github"), broker.management
    for make in (ingest_user, worker_user):
        name = f"{broker.name}.{make.__name__}"
        user, rights, *_ = make(broker.name, names, name, "a-password")
        uri = broker.server.uri(vhost=broker.name, username=name, password="a-password")
        await management.declare([user], settle_s=0)
        assert "NOT_ALLOWED" in await _refusal(uri)
        await management.declare([rights], settle_s=0)
        assert not await _refusal(uri)
        await management.delete(f"users/{name}")


async def _login(here: Yard, component: str) -> str:
    secret = await here.api.get("Secret", f"github-broker-{component}")
    return base64.b64decode(secret["data"]["uri"]).decode()


async def _refusal(uri: str) -> str:
    """What the broker says to somebody who logs in so; nothing: it lets him in."""

    def tried() -> str:
        try:
            pika.BlockingConnection(pika.URLParameters(uri)).close()
        except AMQPError as error:
            return f"{type(error).__name__}: {error}"
        return ""

    return await asyncio.to_thread(tried)
