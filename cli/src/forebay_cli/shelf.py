"""What the command line needs of an object storage (forebay.storage.Storage)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

from forebay.storage import Stored

_AT_ONCE = 8


class Shelf(Protocol):
    def list(self, prefix: str) -> AsyncIterator[Stored]: ...
    async def delete(self, key: str) -> None: ...


async def delete_all(shelf: Shelf, keys: Iterable[str], deleted: Callable[[], None]) -> None:
    """Delete objects, a few at a time; `deleted` hears of each. Raises StorageError."""
    left = iter(keys)

    async def work() -> None:
        for key in left:
            await shelf.delete(key)
            deleted()

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work())
