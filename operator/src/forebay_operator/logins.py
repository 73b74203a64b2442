"""A source's logins at its broker: a user for each component, and the Secret by which its pods find it."""

import base64
import hashlib
import json
import secrets
import time
from typing import Literal
from urllib.parse import quote

from forebay.source import WebhookSource
from forebay.topology import BrokerObject, Names, ingest_user, worker_user
from forebay_operator.broker import LOOK_S, Address, Broker
from forebay_operator.children import TakenError, owned
from forebay_operator.cluster import SECRET, Missing, Object
from forebay_operator.context import Context
from forebay_operator.desired import broker_secret
from forebay_operator.desired.metadata import metadata
from forebay_operator.drift import says
from forebay_operator.world import ChildId, Key

Component = Literal["ingest", "worker"]
COMPONENTS: tuple[Component, ...] = ("ingest", "worker")

# Annotations: of the Secret with a component's login, the user's name; of the source, anything: another value, another login.
LOGIN = "forebay.dev/broker-user"
ROTATE = "forebay.dev/rotate-broker-login"


def user_name(source: WebhookSource, place: Address, component: Component) -> str:
    """The component's user. Another broker, another source of the same name or a wish for rotation make it another one."""
    wish = (source.metadata.annotations or {}).get(ROTATE, "")
    about = json.dumps([place.shown, source.metadata.uid, wish])
    return f"{Names.of(source.key).exchange}.{component}.{hashlib.sha256(about.encode()).hexdigest()[:8]}"


async def announce(context: Context, key: Key, source: WebhookSource, broker: Broker) -> None:
    """Give a source that has no logins yet its own, so that its pods can start. Until the rights follow they are turned away.

    Logins that are there stay: pods may be using them, at another broker.
    """
    there = context.world.children.get(key, {})
    for component in COMPONENTS:
        if ChildId(SECRET, broker_secret(source, component)) not in there:
            await _log_in(context, key, source, broker, component, admitted=False)


async def admit(context: Context, key: Key, source: WebhookSource, broker: Broker, component: Component) -> None:
    """Give the component its rights, and a login if it has none."""
    user, *rights = _user_objects(source, broker, component, user_name(source, broker.address, component), "")
    if _has_login(context, key, source, broker, component) and not broker.holdings.lacks([user]):
        await broker.declare(rights)
    else:
        await _log_in(context, key, source, broker, component)


def logged_in(context: Context, key: Key, source: WebhookSource, broker: Broker, component: Component) -> bool:
    """Whether the component has its login, with all its rights."""
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
        return ingest_user(broker.vhost, Names.of(source.key), user, password)
    counts = source.spec.worker.autoscaling is not None
    return worker_user(broker.vhost, Names.of(source.key), user, password, counts=counts)


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
    prefix = f"{Names.of(source.key).exchange}."
    current = {user_name(source, broker.address, component) for component in COMPONENTS}
    return [
        user
        for user in broker.holdings.users
        if user.startswith(prefix)
        and user not in current
        and user.removeprefix(prefix).partition(".")[0] in COMPONENTS
        and user.count(".") == prefix.count(".") + 1
    ]
