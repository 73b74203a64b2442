"""Does a piece of work at a source's broker, wherever that is: here, at --broker, or on a cluster."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from forebay.errors import ForebayError, SpecError, Unavailable
from forebay_cli.broker import GivenBroker
from forebay_cli.state import Home
from forebay_cli.target import Target, target
from forebay_cli.where import Cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a command is to work, as a person named it."""

    home: Home
    source: str | None
    broker: str | None
    cluster: Cluster | None


def at(place: Place, work: Callable[[Target], Coroutine[Any, Any, T]]) -> T:
    """Do the work. Raises SpecError if it is not said where, and what the work raises."""
    return asyncio.run(_at(place, work))


async def _at(place: Place, work: Callable[[Target], Coroutine[Any, Any, T]]) -> T:
    if place.cluster is None:
        return await work(target(place.home, place.source, place.broker))
    async with on_cluster(place.cluster, place.source) as found:
        return await work(found)


@asynccontextmanager
async def on_cluster(
    cluster: Cluster, source: str | None, *, otherwise: type[ForebayError] = Unavailable
) -> "AsyncIterator[Target]":
    """A source of a cluster with its broker, which can be reached until the end of the block.

    Raises Unavailable, or what is wanted `otherwise`, if there is no way to the broker from here.
    """
    from forebay_cli.cluster import logins  # noqa: PLC0415  # brings the Kubernetes client, which others can do without
    from forebay_cli.cluster.api import connected  # noqa: PLC0415  # as above
    from forebay_cli.cluster.forward import reachable  # noqa: PLC0415  # as above
    from forebay_cli.cluster.sources import find  # noqa: PLC0415  # as above

    if source is None:
        raise SpecError("it is not said which source; name it first: kubectl forebay dlq list NAME")
    async with connected(cluster) as api:
        found = await find(api, source)
        broker = await logins.worker_login(api, found)
    namespace, name = found["metadata"]["namespace"], found["metadata"]["name"]
    host, _, port = broker.host.rpartition(":")
    async with reachable(cluster, host, int(port), namespace, otherwise=otherwise) as (reached, at_port):
        yield Target(source=f"{namespace}/{name}", broker=_moved(broker, reached, at_port))


def _moved(broker: GivenBroker, host: str, port: int) -> GivenBroker:
    """The same broker at another address. Its certificate is still that of its own name."""
    own = broker.host.rpartition(":")[0]
    if host == own:
        return broker
    query = f"?ssl_options={quote(_tls(own))}" if broker.scheme == "amqps" else ""
    return replace(broker, host=f"{host}:{port}", query=query)


def _tls(name: str) -> str:
    import ssl  # noqa: PLC0415  # rarely needed

    paths = ssl.get_default_verify_paths()
    where = {key: value for key, value in (("cafile", paths.cafile), ("capath", paths.capath)) if value}
    return repr({"server_hostname": name.strip("[]"), **where})
