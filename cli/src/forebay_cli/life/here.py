"""Gathers what is known of a webhook on this machine: dead letters, the processes' logs and counters, the depths of the queues.

No queue but that of the dead letters is looked into: taking a message out and putting it back counts towards its delivery limit
and changes the order (docs/decisions/0015).
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from forebay.errors import ForebayError
from forebay.topology import ORPHANS, queue_of
from forebay_cli.dead.letter import Letter
from forebay_cli.dead.reader import reader
from forebay_cli.life.facts import Facts, queues
from forebay_cli.life.said import holds, said
from forebay_cli.local import admin
from forebay_cli.local.watch import delayed
from forebay_cli.standing import waiting
from forebay_cli.target import Target


async def gather(place: Target, wanted: str) -> Facts:
    """What is known of the webhook with this id, ours or the provider's."""
    now = round(time.time() * 1000)
    unseen: list[str] = []
    letter, seen = await sought(place, wanted, unseen)
    depths = await _depths(place, unseen)
    processes = place.running.processes if place.running else ()
    metrics = await admin.metrics(process.admin for process in processes if process.admin)
    if place.running is None:
        unseen.append("logs: only those of a source that forebay dev runs, or kubectl forebay finds, can be read")
    lines = tuple(_lines(Path(place.running.logs), wanted)) if place.running else ()
    lanes = dict(waiting(place.names, depths or {}))
    return Facts(
        wanted=wanted,
        source=place.source,
        now=now,
        letter=letter,
        letters_seen=seen,
        said=said(lines, wanted, now),
        holds=holds(lines, now),
        queues=queues(metrics, None if depths is None else _by_queue(lanes), now),
        in_order=all(queue_of(name) == name for name in lanes),
        by_key=any(name.rpartition(":")[2].isdigit() for name in lanes if queue_of(name) != name),
        delayed=None if depths is None else delayed(depths),
        orphans=None if depths is None else depths.get(ORPHANS, 0),
        unseen=tuple(unseen),
        flags=() if place.running else ("--source", place.source),
    )


async def sought(place: Target, wanted: str, unseen: list[str]) -> tuple[Letter | None, bool]:
    """The dead letter with this id, ours or the provider's; and whether all could be looked through."""
    try:
        async with reader(place.url, place.names) as letters:
            async for letter, _ in letters.letters():
                if wanted in (letter.id, letter.envelope and letter.envelope.delivery_id):
                    return letter, True
    except (ForebayError, TimeoutError) as error:
        unseen.append(f"dead letters: {error}")
        return None, False
    return None, True


async def _depths(place: Target, unseen: list[str]) -> Mapping[str, int] | None:
    try:
        async with place.broker.management() as management:
            return {queue.name: queue.messages for queue in await management.queues(place.broker.vhost)}
    except ForebayError as error:
        unseen.append(f"depths of the queues: {error}")
        return None


def _by_queue(lanes: Mapping[str, int]) -> dict[str, int]:
    summed = Counter[str]()
    for name, depth in lanes.items():
        summed[queue_of(name)] += depth
    return dict(summed)


def _lines(folder: Path, wanted: str) -> Iterator[str]:
    """The lines of all logs that are about the webhook or the pace."""
    for file in sorted(folder.glob("*.log")):
        with file.open(encoding="utf-8", errors="replace") as stream:
            yield from (line.rstrip("\n") for line in stream if wanted in line or "pace." in line)
