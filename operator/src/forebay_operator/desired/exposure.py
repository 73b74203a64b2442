"""How the endpoint of a source is reached."""

from forebay.source import WebhookSource
from forebay_operator.desired.metadata import ingest_name
from forebay_operator.desired.platform import Platform


def url(source: WebhookSource, _platform: Platform) -> str:
    """Where webhooks are to be sent: the public address if there is one, else the Service's."""
    expose = source.spec.ingest.expose
    if expose and expose.ingress:
        return f"{'https' if expose.ingress.tls else 'http'}://{expose.ingress.host}{source.path}"
    if expose and expose.http_route and expose.http_route.hostnames:
        return f"https://{expose.http_route.hostnames[0]}{source.path}"
    return f"http://{ingest_name(source)}.{source.namespace}.svc{source.path}"
