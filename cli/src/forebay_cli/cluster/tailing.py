"""Follows the logs of all pods of a source through the API server: those there are, and those that come."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from forebay.errors import ForebayError, Rejected
from forebay_cli.cluster.api import PODS, Api, Forbidden, Object
from forebay_operator.desired.metadata import QUEUE_LABEL, SOURCE_LABEL

_AGAIN_S = 3.0  # between looks for new pods
_COMPONENT = "app.kubernetes.io/component"

Show = Callable[[str, str], None]  # pod, line


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which lines."""

    namespace: str
    name: str
    component: str | None = None
    queue: str | None = None
    last: int = 20  # lines of each pod that were there before
    since_s: int | None = None
    follow: bool = True

    @property
    def selector(self) -> str:
        said = ((SOURCE_LABEL, self.name), (_COMPONENT, self.component), (QUEUE_LABEL, self.queue))
        return ",".join(f"{label}={value}" for label, value in said if value)

    def query(self, *, begin: str) -> dict[str, str]:
        """For the log of a pod that was there (`old`), came while we looked on (`new`), or whose log broke off (`again`)."""
        follow = {"follow": "true"} if self.follow else {}
        if begin == "old":
            since = {} if self.since_s is None else {"sinceSeconds": str(self.since_s)}
            return {"tailLines": str(self.last), **since, **follow}
        return follow if begin == "new" else {"sinceSeconds": str(round(_AGAIN_S) + 1), **follow}


async def tail(api: Api, wish: Wish, show: Show, note: Callable[[str], None]) -> None:
    """Show the lines, until cancelled or (not following) all are shown. Raises Forbidden, Unavailable, or Rejected if no pod is there."""
    if not wish.follow:
        await _once(api, wish, show)
        return
    begun: dict[str, asyncio.Task[None]] = {}
    async with asyncio.TaskGroup() as group:
        first = True
        while True:
            for name in await _running(api, wish):
                if name in begun and not begun[name].done():
                    continue
                begin = "again" if name in begun else "old" if first else "new"
                begun[name] = group.create_task(_follow(api, wish, name, begin, show=show, note=note))
            if first and not begun:
                note("no pod runs yet; waiting for one")
            first = False
            await asyncio.sleep(_AGAIN_S)


async def _once(api: Api, wish: Wish, show: Show) -> None:
    names = await _running(api, wish)
    if not names:
        raise Rejected(
            f"no pod of {wish.name} runs in namespace {wish.namespace}; kubectl forebay status {wish.name} says why"
        )
    for name in names:
        async for line in api.log(wish.namespace, name, wish.query(begin="old")):
            show(name, line)


async def _follow(api: Api, wish: Wish, pod: str, begin: str, *, show: Show, note: Callable[[str], None]) -> None:
    """Until the log ends; a container may start anew in the same pod, then it is followed again."""
    try:
        async for line in api.log(wish.namespace, pod, wish.query(begin=begin)):
            show(pod, line)
    except Forbidden:
        raise
    except ForebayError as error:
        note(f"{pod}: {error}")
    else:
        if begin != "again":
            note(f"{pod} has ended")


async def _running(api: Api, wish: Wish) -> list[str]:
    pods = await api.list(PODS, wish.namespace, selector=wish.selector)
    return sorted(pod["metadata"]["name"] for pod in pods if _has_a_log(pod))


def _has_a_log(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Running")
