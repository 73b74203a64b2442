"""A source's children on the API server: apply what differs, delete what is no longer wanted, touch nobody else's."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from forebay_operator.cluster import SECRET, Conflict, Kind, Missing, NoSuchApi, Object, Refused
from forebay_operator.conditions import Trouble
from forebay_operator.context import Context
from forebay_operator.desired.metadata import SOURCE_LABEL
from forebay_operator.drift import fingerprint, says
from forebay_operator.world import HASH, Child, ChildId, Key

# What is applied and deleted before everything else of a source, because the others need it.
_FIRST = frozenset({"ServiceAccount", "ConfigMap", "Secret"})


class Wanted(NamedTuple):
    """A child as it should be, and its fingerprint."""

    item: Object
    mark: str


def wanted(items: Iterable[Object]) -> tuple[Wanted, ...]:
    return tuple(Wanted(item, fingerprint(item)) for item in items)


Marks = Mapping[ChildId, str]  # fingerprints of all that is wanted: small enough to be kept


def settled(marks: Marks, children: Mapping[ChildId, Child], uid: str) -> bool:
    """Whether there is nothing to apply and nothing to prune, as far as can be told without working out what is wanted."""
    own = {one for one, child in children.items() if one.kind != SECRET and child.owner == uid}
    return own == marks.keys() and all(
        children[one].hash == mark and children[one].live is None and not children[one].deleting
        for one, mark in marks.items()
    )


def stale(wanted: Iterable[Wanted], children: Mapping[ChildId, Child], uid: str) -> list[Object]:
    """Those of the wanted objects that are not there as they are wanted, each with its fingerprint in it.

    Remembers of the others that they were found in order.
    """
    found = []
    for item, mark in wanted:
        child = children.get(identity(item))
        if child is None or child.hash != mark or child.owner != uid or child.deleting or not _in_order(child, item):
            found.append(_marked(item, mark))
    return found


def unwanted(wanted: Iterable[Wanted], children: Mapping[ChildId, Child], uid: str) -> list[ChildId]:
    """Children of this source that nobody wants any more. Its broker logins are wanted by others."""
    kept = {identity(item) for item, _ in wanted}
    return [
        one for one, child in children.items()
        if one not in kept and one.kind != SECRET and child.owner == uid and not child.deleting
    ]  # fmt: skip


def identity(item: Object) -> ChildId:
    return ChildId(Kind(item["apiVersion"], item["kind"]), item["metadata"]["name"])


class TakenError(Exception):
    """The name belongs to an object that somebody else made; the text says what to do."""

    def __init__(self, one: ChildId, found: Object) -> None:
        kind, name, metadata = one.kind.kind, one.name, found["metadata"]
        source = metadata.get("labels", {}).get(SOURCE_LABEL)
        if source and metadata.get("ownerReferences"):
            super().__init__(f"{kind} {name} belongs to source {metadata['namespace']}/{source}: rename one of the two")
            return
        super().__init__(
            f"{kind} {name} exists and is not Forebay's: delete it (kubectl delete {kind.lower()} {name} -n {metadata['namespace']})"
            " or rename the source"
        )


def owned(item: Object, uid: str) -> bool:
    """Whether an object is this source's. Applying would merge into whatever has the name."""
    return any(owner.get("uid") == uid for owner in item["metadata"].get("ownerReferences", ()))


async def apply(context: Context, key: Key, items: list[Object], uid: str) -> Trouble | None:
    """Apply the objects; the first refusal, after all that could be applied were. Raises Unavailable."""
    troubles = []
    for early in (True, False):
        some = [item for item in items if (item["kind"] in _FIRST) is early]
        troubles += await asyncio.gather(*(_apply(context, key, item, uid) for item in some))
    return next((trouble for trouble in troubles if trouble is not None), None)


async def prune(context: Context, key: Key, ids: Iterable[ChildId]) -> Trouble | None:
    """Delete children that are no longer wanted; the first refusal, after all others were deleted. Raises Unavailable."""
    trouble = None
    for one in ids:
        child = context.world.children[key][one]
        try:
            await context.cluster.delete(one.kind, key.namespace, one.name, child.uid)
        except Refused as error:
            why = f"The API server refuses to delete {one.kind.kind} {one.name}: {error}"
            trouble = trouble or Trouble("ChildRefused", why)
    return trouble


def _in_order(child: Child, item: Object) -> bool:
    if child.live is None:
        return True
    if not says(json.loads(child.live), item):
        return False
    child.live = None
    return True


def _marked(item: Object, mark: str) -> Object:
    annotations = {**item["metadata"].get("annotations", {}), HASH: mark}
    return {**item, "metadata": {**item["metadata"], "annotations": annotations}}


async def _apply(context: Context, key: Key, item: Object, uid: str) -> Trouble | None:
    one = identity(item)
    try:
        there = one in context.world.children.get(key, {})
        applied = await (context.cluster.apply(item) if there else _create(context, key, item, uid))
        context.world.see_applied(key, applied)
    except TakenError as error:
        return Trouble("NameTaken", str(error))
    except Conflict as error:
        return Trouble("Reapplying", f"{one.kind.kind} {one.name}: {error}")
    except NoSuchApi as error:
        context.api_missed.set()
        return Trouble("ApiMissing", f"{one.kind.kind} {one.name}: {error}")
    except Missing as error:
        return Trouble("NamespaceGone", f"{one.kind.kind} {one.name}: {error}")
    except Refused as error:
        return Trouble("ChildRefused", f"The API server refuses {one.kind.kind} {one.name}: {error}")
    return None


async def _create(context: Context, key: Key, item: Object, uid: str) -> Object:
    try:
        return await context.cluster.create_applied(item)
    except Conflict:
        one = identity(item)
        found = await context.cluster.get(one.kind, key.namespace, one.name, metadata_only=True)
        if not owned(found, uid):
            raise TakenError(one, found) from None
        return await context.cluster.apply(item)
