"""Whom the pods of a source may talk to: a NetworkPolicy for the endpoint, another for the workers.

The endpoint faces strangers and needs the broker, the storage of large bodies if there is one, and the provider where its keys
have to be fetched; workers face a destination that a tenant names as well.
Policies add up: whoever needs more, a handler its database's metadata server, gives it by a policy of his own. See
docs/decisions/0008-network-policies-by-port.md.
"""

from urllib.parse import urlsplit

from forebay.source import WebhookSource
from forebay_operator.desired.ingest import PORT
from forebay_operator.desired.ingest_settings import fetches_keys
from forebay_operator.desired.metadata import Component, Object, account_name, metadata, selector
from forebay_operator.desired.platform import Platform
from forebay_operator.desired.pod import ADMIN_PORT

# Where clouds and nodes hand out credentials: link-local, and what lies elsewhere. The worker refuses the same by itself.
_METADATA_V4 = ("100.100.100.200/32", "168.63.129.16/32", "169.254.0.0/16", "192.0.0.192/32")
_METADATA_V6 = ("fd00:ec2::/32", "fd20:ce::/32", "fe80::/10")
_PRIVATE_V4 = ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_PRIVATE_V6 = ("::1/128", "fc00::/7")


def objects(source: WebhookSource, platform: Platform) -> list[Object]:
    if not platform.network_policies:
        return []
    scrape = _from(platform.monitoring_namespaces, ADMIN_PORT)
    webhooks = _from(platform.ingress_namespaces, PORT)
    outward = [_dns(), _broker(platform), *_storage(source)]
    keys = _publishers(platform) if fetches_keys(source.spec.ingest.verification) else []
    return [
        _policy(source, "ingest", [webhooks, scrape], [*outward, *keys]),
        _policy(source, "worker", [scrape], [*outward, *_destination(platform)]),
    ]


def _policy(source: WebhookSource, component: Component, inward: list[Object], outward: list[Object]) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(source, account_name(source, component), component),
        "spec": {
            "podSelector": {"matchLabels": selector(source, component)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": inward,
            "egress": outward,
        },
    }


def _from(namespaces: tuple[str, ...], port: int) -> Object:
    """To a port from these namespaces; from anywhere if there are none, because a load balancer lives in no namespace."""
    ports = [{"protocol": "TCP", "port": port}]
    if not namespaces:
        return {"ports": ports}
    names = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(namespaces)}
    return {"from": [{"namespaceSelector": {"matchExpressions": [names]}}], "ports": ports}


def _dns() -> Object:
    """Wherever it is: a cache on the node has a link-local address."""
    return {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}


def _broker(platform: Platform) -> Object:
    return {"ports": [{"protocol": "TCP", "port": port} for port in platform.broker_ports]}


def _publishers(platform: Platform) -> list[Object]:
    """Where providers publish their keys: wherever a destination may be, by TLS."""
    return [{**to, "ports": [{"protocol": "TCP", "port": 443}]} for to in _destination(platform)]


def _storage(source: WebhookSource) -> list[Object]:
    """By port, like the broker: where it is stands in a URL, whose name may lead anywhere."""
    given = source.spec.storage
    if given is None or given.provider == "File":
        return []
    parts = urlsplit(given.endpoint or "https://")
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return [{"ports": [{"protocol": "TCP", "port": port}]}]


def _destination(platform: Platform) -> list[Object]:
    private = not platform.allow_private
    blocks = [
        _block("0.0.0.0/0", [*_METADATA_V4, *(_PRIVATE_V4 if private else ())]),
        _block("::/0", [*_METADATA_V6, *(_PRIVATE_V6 if private else ())]),
    ]
    # Some networks (Cilium) do not count pods among the addresses of a block.
    pods: list[Object] = [] if private else [{"namespaceSelector": {}}]
    return [{"to": [*pods, *blocks]}]


def _block(addresses: str, but: list[str]) -> Object:
    return {"ipBlock": {"cidr": addresses, "except": sorted(but)}}
