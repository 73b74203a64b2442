"""Gathers what is known of a webhook on a cluster, with the rights of the person who asks: dead letters, logs and counters of the pods.

What those rights do not reach is left out, with a line why. No queue but that of the dead letters is looked into.
"""

import time
from collections.abc import Mapping

from forebay.errors import ForebayError
from forebay.identity import born
from forebay_cli.cluster.api import PODS, Api, Object, connected
from forebay_cli.cluster.look import look
from forebay_cli.dead.letter import Letter
from forebay_cli.dead.show import stamp
from forebay_cli.life.facts import Facts, queues
from forebay_cli.life.here import sought
from forebay_cli.life.said import holds, said
from forebay_cli.local.admin import Metrics
from forebay_cli.placing import on_cluster
from forebay_cli.where import KUBECTL, Cluster
from forebay_operator.desired.metadata import SOURCE_LABEL

_SLACK_MS = 5000  # between the clocks of two nodes


async def gather(cluster: Cluster, name: str, wanted: str) -> Facts:
    """What is known of the webhook with this id. Raises NotFound, Forbidden or Unavailable if the source can not be read."""
    now = round(time.time() * 1000)
    async with connected(cluster) as api:
        seen = await look(api, name)
        unseen = list(seen.unseen)
        lines = await _lines(api, seen.source, wanted, unseen)
    worker = seen.source["spec"].get("worker") or {}
    namespace, name = seen.source["metadata"]["namespace"], seen.source["metadata"]["name"]
    letter, letters_seen = await _letter(cluster, f"{namespace}/{name}", wanted, unseen)
    return Facts(
        wanted=wanted,
        source=f"{namespace}/{name}",
        now=now,
        letter=letter,
        letters_seen=letters_seen,
        said=said(lines, wanted, now),
        holds=holds(lines, now),
        in_order=not any(worker.get(name) for name in ("ordering", "fairness")),
        by_key=bool(worker.get("ordering")),
        queues=queues(seen.metrics or Metrics(), None, now),
        unseen=tuple(unseen),
        program=KUBECTL,
        words=(name,),
        flags=("-n", namespace, *cluster.flags),
    )


async def _letter(cluster: Cluster, source: str, wanted: str, unseen: list[str]) -> tuple[Letter | None, bool]:
    try:
        async with on_cluster(cluster, source) as place:
            return await sought(place, wanted, unseen)
    except ForebayError as error:
        unseen.append(f"dead letters: {error}")
        return None, False


async def _lines(api: Api, source: Object, wanted: str, unseen: list[str]) -> list[str]:
    """What the workers that are there have logged of it, also before the last start of their containers."""
    namespace, name = source["metadata"]["namespace"], source["metadata"]["name"]
    accepted = born(wanted)
    since = {} if accepted is None else {"sinceTime": stamp(accepted - _SLACK_MS)}
    found: list[str] = []
    try:
        pods = await api.list(PODS, namespace, selector=f"{SOURCE_LABEL}={name},app.kubernetes.io/component=worker")
        for pod, query in _logs(pods):
            found += [
                line async for line in api.log(namespace, pod, {**query, **since}) if wanted in line or "pace." in line
            ]
    except ForebayError as error:
        unseen.append(f"logs: {error}")
    return found


def _logs(pods: list[Object]) -> list[tuple[str, Mapping[str, str]]]:
    """Which logs there are: pods with what to ask."""
    logs: list[tuple[str, Mapping[str, str]]] = []
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        states = pod.get("status", {}).get("containerStatuses", ())
        if any(state.get("restartCount") for state in states):
            logs.append((pod["metadata"]["name"], {"previous": "true"}))
        if pod.get("status", {}).get("phase") in ("Running", "Succeeded", "Failed"):
            logs.append((pod["metadata"]["name"], {}))
    return logs
