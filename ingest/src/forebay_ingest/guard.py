"""Stands before everything else, at the head of a request: who is asking, whether they may, and not too often.

It does not know yet whether the request is signed, so it only ever counts against the client that sent it: nobody can use up
what belongs to the provider.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from multidict import istr

from forebay.settings import Guarding
from forebay_ingest import answers
from forebay_ingest.answers import Refusal
from forebay_ingest.rates import Buckets

_FORWARDED_FOR = istr("X-Forwarded-For")
_HOPS = 16  # proxies at most that are looked through


class Guard:
    """Lets requests of one source through by their client's address."""

    def __init__(self, settings: Guarding, clock: Callable[[], float] = time.monotonic) -> None:
        self._trusts = _within(settings.trusted_proxies)
        self._allows = _within(settings.allowed_clients) if settings.allowed_clients else None
        self._buckets = Buckets(settings.client_limit) if settings.client_limit else None
        self._clock = clock

    def client_of(self, head: Any, peer: bytes) -> bytes:
        """The address of whoever the trusted proxies say has asked; the peer's own if it is none of them.

        The header is read from its end: what stands before the last address that no trusted proxy has is the sender's own word.
        """
        client = peer
        if not self._trusts(peer):
            return client
        hops = ",".join(head.headers.getall(_FORWARDED_FOR, ())).split(",")[-_HOPS:]
        for hop in reversed(hops):
            address = _address(hop)
            if address is None:
                return client
            client = address
            if not self._trusts(client):
                return client
        return client

    def check(self, client: bytes) -> Refusal | None:
        """Why a request of this client is refused."""
        if self._allows is not None and not self._allows(client):
            return answers.CLIENT
        if self._buckets is not None and not self._buckets.admit(_counted(client), self._clock()):
            return answers.RATE_LIMITED
        return None


def _within(networks: tuple[str, ...]) -> Callable[[bytes], bool]:
    known = [ip_network(network) for network in networks]

    @lru_cache(maxsize=4096)
    def within(client: bytes) -> bool:
        try:
            address = ip_address(client.decode("latin-1"))
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in known)

    return within


@lru_cache(maxsize=4096)
def _counted(client: bytes) -> bytes:
    """What counts as one client: of IPv6 a /64, of which whoever has one has all."""
    if b":" not in client:
        return client
    try:
        address = ip_address(client.decode("latin-1"))
    except ValueError:
        return client
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped).encode() if mapped else address.packed[:8]


def _address(text: str) -> bytes | None:
    """An address as proxies write it: some put a port behind it."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text)).encode()
    except ValueError:
        return None
