"""Which addresses may be dialed. A destination is a tenant's word; the network behind the part that dials is the platform's. Pure.

Whoever checks a name and then dials the name again can be fooled by a second answer of the DNS, so it is addresses
that are checked here, and the checked address is what is dialed.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

# Cloud metadata and host services that hand out credentials. Link-local (169.254.0.0/16, fe80::/10), where most of
# them live, is never dialed at all.
_METADATA = frozenset(
    ip_address(text)
    for text in (
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "168.63.129.16",  # Azure's host
    )
)
_SHARED = ip_network("100.64.0.0/10")  # carrier-grade NAT, RFC 6598: private in all but name
_THIS_NETWORK = ip_network("0.0.0.0/8")  # Linux connects 0.0.0.0 to the machine itself
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))  # RFC 6052, RFC 8215


def refusal(text: str, *, allow_private: bool, allow_loopback: bool) -> str | None:
    """Why the address must not be dialed, None if it may be."""
    try:
        address = _innermost(ip_address(text.partition("%")[0]))
    except ValueError:
        return "is no address"
    if address in _METADATA or address.is_link_local:
        return "is a metadata or link-local address, which is never dialed"
    if address.is_loopback or address.is_unspecified or address in _THIS_NETWORK:
        return None if allow_loopback else "is the machine itself, which this platform does not allow"
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        return "is a multicast or broadcast address"
    if not address.is_global or address in _SHARED:
        return None if allow_private else "is a private address, which this platform does not allow"
    return None


def _innermost(address: Address) -> Address:
    """The IPv4 address that an IPv6 one carries a packet to, where it does."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    low = int(address)
    if any(address in network for network in _NAT64) or (low >> 32 == 0 and low > 1):  # ::a.b.c.d, RFC 4291 §2.5.5.1
        return IPv4Address(low & 0xFFFF_FFFF)
    return address
