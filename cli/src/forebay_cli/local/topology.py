"""The source's place on a broker: exchange, queues, tiers, and a user for each component with a password of this run."""

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from forebay.errors import Rejected
from forebay.filling import fill
from forebay.management import Management
from forebay.source import WebhookSource
from forebay.topology import (
    Names,
    SourceTopology,
    ingest_user,
    own_policies,
    pacing_left,
    queue_of,
    shared_objects,
    slots_objects,
    source_objects,
    unused_queue,
    worker_user,
)
from forebay_operator.desired import broker_secret, source_topology

USERS = {"ingest": ingest_user, "worker": worker_user}


class Broker(Protocol):
    """A RabbitMQ, with a login that may declare things there."""

    def uri(self, *, vhost: str = ..., username: str | None = None, password: str | None = None) -> str:
        """The AMQP URI with a login in it; our own unless another is given."""

    def management(self) -> Management:
        """A session with its management API, not entered yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What was made on the broker for one run."""

    secrets: dict[str, dict[str, bytes]] = field(repr=False)  # of the components, with the broker's address
    users: tuple[str, ...]  # to be removed at the end; none if the login given may not make any


async def settle(source: WebhookSource, broker: Broker, vhost: str) -> Place:
    """Declare everything. Doing it twice changes nothing but the users, which are new each time."""
    async with broker.management() as management:
        wanted = source_topology(source)
        await management.declare([*shared_objects(vhost), *source_objects(vhost, wanted)])
        own = {item.name for item in own_policies(vhost, wanted)}
        for name in {wanted.names.dead, wanted.names.seen} - own:  # an earlier manifest may have had them
            await management.delete(f"policies/{quote(vhost, safe='')}/{quote(name, safe='')}")
        if wanted.seen_s is None:
            await management.delete(f"queues/{quote(vhost, safe='')}/{quote(wanted.names.seen, safe='')}")
        for queue in pacing_left(wanted, [queue.name for queue in await management.queues(vhost)]):
            with suppress(Rejected):  # another run still goes by it
                await management.delete(unused_queue(vhost, queue))
        await _fill_slots(management, vhost, wanted)
        logins = await _logins(management, source, vhost)
    uris = {component: broker.uri(vhost=vhost, **login) for component, login in logins.items()}
    return Place(
        secrets={broker_secret(source, component): {"uri": uri.encode()} for component, uri in uris.items()},  # type: ignore[arg-type]  # its two literals
        users=tuple(login["username"] for login in logins.values() if login),
    )


async def _fill_slots(management: Management, vhost: str, source: SourceTopology) -> None:
    """Another run of the source may use them already."""
    for queue, filled, count in slots_objects(vhost, source):
        await management.declare([queue])
        if not await management.get(filled.path):
            await fill(management, vhost, queue, count)
            await management.declare([filled])


async def leave(broker: Broker, users: tuple[str, ...]) -> None:
    """Remove the run's users. Queues stay: what is in them is not ours to throw away."""
    async with broker.management() as management:
        for user in users:
            await management.delete(f"users/{quote(user, safe='')}")


async def depths(broker: Broker, vhost: str) -> dict[str, int]:
    """How many messages each queue of the virtual host holds, by the queue's full name."""
    async with broker.management() as management:
        return {queue.name: queue.messages for queue in await management.queues(vhost)}


async def leaving(source: WebhookSource, broker: Broker, vhost: str) -> tuple[str, ...]:
    """Lanes that the source's queues had by an earlier manifest, by their short names: webhooks may wait there."""
    wanted = source_topology(source)
    prefix = f"{wanted.names.exchange}."
    there = [name.removeprefix(prefix) for name in await depths(broker, vhost) if name.startswith(prefix)]
    return tuple(
        sorted(
            name for name in there if queue_of(name) in wanted.queues and name not in (*wanted.queues, *wanted.lanes)
        )
    )


async def _logins(management: Management, source: WebhookSource, vhost: str) -> dict[str, dict[str, str]]:
    """A login for each component; the empty one, which stands for our own, where we may not make users."""
    names = Names(source.namespace, source.name)
    mark = secrets.token_hex(3)
    logins = {
        component: {"username": f"{names.exchange}.{component}.{mark}", "password": secrets.token_urlsafe(24)}
        for component in USERS
    }
    try:
        await management.get("users?columns=name")
    except Rejected:
        return {component: {} for component in USERS}
    for component, make in USERS.items():
        await management.declare(make(vhost, names, logins[component]["username"], logins[component]["password"]))
    return logins
