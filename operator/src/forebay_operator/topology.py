"""A source's place on its broker: queues declared and settled, a user for each component.

Order: queues; then users, and the Secrets with their passwords; then, once the queues had time to settle, the users' rights.
Pods start meanwhile, and the broker turns a user without rights away: no endpoint takes a webhook for which there is no safe
place yet.
"""

import base64
import hashlib
import json
import secrets
import time
from typing import Literal, NamedTuple
from urllib.parse import quote

from forebay.errors import Rejected, Unavailable
from forebay.management import SETTLE_S, Inequivalent
from forebay.source import WebhookSource
from forebay.topology import (
    DEAD_QUEUE,
    BrokerObject,
    Names,
    ingest_user,
    own_policies,
    pacing_left,
    shared_objects,
    slots_objects,
    source_objects,
    unused_queue,
    worker_user,
)
from forebay_operator.broker import LOOK_S, Address, Broker
from forebay_operator.children import TakenError, owned
from forebay_operator.cluster import SECRET, ApiUnavailable, Conflict, Missing, Object, Refused
from forebay_operator.conditions import Trouble
from forebay_operator.context import Context
from forebay_operator.desired import broker_secret, source_topology
from forebay_operator.desired.metadata import metadata
from forebay_operator.draining import remove
from forebay_operator.drift import says
from forebay_operator.migrating import Migrations
from forebay_operator.world import ChildId, Key

Component = Literal["ingest", "worker"]
COMPONENTS: tuple[Component, ...] = ("ingest", "worker")

# Annotations: of the Secret with a component's login, the user's name; of the source, anything: another value, another login.
LOGIN = "forebay.dev/broker-user"
ROTATE = "forebay.dev/rotate-broker-login"

SETTLING = "Settling"  # a trouble that is over in two seconds

# Releases with known faults in confirms and quorum queues are older than these, line by line.
_SOUND = {(4, 0): 8, (4, 1): 5, (4, 2): 7, (4, 3): 3}


class Standing(NamedTuple):
    """How far the source's place on the broker has come."""

    trouble: Trouble | None = None
    again_s: float | None = None  # when to look again, if not before


async def settle(context: Context, key: Key, source: WebhookSource, broker: Broker, migrations: Migrations) -> Standing:
    """Make the broker hold what the source needs; never raises for what the broker does or is, but for the API server."""
    try:
        return await _settle(context, key, source, broker, migrations)
    except (ApiUnavailable, Conflict):
        raise  # tried again soon
    except TakenError as error:
        return Standing(Trouble("NameTaken", str(error)), 5.0)
    except Refused as error:
        return Standing(Trouble("ChildRefused", f"The API server refuses a broker login's Secret: {error}"), 30.0)
    except Inequivalent as error:
        return Standing(Trouble("QueueInequivalent", f"{error}. {_how_to_renew(source, broker)}"), 60.0)
    except Unavailable as error:
        trouble = Trouble("BrokerUnavailable", f"{error}. Webhooks that were accepted are safe; it is tried again.")
        return Standing(trouble, None if broker.failure else 5.0)  # the next look that succeeds wakes us
    except Rejected as error:
        needs = "The login needs the tag administrator, or policymaker and its rights."
        return Standing(Trouble("BrokerRefused", f"{error}. {needs}"), 30.0)


async def _settle(
    context: Context, key: Key, source: WebhookSource, broker: Broker, migrations: Migrations
) -> Standing:
    await broker.look(at_most_s=2 * LOOK_S)
    wanted = objects(source, broker)
    again_s = await migrations.go_on(key, source_topology(source), broker)
    await broker.declare(item for item in wanted if not migrations.concerns(key, item))
    await _fill_slots(source, broker)
    young_s = SETTLE_S - broker.age_s(item.name for item in wanted if item.kind == "queue")
    absent = [component for component in COMPONENTS if not _logged_in(context, key, source, broker, component)]
    if absent and young_s > 0:
        await _announce(context, key, source, broker)
        return Standing(Trouble(SETTLING, "The queues are new: the broker writes down that they exist."), young_s)
    for component in absent:
        await _admit(context, key, source, broker, component)
    return Standing(again_s=again_s)


async def _fill_slots(source: WebhookSource, broker: Broker) -> None:
    for queue, filled, count in slots_objects(broker.vhost, source_topology(source)):
        if broker.holdings.lacks([queue, filled]):
            await broker.declare([queue])
            await broker.fill(queue, count)
            await broker.declare([filled])


def objects(source: WebhookSource, broker: Broker) -> list[BrokerObject]:
    """Everything the source needs on the broker, users aside."""
    return [*shared_objects(broker.vhost), *source_objects(broker.vhost, source_topology(source))]


def _how_to_renew(source: WebhookSource, broker: Broker) -> str:
    """What a person does about a queue that no migration replaces: it may hold something, so it is never deleted unasked."""
    there = (item.name for item in broker.holdings.lacks(objects(source, broker)) if item.kind == "queue")
    name = next((name for name in there if name in broker.holdings.queues), None)
    if name is None:
        return "See docs/upgrade.md"
    letters = f"kubectl forebay dlq replay {source.name} -n {source.namespace} --all"
    emptied = f"Empty it ({letters}, or discard them)" if name == _names(source).dead else "Wait until it holds nothing"
    return f"{emptied}, then rabbitmqctl delete_queue --vhost {broker.vhost} {name}: it is made anew (docs/upgrade.md)"


def dropped(source: WebhookSource, broker: Broker) -> tuple[str, ...]:
    """Queues and lanes of the source that are on the broker and no longer in the spec, by their short names."""
    wanted = source_topology(source)
    prefix = f"{wanted.names.exchange}."
    there = (name.removeprefix(prefix) for name in broker.holdings.queues if name.startswith(prefix))
    return tuple(
        sorted(name for name in there if "." not in name and name not in (*wanted.queues, *wanted.lanes, DEAD_QUEUE))
    )


def outdated(version: str) -> str | None:
    """The version, if it is one with known faults."""
    major, minor, patch = ([int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")] + [0, 0, 0])[
        :3
    ]
    if not version or (major, minor) > max(_SOUND):
        return None
    return None if patch >= _SOUND.get((major, minor), 10**6) else version


# ---------------------------------------------------------------------------------------------------------- logins


def user_name(source: WebhookSource, place: Address, component: Component) -> str:
    """The component's user. Another broker, another source of the same name or a wish for rotation make it another one."""
    wish = (source.metadata.annotations or {}).get(ROTATE, "")
    about = json.dumps([place.shown, source.metadata.uid, wish])
    return (
        f"{Names(source.namespace, source.name).exchange}.{component}.{hashlib.sha256(about.encode()).hexdigest()[:8]}"
    )


async def _announce(context: Context, key: Key, source: WebhookSource, broker: Broker) -> None:
    """Give a source that has no logins yet its own, so that its pods can start. Until the rights follow they are turned away.

    Logins that are there stay: pods may be using them, at another broker.
    """
    there = context.world.children.get(key, {})
    for component in COMPONENTS:
        if ChildId(SECRET, broker_secret(source, component)) not in there:
            await _log_in(context, key, source, broker, component, admitted=False)


async def _admit(context: Context, key: Key, source: WebhookSource, broker: Broker, component: Component) -> None:
    """Give the component its rights, and a login if it has none."""
    user, *rights = _user_objects(source, broker, component, user_name(source, broker.address, component), "")
    if _has_login(context, key, source, broker, component) and not broker.holdings.lacks([user]):
        await broker.declare(rights)
    else:
        await _log_in(context, key, source, broker, component)


def _logged_in(context: Context, key: Key, source: WebhookSource, broker: Broker, component: Component) -> bool:
    items = _user_objects(source, broker, component, user_name(source, broker.address, component), "")
    return _has_login(context, key, source, broker, component) and not broker.holdings.lacks(items)


def _has_login(context: Context, key: Key, source: WebhookSource, broker: Broker, component: Component) -> bool:
    """Whether its Secret is there and says what it should."""
    child = context.world.children.get(key, {}).get(ChildId(SECRET, broker_secret(source, component)))
    user = user_name(source, broker.address, component)
    if child is None or child.deleting or child.annotations.get(LOGIN) != user or child.owner != source.metadata.uid:
        return False
    if child.live is not None:
        live = json.loads(child.live)
        if not says(live, login_secret(source, broker.address, component, user, _password_in(live) or "")):
            return False
        child.live = None
    return True


async def _log_in(
    context: Context, key: Key, source: WebhookSource, broker: Broker, component: Component, *, admitted: bool = True
) -> None:
    """User first, Secret second: pods never get a login that the broker does not know. A user alone is let in nowhere."""
    user = user_name(source, broker.address, component)
    password = await _password(context, source, user, component) or secrets.token_urlsafe(24)
    known, *rights = _user_objects(source, broker, component, user, password)
    await broker.declare([known, *(rights if admitted else ())], again=True)
    body = login_secret(source, broker.address, component, user, password)
    context.world.see_applied(key, await context.cluster.apply(body))


def _user_objects(
    source: WebhookSource, broker: Broker, component: Component, user: str, password: str
) -> list[BrokerObject]:
    """The component's user; by the workers' KEDA asks how much there is to do."""
    if component == "ingest":
        return ingest_user(broker.vhost, _names(source), user, password)
    counts = source.spec.worker.autoscaling is not None
    return worker_user(broker.vhost, _names(source), user, password, counts=counts)


async def _password(context: Context, source: WebhookSource, user: str, component: Component) -> str | None:
    """The one that pods have already, if there is one for this user. Raises TakenError."""
    one = ChildId(SECRET, broker_secret(source, component))
    try:
        found = await context.cluster.get(SECRET, source.namespace, one.name)
    except Missing:
        return None
    if not owned(found, source.metadata.uid or ""):
        raise TakenError(one, found)
    return _password_in(found) if found["metadata"].get("annotations", {}).get(LOGIN) == user else None


def _password_in(secret: Object) -> str | None:
    try:
        return base64.b64decode(secret["data"]["password"]).decode()
    except (KeyError, TypeError, ValueError):
        return None


def login_secret(source: WebhookSource, place: Address, component: Component, user: str, password: str) -> Object:
    """The Secret that a component's pods find the broker by."""
    texts = {
        "uri": place.uri(user, password),
        "management": place.management_uri(user, password),
        "username": user,
        "password": password,
    }
    own = metadata(source, broker_secret(source, component), component)
    own["annotations"] = {LOGIN: user}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": own, "type": "Opaque", "data": data}


class EarlierLogins:
    """Removes the users of earlier logins once no pod has them any more. Forgotten at a restart, which only delays."""

    def __init__(self) -> None:
        self._unused: dict[str, float] = {}  # since when each has been seen without a connection

    async def retire(self, source: WebhookSource, broker: Broker) -> bool:
        """Whether none is left. For when pods are started with the new ones alone: those that end finish what they took in."""
        earlier = _earlier(source, broker)
        if not earlier:
            return True
        connected = await broker.connected(
            at_most_s=LOOK_S / 2
        )  # one list for all sources whose logins are rotated at once
        for user in earlier:
            if user in connected:
                self._unused.pop(user, None)
            elif time.monotonic() - self._unused.setdefault(user, time.monotonic()) > LOOK_S:
                await broker.delete(f"users/{quote(user, safe='')}")
                broker.holdings.users.pop(user, None)
                del self._unused[user]
        return not _earlier(source, broker)


def _earlier(source: WebhookSource, broker: Broker) -> list[str]:
    prefix = f"{_names(source).exchange}."
    current = {user_name(source, broker.address, component) for component in COMPONENTS}
    return [
        user
        for user in broker.holdings.users
        if user.startswith(prefix)
        and user not in current
        and user.removeprefix(prefix).partition(".")[0] in COMPONENTS
        and user.count(".") == prefix.count(".") + 1
    ]


def _names(source: WebhookSource) -> Names:
    return Names(source.namespace, source.name)


async def drop_policies(source: WebhookSource, broker: Broker) -> None:
    """Remove the policies of the source's own that it needs no longer."""
    names = _names(source)
    wanted = {item.name for item in own_policies(broker.vhost, source_topology(source))}
    for name in {names.dead, names.seen} & broker.holdings.policies.keys() - wanted:
        await delete_policy(broker, name)


async def delete_policy(broker: Broker, name: str) -> None:
    await broker.delete(f"policies/{quote(broker.vhost, safe='')}/{quote(name, safe='')}")
    broker.holdings.policies.pop(name, None)


async def drop_stream(source: WebhookSource, broker: Broker) -> None:
    """Forget what was seen of a source that does not drop duplicates any more. For when no pod follows it."""
    if source_topology(source).seen_s is None and _names(source).seen in broker.holdings.queues:
        await remove(broker, _names(source).seen)


async def drop_pacing(source: WebhookSource, broker: Broker) -> bool:
    """Remove the queues that paced deliveries by earlier wishes. Whether none is left: some worker may still go by one."""
    gone = True
    for queue in pacing_left(source_topology(source), list(broker.holdings.queues)):
        try:
            await broker.delete(unused_queue(broker.vhost, queue))
        except Rejected:
            gone = False
        else:
            broker.holdings.queues.pop(queue, None)
    return gone
