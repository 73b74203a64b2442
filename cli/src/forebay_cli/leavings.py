"""What waits in the outage buffer of a source, by the endpoint process that has put it there; and how it is given up. Gather, decide, act.

An endpoint that works on it writes its lease anew every few seconds, whoever the process was that left it. So what has not been touched
for long is nobody's: the source is gone, or none of its endpoints runs.
"""

from dataclasses import dataclass, field
from datetime import datetime

from forebay.storage import Stored
from forebay_cli.shelf import Shelf, delete_all
from forebay_ingest.segments import Segment, folder, is_segment


@dataclass(slots=True)
class Left:
    """What one endpoint process has there."""

    replica: str
    segments: list[Segment] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # its lease, and what a kill has left half written
    touched: datetime | None = None  # when any of it was written last

    @property
    def webhooks(self) -> int:
        return sum(one.webhooks for one in self.segments)

    @property
    def bytes(self) -> int:
        return sum(one.size for one in self.segments)

    @property
    def oldest(self) -> int | None:
        """When the oldest segment was made, in ms since 1970."""
        return min((one.made for one in self.segments), default=None)

    def add(self, stored: Stored, name: str) -> None:
        """Take up one object."""
        if is_segment(name):
            self.segments.append(Segment(stored.key, stored.size))
        else:
            self.others.append(stored.key)
        self.touched = stored.at if self.touched is None else max(self.touched, stored.at)


async def look(shelf: Shelf, source: str) -> list[Left]:
    """What is there of a source ("namespace/name"). Raises StorageError."""
    found: dict[str, Left] = {}
    async for stored in shelf.list(folder(source)):
        replica, _, name = stored.key.removeprefix(folder(source)).rpartition("/")
        found.setdefault(replica, Left(replica)).add(stored, name)
    return [found[replica] for replica in sorted(found)]


def worked_on(found: list[Left], since: datetime) -> list[str]:
    """The replicas of which something was written since then."""
    return [one.replica for one in found if one.touched is not None and one.touched >= since]


async def give_up(found: list[Left], shelf: Shelf) -> None:
    """Delete it all, leases last. Raises StorageError."""
    segments = [segment.key for one in found for segment in one.segments]
    others = [key for one in found for key in one.others]
    for keys in (segments, others):
        await delete_all(shelf, keys, lambda: None)
