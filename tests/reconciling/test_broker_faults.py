"""A broker that is away or answers nonsense: the source says so, nobody else suffers, and nothing has to be touched when it is back."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.reconciling.sources import source
from tests.reconciling.yard import Yard
from tests.support.proxy import PASS, Fate, Proxy, proxy
from tests.support.waiting import eventually, so

pytestmark = pytest.mark.timeout(180)

# What the management API answers instead, and the reason that the source gives.
_FAULTS = {
    "refusing": (Fate(answer=(401, '{"error": "not_authorized", "reason": "Not_Authorized"}')), "BrokerRefused"),
    "failing": (Fate(answer=(500, '{"error": "Internal Server Error"}')), "BrokerUnavailable"),
    "babbling": (Fate(answer=(200, "<html>Welcome to nginx!</html>")), "BrokerUnavailable"),
    "another": (Fate(answer=(200, '{"hello": ["world"]}')), "BrokerUnavailable"),
    "cutting": (Fate(hang_up=True), "BrokerUnavailable"),
}


@asynccontextmanager
async def _gates(here: Yard) -> AsyncIterator[dict[str, Proxy]]:
    """A way to the broker with each of the faults."""
    async with AsyncExitStack() as stack:
        gates = {}
        for name, (fate, _) in _FAULTS.items():
            gates[name] = await stack.enter_async_context(proxy(here.vhost.server.management_url))
            gates[name].fate = functools.partial(_always, fate)
        yield gates


def _always(fate: Fate, _: object) -> Fate:
    return fate


async def _faulty(here: Yard, name: str, gate: Proxy) -> None:
    await here.api.secret(f"broker-{name}", uri=here.vhost.uri, management=gate.url)
    await here.api.apply(source(name, spec__broker__secretRef__name=f"broker-{name}"))


async def _gone(here: Yard, name: str) -> None:
    async def gone() -> bool:
        return await here.api.find("WebhookSource", name) is None

    await eventually(gone, within_s=60, every_s=0.25)


async def test_a_source_says_what_its_broker_answers_and_is_made_as_soon_as_it_answers_well(here: Yard) -> None:
    async with _gates(here) as gates:
        for name, gate in gates.items():
            await _faulty(here, name, gate)
        for name, (_, reason) in _FAULTS.items():
            said = await here.api.until(name, "TopologyReady", "False", reason)
            assert "tried again" in said["message"] or "administrator" in said["message"]
            assert (await here.api.conditions(name))["Ready"]["reason"] == reason
        await here.api.apply(source("healthy"))
        await here.api.until("healthy", "TopologyReady", "True", within_s=10)
        for gate in gates.values():
            gate.fate = lambda _: PASS
        for name in gates:
            await here.api.until(name, "TopologyReady", "True", within_s=45)


async def test_a_broker_that_is_away_while_a_source_is_changed_and_deleted(here: Yard) -> None:
    await here.api.apply(source())
    await here.api.apply(source("other"))
    await here.api.until("github", "TopologyReady", "True")
    here.management.fate = lambda _: Fate(hang_up=True)
    await here.api.apply(source(spec__queues=[{"name": "urgent", "match": {"pathSuffix": "/urgent"}}]))
    await here.api.until("github", "TopologyReady", "False", "BrokerUnavailable", within_s=30)
    await here.api.delete("WebhookSource", "other")

    async def says_so() -> bool:
        said = (await here.api.conditions("other"))["Reconciling"]
        return "force-finalize other" in said["message"]

    await eventually(says_so, within_s=30)
    assert await here.api.find("WebhookSource", "other"), "it waits for its broker"
    here.management.fate = lambda _: PASS
    await here.api.until("github", "TopologyReady", "True", within_s=45)
    await _gone(here, "other")
    world = await here.world()
    assert "queue forebay.NS.github.urgent" in world
    assert not [name for name in world if "forebay.NS.other" in name]


@asynccontextmanager
async def _hanging() -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """The address of something that accepts connections and never answers, and who has connected."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}", held
    finally:
        server.close()
        for writer in held:
            writer.transport.abort()


async def test_a_broker_that_hangs_holds_up_no_source_of_another_one(here: Yard) -> None:
    many = [f"stuck-{n}" for n in range(20)]  # more than are reconciled at once
    await here.api.apply(source())
    await here.api.until("github", "TopologyReady", "True")
    async with _hanging() as (url, held):
        await here.api.secret("broker-hanging", uri=here.vhost.uri, management=url)
        await asyncio.gather(
            *(here.api.apply(source(name, spec__broker__secretRef__name="broker-hanging")) for name in many)
        )
        await eventually(so(lambda: held))
        await asyncio.sleep(1)  # all that can get stuck is
        began = time.monotonic()
        await here.api.apply(source(spec__queues=[{"name": "urgent", "match": {"pathSuffix": "/urgent"}}]))
        await eventually(lambda: here.api.find("Deployment", "github-worker-urgent"), within_s=5)
        await here.api.apply(source("fresh"))
        await here.api.until("fresh", "TopologyReady", "True", within_s=10)
        assert time.monotonic() - began < 10
        # One of them finds out that it hangs; all others say so at once.
        for name in many:
            await here.api.until(name, "TopologyReady", "False", "BrokerUnavailable", within_s=40)
        assert time.monotonic() - began < 40
