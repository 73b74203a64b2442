"""What `forebay dlq` does with the dead letters of a source on a broker: list, find, count, replay, discard."""

from collections import Counter
from typing import Any

from forebay.errors import Rejected
from forebay_cli.dead.choice import Choice
from forebay_cli.dead.letter import Letter
from forebay_cli.dead.reader import reader
from forebay_cli.dead.replay import nothing, replayer
from forebay_cli.dead.show import summary
from forebay_cli.dead.work import Order, Tally, work
from forebay_cli.target import Target


async def list_(place: Target, choice: Choice, limit: int) -> tuple[list[dict[str, Any]], Counter[str], int]:
    """Summaries of so many at most of those that are meant, how many are meant of each reason, and how many there are at all."""
    found: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    async with reader(place.url, place.names) as letters:
        async for letter, _ in letters.letters():
            if choice.means(letter):
                counts[letter.reason] += 1
                if len(found) < limit:
                    found.append(summary(letter))
        return found, counts, letters.total


async def find(place: Target, id_: str) -> Letter:
    """The letter with this id. Raises Rejected if there is none."""
    async with reader(place.url, place.names) as letters:
        async for letter, _ in letters.letters():
            if letter.id == id_:
                return letter
    raise Rejected(f"there is no dead letter {id_} of {place.source}; dlq list shows those there are")


async def count(place: Target, order: Order) -> Tally:
    """What the order would be about."""
    async with reader(place.url, place.names) as letters:
        tally = Tally(total=letters.total)
        async for letter, _ in letters.letters():
            if order.choice.means(letter):
                tally.reasons[letter.reason] += 1
                if tally.meant == order.limit:
                    break
        tally.looked_at = letters.seen
        return tally


async def replay(place: Target, order: Order) -> Tally:
    """Send those that are meant back to the queues they died in; of a dry run what it would be about."""
    if order.dry_run:
        return await count(place, order)
    async with replayer(place.url, place.names) as deed, reader(place.url, place.names) as letters:
        return await work(letters, order, deed)


async def discard(place: Target, order: Order) -> Tally:
    """Throw away those that are meant; of a dry run what it would be about."""
    if order.dry_run:
        return await count(place, order)
    async with reader(place.url, place.names) as letters:
        return await work(letters, order, nothing)
