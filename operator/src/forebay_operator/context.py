"""What every step of a reconcile works with."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from forebay.telemetry import Log
from forebay_operator.broker import Address, Brokers
from forebay_operator.cluster import Cluster, Kind
from forebay_operator.desired import Platform
from forebay_operator.options import Options
from forebay_operator.room import Room
from forebay_operator.world import Key, SecretId, World


class KnownBroker(NamedTuple):
    """What a Secret said about a broker."""

    version: str  # of the Secret
    address: Address
    allowed: frozenset[str]  # namespaces whose sources may use it, besides its own


class Holding(NamedTuple):
    """What is known of a Secret that a provider's secret is captured into; none of its values."""

    version: str | None  # None: it is not there
    filled: frozenset[str]  # keys that hold something
    allowed: str  # the source that may write into it
    last: str  # when the last one came, and from whom


@dataclass(slots=True, kw_only=True)
class Context:
    """The operator's eyes and hands."""

    options: Options
    world: World
    cluster: Cluster
    brokers: Brokers
    room: Room  # at the brokers, for reconciles
    log: Log
    now: Callable[[], float]  # seconds since 1970
    platform: Platform = field(default_factory=Platform)
    kinds: frozenset[Kind] = frozenset()  # of children, as far as the API server has them
    api_missed: asyncio.Event = field(default_factory=asyncio.Event)  # a kind was not there when it was wanted
    addresses: dict[SecretId, KnownBroker] = field(default_factory=dict)
    places: dict[Key, Address] = field(default_factory=dict)  # where each source's queues are
    holdings: dict[Key, dict[str, Holding]] = field(
        default_factory=dict
    )  # of sources that capture, by the Secret's name
    reported: dict[Key, float] = field(default_factory=dict)  # when each source's status was written last
    closed: dict[Key, float] = field(default_factory=dict)  # since when nothing is published for a deleted source

    def forget(self, key: Key) -> None:
        """The source is gone."""
        self.world.forget(key)
        self.places.pop(key, None)
        self.holdings.pop(key, None)
        self.reported.pop(key, None)
        self.closed.pop(key, None)
