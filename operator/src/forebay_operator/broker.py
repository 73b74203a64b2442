"""The operator's one way to a broker: an address out of a Secret, what the broker holds, and what it lacks of what is wanted.

A virtual host is looked at as a whole, in a handful of requests, whatever the number of sources on it.
"""

import asyncio
import base64
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

from forebay.errors import ForebayError, SpecError, Unavailable
from forebay.filling import fill
from forebay.management import Inequivalent, Management, Silent
from forebay.topology import BrokerObject

# Seconds between looks at a broker: a queue that somebody deleted is back after at most so long and a little.
LOOK_S = 10.0
_TIMEOUT_S = 20.0
_NOTHING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a broker is, and the login of the one who declares things there."""

    scheme: str  # amqp or amqps
    host: str
    port: int
    vhost: str
    username: str
    password: str = field(repr=False)
    management: str  # URL of the management API, without a login

    @property
    def shown(self) -> str:
        """For people: without the login."""
        return f"{self.host}:{self.port}{'' if self.vhost == '/' else '/' + self.vhost}"

    def uri(self, username: str, password: str) -> str:
        """The AMQP URI for another login."""
        login = f"{quote(username, safe='')}:{quote(password, safe='')}"
        return f"{self.scheme}://{login}@{self.host}:{self.port}/{quote(self.vhost, safe='')}"

    def management_uri(self, username: str, password: str) -> str:
        """The management API's URL for another login, with the virtual host as its path, as KEDA takes it."""
        parts = urlsplit(self.management)
        login = f"{quote(username, safe='')}:{quote(password, safe='')}"
        return f"{parts.scheme}://{login}@{parts.netloc}{parts.path.rstrip('/')}/{quote(self.vhost, safe='')}"


def address(data: Mapping[str, str]) -> Address:
    """What a Secret's base64 data says. Raises SpecError that names the key and never holds a value."""
    values = {key: _decoded(key, value) for key, value in data.items()}
    if "uri" in values:
        return _from_uri(values["uri"], values.get("management"))
    absent = [key for key in ("host", "username", "password") if not values.get(key)]
    if absent:
        raise SpecError(
            f"key {absent[0]} is missing: give uri (amqp://user:password@host/vhost), or host, username, password"
        )
    port = values.get("port", "5672")
    if not port.isdigit():
        raise SpecError("key port is no number")
    scheme = "amqps" if port == "5671" else "amqp"
    return Address(
        scheme=scheme,
        host=values["host"],
        port=int(port),
        vhost=values.get("vhost") or "/",
        username=values["username"],
        password=values["password"],
        management=values.get("management") or f"http://{values['host']}:15672",
    )


def _decoded(key: str, value: str) -> str:
    try:
        return base64.b64decode(value).decode().strip()
    except ValueError as error:
        raise SpecError(f"key {key} is not text") from error


def _from_uri(uri: str, management: str | None) -> Address:
    remedy = "write amqp://user:password@host[:port]/vhost"
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise SpecError(f"key uri can not be read: {remedy}") from error
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
        raise SpecError(f"key uri is no AMQP address: {remedy}")
    if not parts.username or parts.password is None:
        raise SpecError(f"key uri has no login: {remedy}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(
        scheme=parts.scheme,
        host=host,
        port=port or (5671 if parts.scheme == "amqps" else 5672),
        vhost=unquote(parts.path[1:]) or "/",
        username=unquote(parts.username),
        password=unquote(parts.password),
        management=management or f"http://{host}:15672",
    )


@dataclass(frozen=True, slots=True)
class Depth:
    """Messages in a queue, as it last said."""

    ready: int
    unacknowledged: int

    @property
    def messages(self) -> int:
        return self.ready + self.unacknowledged


@dataclass(slots=True, kw_only=True)
class Holdings:
    """What a virtual host holds: for each kind and name what it is like, in the words of a declaration."""

    queues: dict[str, dict[str, Any]] = field(default_factory=dict)  # arguments
    exchanges: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    bindings: set[tuple[str, str, str]] = field(default_factory=set)  # exchange, queue, routing key
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)  # tags
    permissions: dict[str, dict[str, str]] = field(default_factory=dict)
    topic_permissions: dict[str, dict[str, str]] = field(default_factory=dict)

    def lacks(self, wanted: Iterable[BrokerObject]) -> list[BrokerObject]:
        """What is not there, or there and different, of what is wanted; in the given order."""
        return [item for item in wanted if not self._has(item)]

    def _has(self, item: BrokerObject) -> bool:
        where, name, what = self._place(item)
        return name in where if isinstance(where, set) else where.get(name, _NOTHING) == what

    def note(self, item: BrokerObject) -> None:
        """The object was declared just now."""
        where, name, what = self._place(item)
        if isinstance(where, set):
            where.add(name)
        else:
            where[name] = what

    def _place(self, item: BrokerObject) -> tuple[Any, Any, Any]:
        """Where an object is kept, under which name, and what it is like."""
        body: Any = item.body
        match item.kind:
            case "queue":
                return self.queues, item.name, body["arguments"]
            case "exchange":
                return self.exchanges, item.name, (body["type"], body["arguments"])
            case "binding":
                exchange, _, queue = item.name.partition(" -> ")
                return self.bindings, (exchange, queue, body["routing_key"]), None
            case "user":
                return self.users, item.name, body["tags"]
            case "policy" | "permission" | "topic-permission":
                return self._others[item.kind], item.name, body

    @property
    def _others(self) -> dict[str, dict[str, dict[str, Any]]]:
        return {"policy": self.policies, "permission": self.permissions, "topic-permission": self.topic_permissions}

    def names(self) -> dict[str, object]:
        """Everything with a name, to compare two looks by."""
        return {
            **{f"queue {name}": arguments for name, arguments in self.queues.items()},
            **{f"exchange {name}": what for name, what in self.exchanges.items()},
            **{f"policy {name}": what for name, what in self.policies.items()},
            **{f"binding {exchange} {queue} {key}": None for exchange, queue, key in self.bindings},
            **{
                f"user {name}": (tags, self.permissions.get(name), self.topic_permissions.get(name))
                for name, tags in self.users.items()
            },
        }


class Broker:
    """One virtual host, as one login sees it. `async with`; every call raises Unavailable or Rejected."""

    def __init__(self, place: Address) -> None:
        self.address = place
        self.holdings = Holdings()
        self.depths: dict[str, Depth] = {}
        self.looked: float | None = None  # when holdings were last taken: the begin of that, in monotonic seconds
        self.version = ""
        self.born: dict[str, float] = {}  # queues that came into being while we looked on
        self.failure: ForebayError | None = None  # of the last look, or of a call since then that got no answer
        self.failed = False  # whether anything has, since the sources were last woken because all is well
        self.told = False  # whether the sources were woken because it fails
        self._tried = float("-inf")  # when that was, in monotonic seconds
        self.writes = 0
        self._first = 0.0  # when we looked first
        self._management = Management(place.management, place.username, place.password, timeout_s=_TIMEOUT_S)
        self._looking = asyncio.Lock()
        self._connected: tuple[float, set[str]] = float("-inf"), set()  # when that was asked, in monotonic seconds
        self._asking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._management.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._management.__aexit__()

    @property
    def vhost(self) -> str:
        return self.address.vhost

    async def look(self, *, at_most_s: float = 0.0) -> None:
        """Take stock again, unless that was done or tried in vain in the last so many seconds.

        Nobody waits for another one's look at a broker that was not well: it may hang.
        """
        if self.failure is not None and self.looking:
            raise self.failure.with_traceback(None)
        async with self._looking:
            if time.monotonic() - self._tried < at_most_s:
                if self.failure is not None:
                    raise self.failure.with_traceback(None)  # or each time would add to it
                return
            try:
                await self._look_well()
                self.failure = None
            except ForebayError as failure:
                self._fails(failure)
                raise
            finally:
                self._tried = time.monotonic()

    @property
    def looking(self) -> bool:
        """Whether a look is under way."""
        return self._looking.locked()

    def _fails(self, failure: ForebayError) -> None:
        self.failure, self.failed = failure, True

    @contextmanager
    def _answering(self) -> Iterator[Management]:
        """The management API. Once it has given no answer in time nobody asks again, until a look gets one."""
        if isinstance(self.failure, Silent):
            raise self.failure.with_traceback(None)
        try:
            yield self._management
        except Silent as failure:
            self._fails(failure)
            raise

    async def _look_well(self) -> None:
        try:
            await self._look()
        except (AttributeError, KeyError, TypeError) as error:
            where = self.address.management
            raise Unavailable(f"what answers at {where} speaks like no RabbitMQ's management API: {error!r}") from error

    async def _look(self) -> None:
        began, vhost = time.monotonic(), quote(self.vhost, safe="")
        get = self._management.get
        self.version = self.version or await self._management.version()
        queues, exchanges, bindings, policies, users, permissions, topics = await asyncio.gather(
            get(f"queues/{vhost}?disable_stats=true&enable_queue_totals=true"),
            get(f"exchanges/{vhost}?columns=name,type,arguments"),
            get(f"bindings/{vhost}?columns=source,destination,destination_type,routing_key"),
            get(f"policies/{vhost}"),
            get("users?columns=name,tags"),
            get(f"vhosts/{vhost}/permissions"),
            get(f"vhosts/{vhost}/topic-permissions"),
        )
        before, now = self.holdings.queues if self.looked is not None else None, time.monotonic()
        self._first = self._first or now
        self.holdings = Holdings(
            queues={q["name"]: q.get("arguments", {}) for q in queues},
            exchanges={e["name"]: (e["type"], e.get("arguments", {})) for e in exchanges},
            bindings={
                (b["source"], b["destination"], b["routing_key"]) for b in bindings if b["destination_type"] == "queue"
            },
            policies={p["name"]: _policy(p) for p in policies},
            users={u["name"]: ",".join(u["tags"]) for u in users},
            permissions={p["user"]: {k: p[k] for k in ("configure", "write", "read")} for p in permissions},
            topic_permissions={p["user"]: {k: p[k] for k in ("exchange", "write", "read")} for p in topics},
        )
        self.depths = {
            q["name"]: Depth(q.get("messages_ready", 0), q.get("messages_unacknowledged", 0)) for q in queues
        }
        for name in self.holdings.queues:
            if before is not None and name not in before:
                self.born.setdefault(name, now)
        self.looked = began

    async def declare(self, wanted: Iterable[BrokerObject], *, again: bool = False) -> None:
        """Make the broker hold what it lacks of this, or `again` all of it. Does not wait for new queues to settle."""
        lacking = list(wanted) if again else self.holdings.lacks(wanted)
        if not lacking:
            return
        with self._answering() as management:
            await management.declare(lacking, settle_s=0)
        self.writes += len(lacking)
        now = time.monotonic()  # not before it: a busy broker takes its time, and a queue is young after that
        for item in lacking:
            self.holdings.note(item)
            if item.kind == "queue":
                self.born[item.name] = now
                self.depths.setdefault(item.name, Depth(0, 0))

    async def fill(self, queue: BrokerObject, count: int) -> None:
        """Have exactly so many slots in a queue that nobody uses yet."""
        self.writes += count
        with self._answering() as management:
            await fill(management, self.vhost, queue, count)

    async def first(self, queue: str, *, take: bool = False) -> tuple[Mapping[str, Any], bytes] | None:
        """Headers and body of a queue's oldest message, which stays there unless it is to be taken; None: it is empty."""
        with self._answering() as management:
            return await management.first(self.vhost, queue, take=take)

    async def get(self, path: str) -> Any:
        """What is at this path of the management API now."""
        with self._answering() as management:
            return await management.get(path)

    async def delete(self, path: str) -> None:
        """Delete what is at this path of the management API; that it is not there is success."""
        self.writes += 1
        with self._answering() as management:
            await management.delete(path)

    async def connected(self, *, at_most_s: float) -> set[str]:
        """Users that had connections in the last so many seconds. The broker tells of new ones some seconds late."""
        async with self._asking:
            asked, users = self._connected
            if time.monotonic() - asked >= at_most_s:
                found = await self.get("connections?columns=user&disable_stats=true")
                users = {connection.get("user", "") for connection in found}
                self._connected = time.monotonic(), users
        return users

    def queues_below(self, prefix: str) -> list[str]:
        """Names of the queues that begin so and have no further dot."""
        return [name for name in self.depths if name.startswith(prefix) and "." not in name[len(prefix) :]]

    def age_s(self, queues: Iterable[str]) -> float:
        """Seconds since the youngest of these queues came into being, as far as we can tell: it is at least so old."""
        return time.monotonic() - max((self.born.get(name, self._first) for name in queues), default=self._first)


def _policy(policy: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "pattern": policy["pattern"],
        "definition": policy["definition"],
        "priority": policy["priority"],
        "apply-to": policy["apply-to"],
    }


class Brokers:
    """The brokers in use, one session each, however many Secrets lead to it."""

    def __init__(self) -> None:
        self._brokers: dict[Address, Broker] = {}

    async def at(self, place: Address) -> Broker:
        """The session with the broker at this address; made on first use."""
        if place not in self._brokers:
            self._brokers[place] = await Broker(place).__aenter__()
        return self._brokers[place]

    def known(self, place: Address) -> Broker | None:
        """The session with the broker at this address, if there is one."""
        return self._brokers.get(place)

    def __iter__(self) -> Iterator[Broker]:
        return iter(list(self._brokers.values()))

    async def keep(self, used: Iterable[Address]) -> None:
        """Close the sessions that nobody uses any more."""
        wanted = set(used)
        for place in [at for at, broker in self._brokers.items() if at not in wanted and not broker.looking]:
            await self._brokers.pop(place).__aexit__()

    async def close(self) -> None:
        await self.keep(())


__all__ = ["LOOK_S", "Address", "Broker", "Brokers", "Depth", "Holdings", "Inequivalent", "address"]
