"""What a source leaves on the broker when nobody cleans up, and letting the source go all the same."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from forebay.errors import ForebayError, Rejected, Unavailable
from forebay.source.worker import Ordering
from forebay.topology import BUSY, DEAD_QUEUE, DEFAULT_QUEUE, Names, lane, ordered_lanes
from forebay_cli.cluster.api import SECRETS, SOURCES, Api, Conflict, NotFound, Object
from forebay_operator.desired.metadata import broker_secret_of
from forebay_operator.logins import COMPONENTS, LOGIN
from forebay_operator.retire import FINALIZER

__all__ = ["FINALIZER", "Left", "left_of", "release"]

_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Names on the broker."""

    names: Names
    queues: tuple[str, ...]
    users: tuple[str, ...] | None  # None: nobody may say
    broker: str | None
    vhost: str

    def story(self) -> Iterator[str]:
        """What a person should know before."""
        yield f"on the broker{f' {self.broker}' if self.broker else ''} stay, whatever is in them:"
        yield from (f"  queue {queue}" for queue in self.queues)
        yield f"  exchange {self.names.exchange}"
        yield from (f"  user {user}" for user in self.users or ())
        if not self.users:
            yield f"  users {self.names.exchange}.ingest.* and .worker.*"
        yield "a source of the same name and namespace takes the queues over, with the webhooks in them"

    def commands(self) -> Iterator[str]:
        """What removes all of it."""
        vhost = _quoted(self.vhost)
        yield from (f"rabbitmqctl delete_queue --vhost {vhost} {queue}" for queue in self.queues)
        yield from (f"rabbitmqctl delete_user {user}" for user in self.users or ())
        if not self.users:
            theirs = f"^{re.escape(self.names.exchange)}\\.(ingest|worker)\\.[0-9a-f]{{8}}$"
            yield f"rabbitmqctl -q list_users | cut -f1 | grep -E '{theirs}' | xargs -rn1 rabbitmqctl delete_user"
        yield f"rabbitmqctl clear_policy --vhost {vhost} {self.names.dead}"
        if self.names.seen in self.queues:
            yield f"rabbitmqctl clear_policy --vhost {vhost} {self.names.seen}"
        # rabbitmqctl has no command for it.
        where = self.vhost.replace("/", "%2F")
        yield f"curl -u USER -X DELETE http://HOST:15672/api/exchanges/{where}/{self.names.exchange}"


async def left_of(api: Api, source: Object) -> Left:
    """What stays of a source, as far as the API server tells."""
    metadata, broker = source["metadata"], (source.get("status") or {}).get("broker")
    names = Names(metadata["namespace"], metadata["name"])
    queues = (*(queue["name"] for queue in source["spec"].get("queues", ())), DEFAULT_QUEUE)
    lanes = (lane for queue in queues for lane in _lanes(source["spec"].get("worker", {}), queue))
    short = (*queues, *lanes, DEAD_QUEUE)
    seen = (names.seen,) if source["spec"].get("ingest", {}).get("deduplication") else ()
    return Left(
        names=names,
        queues=(*dict.fromkeys(names.queue(queue) for queue in short), *seen),
        users=await _users(api, metadata["namespace"], metadata["name"]),
        broker=broker,
        vhost=(broker or "").partition("/")[2] or "/",
    )


def _lanes(worker: Object, queue: str) -> tuple[str, ...]:
    ordering: Object | None = worker.get("ordering")
    if ordering:
        return ordered_lanes(queue, ordering.get("lanes", Ordering.model_fields["lanes"].default))
    return (lane(queue, BUSY),) if worker.get("fairness") else ()


async def release(api: Api, source: Object) -> None:
    """Take the finalizer off this very source. Raises Unavailable if others keep changing it."""
    metadata = source["metadata"]
    for _ in range(_TRIES):
        kept = [one for one in metadata.get("finalizers", ()) if one != FINALIZER]
        # uid and version: never another source of the same name, never somebody else's finalizer.
        known = {key: metadata[key] for key in ("uid", "resourceVersion")}
        try:
            await api.merge(
                SOURCES, metadata["namespace"], metadata["name"], {"metadata": {**known, "finalizers": kept}}
            )
        except Conflict:
            metadata = await _again(api, metadata)
            if metadata is None:
                return
        except NotFound:
            return  # it went meanwhile
        else:
            return
    raise Unavailable(f"{metadata['name']} changes all the time; try again")


async def _again(api: Api, metadata: Object) -> Object | None:
    try:
        now: Object = (await api.get(SOURCES, metadata["name"], metadata["namespace"]))["metadata"]
    except NotFound:
        return None
    if now["uid"] != metadata["uid"]:
        raise Rejected(f"{metadata['name']} is another source of the same name by now; look at it again")
    return now


async def _users(api: Api, namespace: str, name: str) -> tuple[str, ...] | None:
    found = []
    for component in COMPONENTS:
        try:
            secret = await api.get(SECRETS, broker_secret_of(name, component), namespace)
        except NotFound:
            continue
        except ForebayError:
            return None
        if user := secret["metadata"].get("annotations", {}).get(LOGIN):
            found.append(user)
    return tuple(found)


def _quoted(vhost: str) -> str:
    return vhost if vhost.replace("-", "").replace("_", "").replace("/", "").isalnum() or vhost == "/" else f"'{vhost}'"
