"""Lets a source on this machine rest, or wakes it: a wish that is noted down, and that `forebay dev` fulfils."""

import asyncio
import time
from collections.abc import Iterable

from forebay.errors import Unavailable
from forebay_cli.resting import Part, suspend
from forebay_cli.state import Home, Running
from forebay_cli.target import here

_WITHIN_S = 30.0  # an endpoint that is to start again may take its time
_LOOK_S = 0.1


async def change(home: Home, name: str | None, parts: Iterable[Part], *, rest: bool) -> tuple[Running, Running]:
    """The running source before and after. Raises SpecError if none runs, Unavailable if nothing changes."""
    before = here(home, name)
    notes = home.notes(before.source)
    value = suspend(before.suspend, parts, rest=rest)
    notes.wish(value)
    end = time.monotonic() + _WITHIN_S
    while (now := here(home, before.source)).suspend != value:
        if time.monotonic() > end:
            raise Unavailable(f"forebay dev did not follow within {_WITHIN_S:g} s; look at what it says")
        await asyncio.sleep(_LOOK_S)
    return before, now
