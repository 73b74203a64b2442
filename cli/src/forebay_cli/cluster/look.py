"""One look at a source on a cluster: the source, its children, what its pods count. Reads, changes nothing.

Only the source itself has to be readable; what can not be seen besides it is left out, with a line why.
"""

import asyncio
import time
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from forebay.errors import ForebayError
from forebay_cli.cluster.api import DEPLOYMENTS, HPAS, PODS, SCALED_OBJECTS, Api, NotFound, Object
from forebay_cli.cluster.sources import find
from forebay_cli.local.admin import Metrics, samples
from forebay_operator.desired.metadata import SOURCE_LABEL
from forebay_operator.desired.pod import ADMIN_PORT

_MOST_PODS = 50  # that are asked for what they count
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen."""

    source: Object
    deployments: tuple[Object, ...] = ()
    autoscalers: tuple[Object, ...] = ()
    metrics: Metrics | None = None  # of the pods; None: no pod could be asked
    unseen: tuple[str, ...] = ()  # what is missing, and why
    now: float = field(default_factory=time.time)  # seconds since 1970


async def look(api: Api, name: str) -> Look:
    """Look at a source. Raises NotFound, Forbidden or Unavailable if it can not be read."""
    source = await find(api, name)
    namespace, selector = source["metadata"]["namespace"], f"{SOURCE_LABEL}={source['metadata']['name']}"
    unseen: list[str] = []
    deployments, hpas, scaled, metrics = await asyncio.gather(
        _or_note(unseen, "Deployments", api.list(DEPLOYMENTS, namespace, selector=selector), []),
        _or_note(unseen, "autoscalers", api.list(HPAS, namespace, selector=selector), []),
        _or_note(unseen, "autoscalers", _scaled_objects(api, namespace, selector), []),
        _or_note(unseen, "what the pods count", _count(api, namespace, selector, unseen), None),
    )
    return Look(
        source=source,
        deployments=tuple(deployments),
        autoscalers=(*scaled, *hpas),
        metrics=metrics,
        unseen=tuple(dict.fromkeys(unseen)),
    )


async def _or_note(unseen: list[str], what: str, reading: Awaitable[T], otherwise: T) -> T:
    try:
        return await reading
    except ForebayError as error:
        unseen.append(f"{what}: {error}")
        return otherwise


async def _scaled_objects(api: Api, namespace: str, selector: str) -> list[Object]:
    """None where the cluster has no KEDA: everybody may ask for that, and is refused the list before it is missed."""
    try:
        await api.read(f"/apis/{SCALED_OBJECTS.api_version}")
    except NotFound:
        return []
    return await api.list(SCALED_OBJECTS, namespace, selector=selector)


async def _count(api: Api, namespace: str, selector: str, unseen: list[str]) -> Metrics | None:
    """The metrics of the running pods, through the API server's proxy."""
    pods = await api.list(PODS, namespace, selector=selector)
    running = sorted(pod["metadata"]["name"] for pod in pods if pod.get("status", {}).get("phase") == "Running")
    if not running:
        unseen.append("what the pods count: no pod runs")
        return None
    pages = await asyncio.gather(*(_page(api, namespace, pod) for pod in running[:_MOST_PODS]))
    silent = [page for page in pages if isinstance(page, ForebayError)]
    if silent:
        unseen.append(f"what {len(silent)} of {len(running)} pods count: {silent[0]}")
    if len(running) > _MOST_PODS:
        unseen.append(f"what {len(running) - _MOST_PODS} more pods count: only {_MOST_PODS} are asked")
    answers = [page for page in pages if isinstance(page, str)]
    return Metrics(tuple(_samples(answers))) if answers else None


def _samples(pages: Iterable[str]) -> Iterable[tuple[str, frozenset[tuple[str, str]], float]]:
    return (sample for page in pages for sample in samples(page))


async def _page(api: Api, namespace: str, pod: str) -> str | ForebayError:
    try:
        return await api.page(namespace, pod, ADMIN_PORT, "/metrics")
    except ForebayError as error:
        return error
