"""Who may send to an endpoint, and how fast, as a person writes it down."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import Field

from forebay.signatures.presets import presets
from forebay.source.cluster import Expose
from forebay.source.model import Part, Problem
from forebay.source.references import SecretKeyRef
from forebay.source.values import Shape
from forebay.topology import RateLimit

Network = Annotated[
    str, Shape(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?", "an address or a network such as 192.30.252.0/22 or 2001:db8::/32", 49)
]

PROVIDER = "Provider"
AllowedClient = Annotated[
    str,
    Shape(
        rf"{PROVIDER}|[0-9A-Fa-f:.]+(/[0-9]{{1,3}})?",
        f"a network such as 192.30.252.0/22, or {PROVIDER} for those that the provider publishes", 49,
    ),
]  # fmt: skip
# Whose addresses are known here.
_KNOWN = [name for name, known in presets().items() if known.senders and known.senders.networks]

PERIODS = {"Second": 1.0, "Minute": 60.0, "Hour": 3600.0}  # in seconds


class ClientRate(Part):
    """A rate that no single client exceeds on average."""

    requests: int = Field(ge=1, le=1_000_000, description="So many …")
    per: Literal["Second", "Minute", "Hour"] = Field(default="Second", description="… in this time.")
    burst: int | None = Field(
        default=None, ge=1, le=1_000_000, description="So many at once after a pause. Default: requests."
    )

    def bucket(self, share: int = 1) -> RateLimit:
        """One of so many equal shares of this rate."""
        burst = -(-(self.burst or self.requests) // share)
        return RateLimit(requests=self.requests, per_s=PERIODS[self.per] * share, burst=burst)


class EndpointRate(ClientRate):
    """A rate that is not exceeded on average: of webhooks that verify, over all endpoint processes."""

    per_client: ClientRate | None = Field(
        default=None,
        description="The same for all requests of one client, verified or not: an IPv4 address, or a /64 of IPv6. Each endpoint"
        " process counts for itself.",
    )


class UrlToken(Part):
    """A secret part of the endpoint's path."""

    secret_refs: tuple[SecretKeyRef, ...] = Field(
        min_length=1,
        max_length=8,
        description="The tokens, 16 to 128 letters, digits, - and _ each. Several during a rotation: any of them counts.",
    )


_EXPOSED = "(has(self.expose) && (has(self.expose.httpRoute) || has(self.expose.ingress)))"
_TELLS_APART = "(has(self.allowedClients) && size(self.allowedClients) > 0) || (has(self.rateLimit) && has(self.rateLimit.perClient))"
GUARD_RULES = (
    (
        (
            f"!has(self.allowedClients) || !self.allowedClients.exists(one, one == '{PROVIDER}')"
            f" || self.verification.provider in [{', '.join(repr(name) for name in _KNOWN)}]"
        ),
        f"allowedClients: {PROVIDER} needs a provider whose addresses are known here: {', '.join(_KNOWN)}",
    ),
    (
        f"!{_EXPOSED} || (has(self.trustedProxies) && size(self.trustedProxies) > 0) || !({_TELLS_APART})",
        "allowedClients and rateLimit.perClient need trustedProxies behind a gateway: every request comes from the gateway's address",
    ),
)


def network_faults(
    trusted: tuple[str, ...], allowed: tuple[str, ...], limit: EndpointRate | None, expose: Expose | None
) -> Iterator[Problem]:
    """What is wrong with networks, and with telling clients apart behind a proxy that nobody trusts."""
    for name, networks in (("trustedProxies", trusted), ("allowedClients", allowed)):
        for index, network in enumerate(networks):
            if network == PROVIDER:
                continue
            try:
                ip_network(network)
            except ValueError as error:
                yield Problem((name, index), f"{network} is no network: {error}", "write one such as 192.30.252.0/22")
    per_client = limit is not None and limit.per_client is not None
    if expose is not None and (expose.http_route or expose.ingress) and not trusted and (allowed or per_client):
        yield Problem(
            ("trustedProxies",),
            "missing: behind a gateway every request comes from the gateway's own address",
            "write the networks of its pods; their X-Forwarded-For is then believed",
        )


def sender_faults(provider: str, allowed: tuple[str, ...]) -> Iterator[Problem]:
    """What is wrong with letting a provider's own addresses in: nobody is let in by a list that is not there."""
    if PROVIDER not in allowed or provider in _KNOWN:
        return
    senders = presets()[provider].senders
    remedy = f"write the networks that it publishes at {senders.source}" if senders else "write its networks"
    yield Problem(
        ("allowedClients", allowed.index(PROVIDER)), f"the addresses of provider {provider} are not known here", remedy
    )
