"""What the operator has seen of the cluster: sources, their children, the versions of Secrets. No I/O.

Only what a reconcile needs is kept of each object; the bodies of a thousand sources' children would be most of the memory.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from forebay_operator.addresses import Addresses
from forebay_operator.cluster import SOURCE, Kind, Object
from forebay_operator.desired.metadata import SOURCE_LABEL

HASH = "forebay.dev/desired-sha256"  # annotation of a child: of the object that was applied last

# What changes in an object without anybody wanting something else of it.
_VOLATILE = ("resourceVersion", "generation", "managedFields", "uid", "creationTimestamp", "selfLink")


class Key(NamedTuple):
    """A source."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class ChildId(NamedTuple):
    """A child of a source, within the source's namespace."""

    kind: Kind
    name: str


class SecretId(NamedTuple):
    namespace: str
    name: str


@dataclass(slots=True)
class Child:
    """What is kept of a child."""

    uid: str
    version: str  # resourceVersion
    owner: str | None  # uid of the source that it belongs to
    hash: str | None  # of what we applied last
    annotations: dict[str, str]  # Forebay's own
    labels: dict[str, str]  # Forebay's own
    digest: bytes  # of what others could have changed
    status: "Progress"
    live: bytes | None  # the object as JSON, until somebody has looked whether it is as it was applied
    deleting: bool

    @property
    def unchecked(self) -> bool:
        return self.live is not None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a child that runs something has got; of a Route whether it was accepted."""

    wanted: int = 0
    ready: int = 0
    rolled_out: bool = True  # everything that runs, runs as it was last wanted
    accepted: bool | None = None
    message: str = ""


@dataclass(slots=True)
class Source:
    """A source as it was last seen."""

    body: Object  # without managedFields
    version: str

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.body["metadata"]

    @property
    def finalizers(self) -> list[str]:
        return self.body["metadata"].get("finalizers") or []


@dataclass(slots=True)
class World:
    """Everything seen."""

    sources: dict[Key, Source] = field(default_factory=dict)
    children: dict[Key, dict[ChildId, Child]] = field(default_factory=dict)
    secrets: dict[SecretId, str] = field(default_factory=dict)  # resourceVersions
    terminating: set[str] = field(default_factory=set)  # namespaces
    addresses: Addresses = field(default_factory=Addresses)
    wake: Callable[[Key], None] = lambda _: None  # looks at a source again that another one concerns
    _users: dict[SecretId, set[Key]] = field(default_factory=dict)
    _uses: dict[Key, frozenset[SecretId]] = field(default_factory=dict)

    def see_source(self, body: Mapping[str, Any], *, gone: bool = False) -> Key | None:
        """The source's key, if there is something new about it that is not our own report."""
        key = key_of(body)
        if gone:
            self.drop_source(key)
            self.uses(key, ())
            return key
        metadata = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
        kept = {**body, "metadata": metadata}
        before = self.sources.get(key)
        if before is not None and _overtaken(body, before.version):
            return None
        self.sources[key] = Source(kept, metadata["resourceVersion"])
        self._see_addresses(kept)
        return None if before is not None and _same_but_status(before.body, kept) else key

    def see_answer(self, body: Mapping[str, Any]) -> bool:
        """The source as a write of ours has left it. Whether something else about it is new: no watch will say so again."""
        return key_of(body) in self.sources and self.see_source(body) is not None

    def drop_source(self, key: Key) -> None:
        """The source is gone; what it leaves concerns others."""
        seen = self.sources.pop(key, None)
        if seen is not None:
            self._see_addresses(seen.body, gone=True)

    def _see_addresses(self, body: Mapping[str, Any], *, gone: bool = False) -> None:
        for other in self.addresses.see(body, gone=gone):
            self.wake(Key(*other))

    def see_child(self, body: Mapping[str, Any], *, gone: bool = False) -> Key | None:
        """The owner's key, if what happened matters to it."""
        owner = body["metadata"].get("labels", {}).get(SOURCE_LABEL)
        if owner is None:
            return None
        key = Key(body["metadata"]["namespace"], owner)
        children = self.children.setdefault(key, {})
        identity = ChildId(Kind(body["apiVersion"], body["kind"]), body["metadata"]["name"])
        before = children.get(identity)
        if gone:
            return key if children.pop(identity, None) is not None else None
        if before is not None and (
            before.version == body["metadata"]["resourceVersion"] or _overtaken(body, before.version)
        ):
            return None
        now = children[identity] = _child(body, before)
        return key if before is None or _matters(before, now) else None

    def see_applied(self, key: Key, body: Object) -> None:
        """A child as the API server made it of what we applied: nothing in it is anybody else's wish."""
        identity = ChildId(Kind(body["apiVersion"], body["kind"]), body["metadata"]["name"])
        before = self.children.get(key, {}).get(identity)
        if before is not None and _overtaken(body, before.version):
            return  # somebody has changed it since, and the watch has told of that before this answer came
        child = _child(body, None)
        child.live = None
        self.children.setdefault(key, {})[identity] = child

    def standing(self, kind: Kind) -> dict[tuple[str, str], tuple[Key, str]]:
        """Every object of the kind that we believe to be there, by namespace and name: whose it is, and its uid."""
        if kind == SOURCE:
            return {key: (key, seen.uid) for key, seen in self.sources.items()}
        return {
            (key.namespace, one.name): (key, child.uid)
            for key, children in self.children.items()
            for one, child in children.items()
            if one.kind == kind
        }

    def lose(self, kind: Kind, key: Key, name: str, uid: str) -> Key | None:
        """An object went while nobody watched. The key of the source that it concerns, unless it has come back."""
        if kind == SOURCE:
            gone = self.sources.get(key)
            if gone is None or gone.uid != uid:
                return None
            self.drop_source(key)
            return key
        children = self.children.get(key, {})
        child = children.get(ChildId(kind, name))
        if child is None or child.uid != uid:
            return None
        del children[ChildId(kind, name)]
        return key

    def see_secret(self, namespace: str, name: str, version: str | None) -> set[Key]:
        """The sources that use the Secret, if it changed. None as its version: it is gone."""
        identity = SecretId(namespace, name)
        if self.secrets.get(identity) == version:
            return set()
        if version is None:
            self.secrets.pop(identity, None)
        else:
            self.secrets[identity] = version
        return set(self._users.get(identity, ()))

    def uses(self, key: Key, secrets: Iterable[SecretId]) -> None:
        """Remember which Secrets a source depends on."""
        now = frozenset(secrets)
        before = self._uses.get(key, frozenset())
        for identity in before - now:
            self._users[identity].discard(key)
        for identity in now - before:
            self._users.setdefault(identity, set()).add(key)
        if now:
            self._uses[key] = now
        else:
            self._uses.pop(key, None)

    def users(self, secret: SecretId) -> set[Key]:
        return set(self._users.get(secret, ()))

    def forget(self, key: Key) -> None:
        """The source and its children are gone."""
        self.children.pop(key, None)
        self.uses(key, ())


def key_of(body: Mapping[str, Any]) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])


def digest(body: Mapping[str, Any]) -> bytes:
    """Of all that somebody could have changed in an object: everything but its status and the API server's own."""
    return hashlib.sha256(_without_volatile(body)).digest()


def _without_volatile(body: Mapping[str, Any]) -> bytes:
    metadata = {key: value for key, value in body["metadata"].items() if key not in _VOLATILE}
    rest = {key: value for key, value in body.items() if key not in ("status", "metadata")}
    return json.dumps({**rest, "metadata": metadata}, sort_keys=True, separators=(",", ":")).encode()


def _child(body: Mapping[str, Any], before: Child | None) -> Child:
    metadata = body["metadata"]
    content = _without_volatile(body)
    now = hashlib.sha256(content).digest()
    unchanged = before is not None and before.digest == now
    return Child(
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        owner=next((o["uid"] for o in metadata.get("ownerReferences", ()) if o.get("controller")), None),
        hash=metadata.get("annotations", {}).get(HASH),
        annotations=_own(metadata.get("annotations")),
        labels=_own(metadata.get("labels")),
        digest=now,
        status=_progress(body),
        live=(before.live if unchanged and before else content),
        deleting="deletionTimestamp" in metadata,
    )


def _own(texts: Mapping[str, str] | None) -> dict[str, str]:
    kept = ("forebay.dev/", "app.kubernetes.io/component")
    return {key: value for key, value in (texts or {}).items() if key.startswith(kept)}


def _overtaken(body: Mapping[str, Any], version: str) -> bool:
    """Whether this is the object as it was before that version of it: answers and watches come on ways of their own.

    Versions are whole numbers that grow: https://github.com/kubernetes/enhancements/issues/5504
    """
    mine = body["metadata"]["resourceVersion"]
    return (len(mine), mine) < (len(version), version)


def _matters(before: Child, now: Child) -> bool:
    return before.digest != now.digest or before.status != now.status or before.deleting != now.deleting


def _same_but_status(before: Object, now: Object) -> bool:
    def rest(body: Object) -> tuple[object, ...]:
        metadata = body["metadata"]
        watched = ("generation", "deletionTimestamp", "finalizers", "annotations", "labels", "uid")
        return tuple(metadata.get(name) for name in watched)

    return rest(before) == rest(now)


def _progress(body: Mapping[str, Any]) -> Progress:
    status = body.get("status") or {}
    match body["kind"]:
        case "Deployment":
            return _deployment(body, status)
        case "HTTPRoute":
            return _route(status)
        case "ScaledObject":
            ready = next((c for c in status.get("conditions", ()) if c.get("type") == "Ready"), None)
            return Progress(
                accepted=None if ready is None else ready["status"] == "True",
                message=(ready or {}).get("message", ""),
            )
        case _:
            return Progress()


def _deployment(body: Mapping[str, Any], status: Mapping[str, Any]) -> Progress:
    wanted = body["spec"].get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= body["metadata"].get("generation", 0)
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    failure: Mapping[str, Any] = next((c for c in status.get("conditions", ()) if _hinders(c)), {})
    return Progress(
        wanted=wanted,
        ready=status.get("availableReplicas", 0),
        rolled_out=seen and updated == total == wanted == status.get("availableReplicas", 0),
        message=failure.get("message", ""),
    )


def _hinders(condition: Mapping[str, Any]) -> bool:
    """Such as a quota, a missing ServiceAccount, an admission webhook; or no progress within the deadline."""
    return (condition["type"], condition["status"]) in (("ReplicaFailure", "True"), ("Progressing", "False"))


def _route(status: Mapping[str, Any]) -> Progress:
    """https://gateway-api.sigs.k8s.io/reference/spec/#routeparentstatus: each gateway says for itself."""
    verdicts = [
        condition
        for parent in status.get("parents", ())
        for condition in parent.get("conditions", ())
        if condition["type"] in ("Accepted", "ResolvedRefs")
    ]
    refused = next((c for c in verdicts if c["status"] != "True"), None)
    return Progress(
        accepted=None if not verdicts else refused is None,
        message="" if refused is None else f"{refused.get('reason', '')}: {refused.get('message', '')}",
    )
