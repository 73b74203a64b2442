"""Which lane of its queue a webhook goes to, by its key: the shop, account or order that it is about. Pure, but for the counts.

A webhook without a usable key stays in the queue itself, where nothing is ordered. No webhook is refused for its key.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol
from zlib import crc32

from forebay.json_path import MISSING, dig
from forebay.settings import Lanes
from forebay.topology import BUSY, lane, ordered_lanes
from forebay_ingest.shares import Shares

# Characters of a key that count.
KEY_LENGTH = 200

# Why a webhook is in no lane, or in one by a part of its key.
NO_KEY, STRANGE_KEY, LONG_KEY = "missing", "type", "long"
FAULTS = (NO_KEY, STRANGE_KEY, LONG_KEY)


Place = tuple[str | None, str | None]
NOWHERE: Place = (None, None)


class Webhook(Protocol):
    """What a key is looked for in."""

    @property
    def headers(self) -> Mapping[str, str]: ...
    def json(self) -> Any:
        """The body, None if it is no JSON."""


class Counts(Protocol):
    """Who hears what became of webhooks by their keys."""

    def key_fault(self, fault: str) -> None:
        """A key was not as it should be; one of FAULTS."""

    def busy(self) -> None:
        """A webhook went to the lane of keys that send too much."""


class Spread(Protocol):
    """Spreads the webhooks of a source over the lanes of their queues."""

    @property
    def reads_body(self) -> bool:
        """Whether keys are looked for in the body."""

    def place(self, queue: str, webhook: Webhook) -> Place:
        """The short name of the webhook's lane, None if it is in none; and the key by which it waits for others."""


def spread(lanes: Lanes, queues: Iterable[str], counts: Counts, clock: Callable[[], float]) -> Spread:
    """The spread that these settings say. `clock` tells seconds."""
    find = _Finder(lanes, counts)
    if lanes.ordered:
        return _ByKey(find, {queue: ordered_lanes(queue, lanes.ordered) for queue in queues})
    return _ByShare(find, {queue: (lane(queue, BUSY), Shares(clock)) for queue in queues}, counts)


class _ByKey:
    """Each key has its lane."""

    def __init__(self, find: "_Finder", lanes: Mapping[str, tuple[str, ...]]) -> None:
        self._find = find
        self.reads_body = find.reads_body
        self._lanes = lanes

    def place(self, queue: str, webhook: Webhook) -> Place:
        key = self._find(webhook)
        if key is None:
            return NOWHERE
        lanes = self._lanes[queue]
        return lanes[crc32(key.encode("utf-8", "surrogatepass")) % len(lanes)], key


class _ByShare:
    """A key that sends much more than the others goes to a lane aside."""

    def __init__(self, find: "_Finder", places: Mapping[str, tuple[str, Shares]], counts: Counts) -> None:
        self._find = find
        self.reads_body = find.reads_body
        self._places = places
        self._counts = counts

    def place(self, queue: str, webhook: Webhook) -> Place:
        key = self._find(webhook)
        if key is None:
            return NOWHERE
        aside, shares = self._places[queue]
        if not shares.excessive(key):
            return NOWHERE
        self._counts.busy()
        return aside, None


class _Finder:
    """Finds a webhook's key: a text, or a whole number as text; None if it has none."""

    def __init__(self, lanes: Lanes, counts: Counts) -> None:
        self._header = lanes.header
        self._path = lanes.json_path or ""
        self._counts = counts
        self.reads_body = lanes.header is None

    def __call__(self, webhook: Webhook) -> str | None:
        found = self._found(webhook)
        if found is MISSING or found == "":
            self._counts.key_fault(NO_KEY)
            return None
        if type(found) is not str and type(found) is not int:
            self._counts.key_fault(STRANGE_KEY)
            return None
        key = found if isinstance(found, str) else json.dumps(found)
        if len(key) > KEY_LENGTH:
            self._counts.key_fault(LONG_KEY)
        return key[:KEY_LENGTH]

    def _found(self, webhook: Webhook) -> Any:
        if self._header is not None:
            return webhook.headers.get(self._header, MISSING)
        return dig(webhook.json(), self._path)
