"""How the endpoint of a source is reached from outside the cluster: an HTTPRoute, an Ingress, or not at all.

A path is a prefix by whole segments, in both as in the endpoint itself: what follows it is kept. Methods are left to the
endpoint, which answers 405 where a gateway would answer 404. Timeouts are left to it too: it bounds every step itself, and
HTTPRoute's are an extension that not every gateway has.
"""

from forebay.source import WebhookSource
from forebay.source.cluster import HttpRoute, IngressRoute, ParentRef
from forebay_operator.desired.metadata import Object, ingest_name, metadata
from forebay_operator.desired.platform import HTTP_ROUTE, Platform

PORT = 80  # of the Service
TOKEN = "{token}"  # noqa: S105  # what is shown of a URL's token
_GATEWAY_API = "gateway.networking.k8s.io"


def objects(source: WebhookSource, platform: Platform) -> list[Object]:
    expose = source.spec.ingest.expose
    if expose and expose.ingress:
        return [_ingress(source, expose.ingress)]
    if expose and expose.http_route and HTTP_ROUTE in platform.apis:
        return [_http_route(source, expose.http_route)]
    return []


def url(source: WebhookSource, platform: Platform) -> str:
    """Where webhooks are to be sent: the public address if there is one and it is known, else the Service's.

    An HTTPRoute without hostnames has those of its gateway, which only the gateway's owner knows. In the place of a token
    stands TOKEN.
    """
    expose = source.spec.ingest.expose
    path = with_token(source, source.path, TOKEN)
    if expose and expose.ingress:
        return f"{'https' if expose.ingress.tls else 'http'}://{expose.ingress.host}{path}"
    if expose and expose.http_route and expose.http_route.hostnames and HTTP_ROUTE in platform.apis:
        return f"https://{expose.http_route.hostnames[0]}{path}"
    return f"http://{ingest_name(source)}.{source.namespace}.svc{path}"


def with_token(source: WebhookSource, url: str, token: str) -> str:
    """A URL or path of the source with this token, if it asks for one."""
    return f"{url.rstrip('/')}/{token}" if source.spec.ingest.url_token else url


def route(source: WebhookSource, platform: Platform) -> str:
    """What leads to the endpoint, as kind and name."""
    kind = next((str(child["kind"]) for child in objects(source, platform)), "Service")
    return f"{kind} {ingest_name(source)}"


def _http_route(source: WebhookSource, wanted: HttpRoute) -> Object:
    spec: Object = {
        "parentRefs": [_parent(ref) for ref in wanted.parent_refs],
        "hostnames": list(wanted.hostnames),
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": source.path}}],
                "backendRefs": [{"name": ingest_name(source), "port": PORT}],
            }
        ],
    }
    return {
        "apiVersion": f"{_GATEWAY_API}/v1",
        "kind": "HTTPRoute",
        "metadata": _metadata(source, wanted.annotations),
        "spec": {key: value for key, value in spec.items() if value},
    }


def _parent(ref: ParentRef) -> Object:
    given = {
        "group": _GATEWAY_API,
        "kind": ref.kind,
        "namespace": ref.namespace,
        "name": ref.name,
        "sectionName": ref.section_name,
    }
    return {key: value for key, value in given.items() if value}


def _ingress(source: WebhookSource, wanted: IngressRoute) -> Object:
    backend = {"service": {"name": ingest_name(source), "port": {"number": PORT}}}
    spec: Object = {
        "ingressClassName": wanted.class_name,
        "tls": _tls(wanted),
        "rules": [
            {
                "host": wanted.host,
                "http": {"paths": [{"path": source.path, "pathType": "Prefix", "backend": backend}]},
            }
        ],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": _metadata(source, wanted.annotations),
        "spec": {key: value for key, value in spec.items() if value},
    }


def _tls(wanted: IngressRoute) -> list[Object]:
    if wanted.tls is None:
        return []
    certificate = {"secretName": wanted.tls.secret_name} if wanted.tls.secret_name else {}
    return [{"hosts": [wanted.host], **certificate}]


def _metadata(source: WebhookSource, annotations: dict[str, str] | None) -> Object:
    own = metadata(source, ingest_name(source), "ingest")
    return {**own, "annotations": dict(annotations)} if annotations else own
