"""Waiting in tests: poll until something is so, with a deadline; never sleep and hope."""

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(
    holds: Callable[[], Awaitable[object]],
    *,
    within_s: float = 15.0,
    every_s: float = 0.05,
    instead: Callable[[], object] = lambda: "",
) -> None:
    """Return as soon as `holds` returns something true. Raises TimeoutError, telling what is so `instead`, if it does not in time."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                if await holds():
                    return
                await asyncio.sleep(every_s)
    except TimeoutError as error:
        raise TimeoutError(instead()) from error


def so(condition: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    """For `eventually`: a condition that waits for nothing itself."""

    async def holds() -> object:
        return condition()

    return holds
