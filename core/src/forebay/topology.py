"""What a source becomes on the broker: every name and every argument, as values. Reads nothing, changes nothing.

The management API's paths and bodies are RabbitMQ's own (https://www.rabbitmq.com/docs/http-api-reference); declaring them
twice changes nothing. Mutable settings are policies, everything that must hold is an argument.

    exchange forebay.NS.NAME ──(routing key = queue name)──> forebay.NS.NAME.QUEUE ──> worker
                             ├─("QUEUE NAME:LANE")──────────> forebay.NS.NAME.QUEUE:LANE ──> the same worker
                             └──────────────────────────────> forebay.NS.NAME.dead          (dead letters)
                             └──────────────────────────────> forebay.NS.NAME.stream.seen   (where duplicates are dropped)
                             └──────────────────────────────> forebay.NS.NAME.handshake.secret  (while one is awaited)
    exchange forebay.delay ──("30.QUEUE NAME")──> forebay.delay.30 ──(expired)──> exchange forebay.return ──> the queue
                                                                     nobody bound ──> forebay.orphans

What paces a source's deliveries has further queues, which hold no webhooks: forebay.NS.NAME.permits.wanted and
….permits.rate-BURST for a rate limit (forebay.amqp.permits), ….permits.slots-COUNT for maxInFlight (forebay.amqp.slots); with
:QUEUE at the end those of a queue that has such a limit for itself. ….permits.breaker has what workers say of their circuit breakers.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import quote

DEFAULT_QUEUE = "default"
DEAD_QUEUE = "dead"  # a reserved queue name

# The lane of keys that send much more than the others. Its name is no number, as those of ordered lanes are.
BUSY = "busy"
MAX_LANES = 32  # of an ordered queue

DELAY_EXCHANGE = "forebay.delay"
RETURN_EXCHANGE = "forebay.return"
ORPHANS = "forebay.orphans"  # the return exchange's alternate exchange, and the queue behind it

SEEN_POLICY = "forebay.seen"  # of all streams of what was seen, but for those that have to be kept for longer
_ALL_SEEN = r"forebay\.[^.]+\.[^.]+\.stream\.seen"
SEEN_S = 86_400  # seconds for which it keeps them
# A stream forgets whole segments only: the smaller they are, the nearer to its age. At a thousand webhooks a second one
# holds a few minutes.
_SEGMENT_BYTES = 4_000_000

DEAD_POLICY = "forebay.dead"  # of all dead letters that nothing bounds
_ALL_DEAD = rf"forebay\.(orphans|[^.]+\.[^.]+\.{DEAD_QUEUE})"

# Seconds of the delay tiers. Each step is at most twice the one before, mostly one and a half times, so that rounding a
# delay up to its tier never doubles it; the last is a day.
TIERS: tuple[int, ...] = (
    1, 2, 3, 5, 8, 12, 20, 30, 45, 60, 90, 120, 180, 300, 450, 600, 900, 1200, 1800, 2700, 3600,
    5400, 7200, 10800, 14400, 21600, 28800, 43200, 86400,
)  # fmt: skip

# How often the broker may hand out one message that no worker settled (a crash each time) before it dead-letters it.
# RabbitMQ's own default since 4.0, set explicitly because older brokers have none.
DELIVERY_LIMIT = 20
# The same for an ordered lane. Each end of a worker counts for all that it holds of a lane, also for what waits there behind
# a webhook that is tried for days: 20 deploys must not bury any of it.
LANE_DELIVERY_LIMIT = 1000
# Milliseconds for which a consumer may keep a message of an ordered lane unacknowledged, while it is tried again in place:
# longer than anything is tried. RabbitMQ knows the argument from 3.12 on; before, it closes the channel after half an hour.
LANE_CONSUMER_TIMEOUT_MS = 31 * 86_400_000

# A captured secret waits so long for an operator that is starting again: the provider sends it once.
_CAPTURED_TTL_MS = 3_600_000

# Notes of workers that are short of permits, while nobody reads them: who still is writes another one.
_NOTES, _NOTE_TTL_MS = 100, 10_000
# Seconds for which a worker's note counts that its circuit breaker is not closed.
BREAKER_NOTE_S = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerObject:
    """One declaration for the management API. `path` is relative to `/api/` and percent-encoded."""

    kind: Literal["exchange", "queue", "binding", "policy", "user", "permission", "topic-permission"]
    name: str
    path: str
    body: Mapping[str, object]
    method: Literal["PUT", "POST"] = "PUT"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most so many deliveries, of all workers of a source together: a token bucket."""

    requests: int
    per_s: float
    burst: int  # at once, after a pause

    @property
    def rate(self) -> float:
        """Deliveries a second."""
        return self.requests / self.per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What bounds the deliveries of all workers of some queues together."""

    queue: str | None = None  # short name of the one queue that has these limits for itself; None: all that have no own
    rate_limit: RateLimit | None = None
    max_in_flight: int | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """The broker names of one source. Namespaces and names hold no dots (the source model sees to it), so no two meet."""

    namespace: str
    name: str

    @classmethod
    def of(cls, source: str) -> "Names":
        """The names of the source "namespace/name"."""
        namespace, _, name = source.partition("/")
        return cls(namespace, name)

    @property
    def exchange(self) -> str:
        return f"forebay.{self.namespace}.{self.name}"

    @property
    def dead(self) -> str:
        return self.queue(DEAD_QUEUE)

    @property
    def seen(self) -> str:
        """The stream of what was taken in. Its name has a dot more than a queue's, so nobody takes it for one."""
        return f"{self.exchange}.stream.seen"

    @property
    def captured(self) -> str:
        """The queue of the secret that a provider sends in its handshake; only the operator's login can read it."""
        return f"{self.exchange}.handshake.secret"

    def queue(self, queue: str = DEFAULT_QUEUE) -> str:
        """The queue's name; it is its routing key too, on the source's exchange."""
        return f"forebay.{self.namespace}.{self.name}.{queue}"

    @property
    def permits_prefix(self) -> str:
        """What the names of all queues begin with that pace deliveries and hold no webhooks; no webhooks' queue has it."""
        return f"{self.exchange}.permits."

    def permits_wanted(self, queue: str | None = None) -> str:
        """The queue of the workers' notes that they are short of permits; `queue`: of the one whose own limit it is."""
        return self._of(queue, "wanted")

    @property
    def breaker_notes(self) -> str:
        """The queue of notes of workers whose circuit breakers are not closed. Nobody reads them: their number tells."""
        return self._of(None, "breaker")

    def permits(self, limit: RateLimit, queue: str | None = None) -> str:
        """The queue of permits. Its length is its burst and can not be changed, so another burst is another queue."""
        return self._of(queue, f"rate-{limit.burst}")

    def slots(self, count: int, queue: str | None = None) -> str:
        """The queue with so many slots, one for each delivery that may be under way."""
        return self._of(queue, f"slots-{count}")

    def _of(self, queue: str | None, name: str) -> str:
        return f"{self.permits_prefix}{name}" if queue is None else f"{self.permits_prefix}{name}:{queue}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long dead letters are kept. What is None has no bound: nothing is dropped that nobody decided to drop."""

    age_s: int | None = None
    count: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTopology:
    """What of a source decides its place on the broker."""

    names: Names
    queues: tuple[str, ...] = (DEFAULT_QUEUE,)
    lanes: tuple[str, ...] = ()  # short names of all lanes of the queues
    ordered: bool = False  # whether each lane is consumed by one worker at a time
    retention: Retention = field(default_factory=Retention)
    paces: tuple[Pace, ...] = ()
    seen_s: int | None = None  # for how long webhooks are remembered to drop duplicates; None: they are not
    breaker: bool = False  # whether its workers have circuit breakers


def lane(queue: str, name: str) -> str:
    """The short name of a lane of the queue: a queue beside it on the broker, with the same workers."""
    return f"{queue}:{name}"


def ordered_lanes(queue: str, count: int) -> tuple[str, ...]:
    """The lanes among which the keys of an ordered queue are spread."""
    return tuple(lane(queue, str(number)) for number in range(count))


def queue_of(lane: str) -> str:
    """The queue that a lane belongs to; a queue belongs to itself. Both by their short names, or both by their full ones."""
    return lane.partition(":")[0]


def tier_for(delay_s: float, tiers: Iterable[int] = TIERS) -> int:
    """The seconds of the first tier that is no shorter than `delay_s`; the longest one where none is."""
    ordered = sorted(tiers)
    return next((tier for tier in ordered if tier >= delay_s), ordered[-1])


def delay_key(tier: int, queue: str) -> str:
    """The routing key that sends a message through the tier of so many seconds and back to `queue`."""
    return f"{tier}.{queue}"


def tier_queue(tier: int) -> str:
    return f"{DELAY_EXCHANGE}.{tier}"


def shared_objects(vhost: str, tiers: Iterable[int] = TIERS) -> list[BrokerObject]:
    """What all sources of a virtual host share: the delay tiers, the way back, and the place for what has no way back."""
    return [
        _exchange(vhost, ORPHANS, "fanout"),
        _queue(vhost, ORPHANS, {}),
        _binding(vhost, ORPHANS, ORPHANS, ""),
        # Without the alternate exchange one deleted source would stop the tier for all others (at-least-once
        # dead-lettering holds on to what it can not route).
        _exchange(vhost, RETURN_EXCHANGE, "topic", {"alternate-exchange": ORPHANS}),
        # A topic exchange, because only there RabbitMQ checks routing keys against the user's rights: a worker can
        # delay messages of its own source and of no other.
        _exchange(vhost, DELAY_EXCHANGE, "topic"),
        *(_queue(vhost, tier_queue(tier), _tier_arguments(tier)) for tier in tiers),
        *(_binding(vhost, DELAY_EXCHANGE, tier_queue(tier), f"{tier}.#") for tier in tiers),
        _dead_letter_policy(vhost, DEAD_POLICY, _ALL_DEAD, Retention(), priority=9),
        _seen_policy(vhost, SEEN_POLICY, _ALL_SEEN, SEEN_S, priority=9),
    ]


def source_objects(vhost: str, source: SourceTopology) -> list[BrokerObject]:
    """The exchange, queues, bindings and policy of one source, in the order in which they can be declared."""
    names = source.names
    lane_arguments = _lane_arguments(names) if source.ordered else _source_queue_arguments(names)
    return [
        _exchange(vhost, names.exchange, "direct"),
        # A policy comes before its queue, so that no dead letter ever meets a queue without it.
        *own_policies(vhost, source),
        _queue(vhost, names.dead, {}),
        _binding(vhost, names.exchange, names.dead, names.dead),
        *(_queue(vhost, names.queue(queue), _source_queue_arguments(names)) for queue in source.queues),
        *(_queue(vhost, names.queue(lane), lane_arguments) for lane in source.lanes),
        *(way for place in (*source.queues, *source.lanes) for way in ways_into(vhost, names, place)),
        *(item for pace in source.paces for item in _pacing_objects(vhost, names, pace)),
        *(_breaker_objects(vhost, names) if source.breaker else ()),
        *(
            ()
            if source.seen_s is None
            else (_stream(vhost, names.seen), _binding(vhost, names.exchange, names.seen, names.seen))
        ),
    ]


def ways_into(vhost: str, names: Names, queue: str, *, place: str | None = None) -> list[BrokerObject]:
    """The bindings that bring a queue's webhooks into it, new ones and those that waited for a retry; or into another queue `place`."""
    key, at = names.queue(queue), names.queue(place or queue)
    return [_binding(vhost, names.exchange, at, key), _binding(vhost, RETURN_EXCHANGE, at, f"*.{key}")]


def _pacing_objects(vhost: str, names: Names, pace: Pace) -> list[BrokerObject]:
    limit, notes = pace.rate_limit, {"x-max-length": _NOTES, "x-message-ttl": _NOTE_TTL_MS}
    if limit is None:
        return []
    queues = {
        names.permits_wanted(pace.queue): {"x-single-active-consumer": True, **notes},
        names.permits(limit, pace.queue): {"x-max-length": limit.burst},
    }
    return [
        *(_queue(vhost, queue, {**arguments, "x-overflow": "drop-head"}) for queue, arguments in queues.items()),
        *(_binding(vhost, names.exchange, queue, queue) for queue in queues),
    ]


def _breaker_objects(vhost: str, names: Names) -> list[BrokerObject]:
    queue = names.breaker_notes
    bounds = {"x-message-ttl": BREAKER_NOTE_S * 1000, "x-max-length": _NOTES, "x-overflow": "drop-head"}
    return [_queue(vhost, queue, bounds), _binding(vhost, names.exchange, queue, queue)]


def pacing_left(source: SourceTopology, queues: Iterable[str]) -> list[str]:
    """Of these queues, those that paced the source's deliveries by earlier wishes. They hold no webhooks."""
    names, wanted = source.names, set[str]()
    for pace in source.paces:
        if pace.rate_limit:
            wanted |= {names.permits_wanted(pace.queue), names.permits(pace.rate_limit, pace.queue)}
        if pace.max_in_flight:
            wanted.add(names.slots(pace.max_in_flight, pace.queue))
    if source.breaker:
        wanted.add(names.breaker_notes)
    return sorted(name for name in queues if name.startswith(names.permits_prefix) and name not in wanted)


class SlotsObjects(NamedTuple):
    """A queue of slots.

    A classic one: its messages go back and forth for good, and are never fewer or more. The log of a quorum queue would
    grow with each time, and its dead-lettering may lose or double one in a crash.
    """

    queue: BrokerObject
    filled: BrokerObject  # the binding that says that it has been filled
    size: int


def slots_objects(vhost: str, source: SourceTopology) -> list[SlotsObjects]:
    """The queues of a source's slots."""
    names = source.names
    counts = {
        names.slots(pace.max_in_flight, pace.queue): pace.max_in_flight for pace in source.paces if pace.max_in_flight
    }
    return [
        SlotsObjects(
            _queue(vhost, name, {"x-queue-type": "classic"}), _binding(vhost, names.exchange, name, name), count
        )
        for name, count in counts.items()
    ]


def capture_objects(vhost: str, names: Names) -> list[BrokerObject]:
    """The way of a secret that a provider sends in its handshake: there while one is awaited, and at no other time.

    It holds one. A classic queue, because it is looked into without taking anything out, which a quorum queue would count as
    failed deliveries.
    """
    arguments = {
        "x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish", "x-message-ttl": _CAPTURED_TTL_MS,
    }  # fmt: skip
    return [
        _queue(vhost, names.captured, arguments),
        _binding(vhost, names.exchange, names.captured, names.captured),
    ]


def unused_queue(vhost: str, queue: str) -> str:
    """The path of a queue that is to be deleted if nobody consumes it; else the management API refuses."""
    return f"queues/{_quote(vhost)}/{_quote(queue)}?if-unused=true"


def own_policies(vhost: str, source: SourceTopology) -> list[BrokerObject]:
    """The policies of a source's dead letters, if it bounds them, and of a longer memory; else the shared ones are enough.

    Every policy of a virtual host is matched with every queue of it, at each change of either, so that a policy for each source
    would make a thousand sources cost a million matches (measured: docs/decisions/0009).
    """
    names, policies = source.names, []
    if source.retention != Retention():
        policies.append(_dead_letter_policy(vhost, names.dead, re.escape(names.dead), source.retention))
    if (source.seen_s or 0) > SEEN_S:
        policies.append(_seen_policy(vhost, names.seen, re.escape(names.seen), source.seen_s or 0, priority=10))
    return policies


# The least of RabbitMQ's tags that lets a user ask the management API (https://www.rabbitmq.com/docs/management#permissions).
COUNTS = "management"


def ingest_user(vhost: str, names: Names, user: str, password: str) -> list[BrokerObject]:
    """A user that can publish to the source's exchange, follow what was seen, and do nothing else."""
    write, read = f"^{re.escape(names.exchange)}$", f"^{re.escape(names.seen)}$"
    return [_user(user, password), _permission(vhost, user, write=write, read=read)]


def worker_user(vhost: str, names: Names, user: str, password: str, *, counts: bool = False) -> list[BrokerObject]:
    """A user that can consume the source's queues, dead-letter and pour permits into its exchange, and delay its own messages.

    With `counts` it may also ask the management API, which tells it names and lengths of all queues of the virtual host.
    """
    exchange = re.escape(names.exchange)
    return [
        _user(user, password, tags=COUNTS if counts else ""),
        _permission(
            vhost, user, write=f"^({exchange}|{re.escape(DELAY_EXCHANGE)})$", read=rf"^{exchange}\.(permits\.)?[^.]+$"
        ),
        BrokerObject(
            kind="topic-permission",
            name=user,
            path=f"topic-permissions/{_quote(vhost)}/{_quote(user)}",
            body={"exchange": DELAY_EXCHANGE, "write": rf"^[0-9]+\.{exchange}\.[^.]+$", "read": "^$"},
        ),
    ]  # fmt: skip


def _source_queue_arguments(names: Names) -> dict[str, object]:
    # At-least-once dead-lettering needs reject-publish; there is no x-max-length, because a full queue would stop the
    # shared tiers that feed it.
    return {
        "x-dead-letter-exchange": names.exchange,
        "x-dead-letter-routing-key": names.dead,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-delivery-limit": DELIVERY_LIMIT,
    }


def _lane_arguments(names: Names) -> dict[str, object]:
    return {
        **_source_queue_arguments(names),
        "x-single-active-consumer": True,
        "x-delivery-limit": LANE_DELIVERY_LIMIT,
        "x-consumer-timeout": LANE_CONSUMER_TIMEOUT_MS,
    }


def _tier_arguments(tier: int) -> dict[str, object]:
    return {
        "x-message-ttl": tier * 1000,
        "x-dead-letter-exchange": RETURN_EXCHANGE,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def _dead_letter_policy(
    vhost: str, name: str, pattern: str, retention: Retention, *, priority: int = 10
) -> BrokerObject:
    bounds = {
        "message-ttl": None if retention.age_s is None else retention.age_s * 1000,
        "max-length": retention.count,
        "max-length-bytes": retention.bytes,
    }
    definition: dict[str, object] = {key: value for key, value in bounds.items() if value is not None}
    # Reading dead letters hands them out and back again; without a (practically) infinite limit the broker would
    # drop what was looked at 20 times.
    definition["delivery-limit"] = 1_000_000_000
    if len(definition) > 1:
        definition["overflow"] = "drop-head"
    return _policy(vhost, name, pattern, definition, priority)


def _seen_policy(vhost: str, name: str, pattern: str, age_s: int, *, priority: int) -> BrokerObject:
    definition = {"max-age": f"{age_s}s", "stream-max-segment-size-bytes": _SEGMENT_BYTES}
    return _policy(vhost, name, pattern, definition, priority)


def _policy(vhost: str, name: str, pattern: str, definition: Mapping[str, object], priority: int) -> BrokerObject:
    return BrokerObject(
        kind="policy",
        name=name,
        path=f"policies/{_quote(vhost)}/{_quote(name)}",
        body={
            "pattern": f"^{pattern}$",
            "definition": definition,
            "priority": priority,
            "apply-to": "queues",
        },
    )


def _exchange(vhost: str, name: str, kind: str, arguments: Mapping[str, object] | None = None) -> BrokerObject:
    return BrokerObject(
        kind="exchange",
        name=name,
        path=f"exchanges/{_quote(vhost)}/{_quote(name)}",
        body={"type": kind, "durable": True, "auto_delete": False, "arguments": dict(arguments or {})},
    )


def _queue(vhost: str, name: str, arguments: Mapping[str, object]) -> BrokerObject:
    return BrokerObject(
        kind="queue",
        name=name,
        path=f"queues/{_quote(vhost)}/{_quote(name)}",
        body={"durable": True, "auto_delete": False, "arguments": {"x-queue-type": "quorum", **arguments}},
    )


def _stream(vhost: str, name: str) -> BrokerObject:
    # Several replicas follow it at once, and what they have read stays for those that start later.
    return _queue(vhost, name, {"x-queue-type": "stream"})


def _binding(vhost: str, exchange: str, queue: str, key: str) -> BrokerObject:
    return BrokerObject(
        kind="binding",
        name=f"{exchange} -> {queue}",
        path=f"bindings/{_quote(vhost)}/e/{_quote(exchange)}/q/{_quote(queue)}",
        body={"routing_key": key, "arguments": {}},
        method="POST",
    )


def _user(user: str, password: str, *, tags: str = "") -> BrokerObject:
    return BrokerObject(kind="user", name=user, path=f"users/{_quote(user)}", body={"password": password, "tags": tags})


def _permission(vhost: str, user: str, *, write: str, read: str) -> BrokerObject:
    return BrokerObject(
        kind="permission",
        name=user,
        path=f"permissions/{_quote(vhost)}/{_quote(user)}",
        body={"configure": "^$", "write": write, "read": read},
    )


def _quote(text: str) -> str:
    return quote(text, safe="")
