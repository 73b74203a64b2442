"""What a running worker follows in its settings file: only whether it is suspended. All else takes a new process.

The file is a mounted ConfigMap: the kubelet brings a change within about a minute, all at once.
"""

import asyncio
import json
from pathlib import Path
from typing import Protocol

EVERY_S = 1.0


class Suspend(Protocol):
    """Who rests, or works again."""

    def __call__(self, *, suspended: bool) -> None: ...


async def follow(file: Path, before: bool, suspend: Suspend, *, every_s: float = EVERY_S) -> None:
    """Tell of each change, until cancelled; `before` is what is known already. What can not be read changes nothing."""
    while True:
        await asyncio.sleep(every_s)
        now = suspended(file)
        if now is not None and now is not before:
            before = now
            suspend(suspended=now)


def suspended(file: Path) -> bool | None:
    """Whether the settings in the file say so; None if it can not be read.

    Nothing else in it is looked at: a newer operator may say things there that this worker has never heard of.
    """
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return bool(found.get("suspended", False)) if isinstance(found, dict) else None
