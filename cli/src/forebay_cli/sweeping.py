"""Finds bodies in object storage that nothing refers to any more, and lets them go. Gather, decide, act.

Who may refer to a body: a queue of the source, a delay tier, a dead letter, or the place of those whose source was away. A webhook is put into a
tier only if it comes back before `retry.maxAge`, so nothing older than that is in one. The queues have to be seen empty. Dead letters are
read, before and after that: what dies meanwhile is among the latter. What is left was delivered, or discarded, or never published.
"""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from forebay.envelope import claim_key
from forebay.errors import Rejected
from forebay.management import Management
from forebay.source import WebhookSource
from forebay.storage import Stored
from forebay.topology import ORPHANS, Names
from forebay_cli.dead.reader import reader
from forebay_cli.shelf import Shelf, delete_all
from forebay_cli.target import Target

# Beside the age up to which a webhook is tried: the longest tier, once, for a `maxAge` that was longer until a moment ago; and clocks.
MARGIN_S = 2 * 86_400.0
_LOOK_S = 2.0  # between two looks at the queues
_LATE_S = 6.0  # RabbitMQ counts what is in a quorum queue every five seconds


@dataclass(slots=True, kw_only=True)
class Found:
    """What is in the storage of a source."""

    orphans: list[Stored] = field(default_factory=list)  # nothing refers to them
    young: int = 0  # a queue may refer to them
    referred: int = 0  # old, and a dead letter refers to them
    deleted: int = 0

    @property
    def bytes(self) -> int:
        """Of the orphans."""
        return sum(one.size for one in self.orphans)


def least_age(source: WebhookSource) -> float:
    """Seconds after which no delay tier can refer to a body any more."""
    return source.spec.retry.max_age + MARGIN_S


def decide(objects: list[Stored], referred: frozenset[str], before: datetime) -> Found:
    """Which of them go: those that were put before, and that no dead letter refers to."""
    found = Found()
    for one in objects:
        if one.at >= before:
            found.young += 1
        elif one.key in referred:
            found.referred += 1
        else:
            found.orphans.append(one)
    return found


async def look(there: Target, shelf: Shelf, age_s: float, patience_s: float) -> Found:
    """Look, and change nothing. Raises Rejected if a queue of the source is not seen empty in time."""
    before = datetime.fromtimestamp(time.time() - age_s, UTC)
    referred = await _referred(there)
    await _seen_empty(there, patience_s)
    referred |= await _referred(there)
    return decide([one async for one in shelf.list(claim_key(there.source, ""))], referred, before)


async def let_go(found: Found, shelf: Shelf) -> None:
    """Delete the orphans. Raises StorageError; what was deleted by then is counted."""

    def counted() -> None:
        found.deleted += 1

    await delete_all(shelf, (one.key for one in found.orphans), counted)


async def _referred(there: Target) -> frozenset[str]:
    """The keys that dead letters refer to; of one that can not be read, the key that it would have."""
    keys = set[str]()
    async with reader(there.url, there.names) as letters:
        async for letter, _ in letters.letters():
            keys.add(letter.claim.key if letter.claim else claim_key(there.source, letter.id))
        if letters.seen < letters.total:
            raise Rejected(
                f"only {letters.seen:,} of {letters.total:,} dead letters came: somebody else reads them; try again later"
            )
    return frozenset(keys)


async def _seen_empty(there: Target, patience_s: float) -> None:
    """Return when all queues of the source were seen holding nothing, neither waiting nor in work, for as long as the broker's count may be late."""
    deadline, empty_since = time.monotonic() + patience_s, None
    async with there.broker.management() as management:
        while True:
            full = await _full(management, there)
            now = time.monotonic()
            empty_since = None if full else empty_since or now
            if empty_since is not None and now - empty_since >= _LATE_S:
                return
            if full and now > deadline:
                listed = ", ".join(f"{count:,} in {name}" for name, count in sorted(full.items()))
                raise Rejected(
                    f"webhooks wait ({listed}), and any of them may refer to a body; sweep when these are empty"
                )
            await asyncio.sleep(_LOOK_S)


async def _full(management: Management, there: Target) -> dict[str, int]:
    """The queues that hold something. Raises Rejected if there is none of the source at all."""
    queues = await management.queues(there.broker.vhost)
    held = {one.name: one.messages for one in queues if _matters(there.names, one.name)}
    if not held.keys() - {ORPHANS}:
        raise Rejected(f"the broker has no queue of {there.source}; check --source and the virtual host of --broker")
    return {name: count for name, count in held.items() if count}


def _matters(names: Names, queue: str) -> bool:
    """Whether a queue can hold webhooks of the source, apart from its dead letters."""
    if queue == ORPHANS:
        return True
    own = queue.startswith(f"{names.exchange}.")
    return own and queue not in (names.dead, names.seen) and not queue.startswith(names.permits_prefix)
