"""Which source has which public address: of two that want the same, the older one has it. No I/O.

It is read from the sources as they were seen, whether they have been reconciled yet or not: after a restart nobody takes an
address because the one who has it comes later in the queue.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Address(NamedTuple):
    """Host and path. In place of a host that only a gateway's owner knows, the gateway."""

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}{self.path}"


class Claim(NamedTuple):
    """Who wants an address; the first in order has it: of two of the same second, the first by name."""

    created: str
    namespace: str
    name: str


class Addresses:
    """Everybody's wishes."""

    def __init__(self) -> None:
        self._wanted: dict[tuple[str, str], frozenset[Address]] = {}
        self._claims: dict[Address, set[Claim]] = {}

    def see(self, body: Mapping[str, Any], *, gone: bool = False) -> set[tuple[str, str]]:
        """Remember what a source wants. The other sources that want what it wants no longer, or wants now."""
        metadata = body["metadata"]
        key = metadata["namespace"], metadata["name"]
        before = self._wanted.pop(key, frozenset())
        now = frozenset() if gone else wanted(body)
        for address in before:
            self._claims[address] = {claim for claim in self._claims[address] if claim[1:] != key}
        claim = Claim(metadata.get("creationTimestamp", ""), *key)
        for address in now:
            self._claims.setdefault(address, set()).add(claim)
        if now:
            self._wanted[key] = now
        concerned = {other[1:] for address in before ^ now for other in self._claims[address]} - {key}
        for address in [address for address in before if not self._claims[address]]:
            del self._claims[address]
        return concerned

    def taken(self, namespace: str, name: str) -> tuple[Address, tuple[str, str]] | None:
        """An address that the source wants and another one has, and that one's namespace and name."""
        for address in sorted(self._wanted.get((namespace, name), ())):
            first = min(self._claims[address])
            if first[1:] != (namespace, name):
                return address, first[1:]
        return None


def wanted(body: Mapping[str, Any]) -> frozenset[Address]:
    """The addresses in a source's manifest. What the API server would not have taken wants none."""
    try:
        metadata, ingest = body["metadata"], body["spec"]["ingest"]
        expose = ingest.get("expose") or {}
        path = ingest.get("path") or f"/{metadata['namespace']}/{metadata['name']}"
        path = path.rstrip("/") or "/"  # routes match by whole segments: /a and /a/ are one address
        return frozenset(Address(host, path) for host in _hosts(expose, metadata["namespace"]))
    except (KeyError, TypeError, AttributeError):
        return frozenset()


def _hosts(expose: Mapping[str, Any], namespace: str) -> list[str]:
    if ingress := expose.get("ingress"):
        return [ingress["host"]]
    route = expose.get("httpRoute")
    if not route:
        return []
    gateways = (
        f"{ref.get('kind', 'Gateway')} {ref.get('namespace') or namespace}/{ref['name']} "
        for ref in route["parentRefs"]
    )
    return list(route.get("hostnames") or gateways)
