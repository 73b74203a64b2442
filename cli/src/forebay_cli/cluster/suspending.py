"""Which parts of a source rest, and what it means to let more or fewer of them rest. The first half is pure."""

from collections.abc import Iterable
from typing import Literal

from forebay.errors import Unavailable
from forebay_cli.cluster.api import MANAGER, SOURCES, Api, Conflict, Object
from forebay_cli.cluster.sources import find

Part = Literal["Ingest", "Workers"]

_PARTS: dict[str, frozenset[Part]] = {
    "None": frozenset(),
    "Ingest": frozenset({"Ingest"}),
    "Workers": frozenset({"Workers"}),
    "All": frozenset({"Ingest", "Workers"}),
}
MEANING = {
    "None": "webhooks are taken in and delivered",
    "Ingest": "the endpoint answers 503 to everything, so that the provider tries again later; what is queued is delivered",
    "Workers": "webhooks are taken in and wait in their queues; nothing is delivered",
    "All": "the endpoint answers 503 to everything, and nothing is delivered; what is queued waits",
}
_TRIES = 5


def suspend(before: str, parts: Iterable[Part], *, rest: bool) -> str:
    """The value of spec.suspend after these parts were let rest, or woken."""
    now = _PARTS[before] | set(parts) if rest else _PARTS[before] - set(parts)
    return next(value for value, resting in _PARTS.items() if resting == now)


def others_who_set_it(source: Object) -> list[str]:
    """Field managers that say what spec.suspend is, besides us: such as a GitOps tool, which will say so again."""
    return sorted(
        {
            entry["manager"]
            for entry in source["metadata"].get("managedFields", ())
            if entry["manager"] != MANAGER and "f:suspend" in (entry.get("fieldsV1") or {}).get("f:spec", {})
        }
    )


async def change(api: Api, name: str, parts: Iterable[Part], *, rest: bool) -> tuple[Object, Object]:
    """Let parts of a source rest, or wake them: the source before and after. Raises Unavailable if others keep changing it."""
    wanted = list(parts)
    for _ in range(_TRIES):
        before = await find(api, name)
        metadata = before["metadata"]
        value = suspend(before["spec"].get("suspend", "None"), wanted, rest=rest)
        if value == before["spec"].get("suspend", "None"):
            return before, before
        # Of the version that was read: two people who pause different parts must not undo each other's.
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {"suspend": value}}
        try:
            return before, await api.merge(SOURCES, metadata["namespace"], metadata["name"], patch)
        except Conflict:
            continue
    raise Unavailable(f"{name} changes all the time; try again")
