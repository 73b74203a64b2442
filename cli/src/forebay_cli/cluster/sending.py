"""Where a source on a cluster takes webhooks in, and the secret that they are signed with."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

from forebay import manifest
from forebay.errors import Unavailable
from forebay.manifest import Manifests
from forebay_cli.cluster import logins
from forebay_cli.cluster.api import connected
from forebay_cli.cluster.forward import reachable, service_of
from forebay_cli.cluster.sources import find
from forebay_cli.given import Given, Key, flags_of, signing_keys, url_keys, variable_is_set
from forebay_cli.where import Cluster
from forebay_operator.desired import Platform, url


async def given_on_cluster(cluster: Cluster, name: str, flags: Iterable[str]) -> tuple[Given, str]:
    """The source with the Secrets that its webhooks are signed with, and its URL. Raises Forbidden, NotFound or Rejected."""
    said = flags_of(flags)
    async with connected(cluster) as api:
        found = await find(api, name)
        source = manifest.read_source(found)
        unknown = [key for key in (*signing_keys(source), *url_keys(source)) if not _known(said, key)]
        secrets = await logins.read_all(api, source.namespace, (secret for secret, _ in unknown))
    given = Given(source=source, manifests=Manifests(sources=(source,), secrets=secrets), flags=said)
    return given, (found.get("status") or {}).get("url") or url(source, Platform())


def _known(flags: dict[Key, bytes], key: Key) -> bool:
    return key in flags or variable_is_set(*key)


@asynccontextmanager
async def endpoint(cluster: Cluster, url: str, namespace: str) -> AsyncIterator[str]:
    """A URL that leads from here to the endpoint: its own if that is public, else one of a forwarded port."""
    parts = urlsplit(url)
    assert parts.hostname, "it was checked, or is the operator's"
    if service_of(parts.hostname, namespace) is None:
        yield url
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    async with reachable(cluster, parts.hostname, port, namespace) as (host, at_port):
        if parts.scheme == "https" and host != parts.hostname:
            raise Unavailable(
                f"{url} has a certificate for a name that only the cluster knows; send from a pod, or give --url"
            )
        yield urlunsplit(parts._replace(netloc=f"{host}:{at_port}"))
