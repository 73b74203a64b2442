"""Lets parts of a source on a cluster rest, or wakes them."""

from collections.abc import Iterable

from forebay.errors import Unavailable
from forebay_cli.cluster.api import MANAGER, SOURCES, Api, Conflict, Object
from forebay_cli.cluster.sources import find
from forebay_cli.resting import Part, suspend

_TRIES = 5


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
