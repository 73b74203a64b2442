"""Gathers the facts that doctor decides on: from the API server, the broker, DNS, and the public endpoint. Changes nothing."""

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

from forebay.errors import ForebayError, Rejected, SpecError, Unavailable
from forebay.management import Management
from forebay_cli.cluster.api import CRDS, REVIEWS, SECRETS, SERVICES, SOURCES, Api, Kind, NotFound, Object
from forebay_cli.cluster.checks import ADMINISTRATOR, PURPOSES, BrokerFacts, Certificate, Facts, SourceFacts, Unseen
from forebay_cli.cluster.forward import reachable, service_of
from forebay_cli.cluster.operators import Operator, seen
from forebay_cli.cluster.roles import Right
from forebay_cli.cluster.sources import find
from forebay_cli.dead.reader import reader
from forebay_cli.placing import on_cluster
from forebay_cli.where import Cluster
from forebay_operator.broker import Address, address
from forebay_operator.desired.platform import OPTIONAL_APIS

_PATIENCE_S = 10.0
_SLICES = Kind("discovery.k8s.io/v1", "endpointslices")

T = TypeVar("T")


async def examine(api: Api, cluster: Cluster, name: str | None) -> Facts:
    """All facts about the cluster, and about one source if it is named. Raises Unavailable if there is no API server."""
    told = await api.read("/version")
    definition, served, rights, operators, apis = await asyncio.gather(
        _or_error(api.get(CRDS, f"{SOURCES.plural}.{SOURCES.group}")),
        _has(api, SOURCES.api_version, "WebhookSource"),
        _rights(api),
        seen(api),
        _optional_apis(api),
    )
    facts = Facts(
        server=api.host, version=told.get("gitVersion", "?"), crd=definition, served=served, rights=rights, operators=operators,
        apis=apis, own_version=version("forebay-cli"), now=time.time(),
    )  # fmt: skip
    return replace(facts, source=await _or_error(_source(api, cluster, name, operators))) if name and served else facts


async def _or_error(reading: Awaitable[T]) -> T | ForebayError:
    try:
        return await reading
    except ForebayError as error:
        return error


async def _has(api: Api, api_version: str, kind: str) -> bool:
    try:
        resources = (await api.read(f"/apis/{api_version}"))["resources"]
    except NotFound:
        return False
    return any(resource["kind"] == kind for resource in resources)


async def _optional_apis(api: Api) -> frozenset[str]:
    places = [(one, *one.rsplit("/", 1)) for one in OPTIONAL_APIS]
    there = await asyncio.gather(*(_has(api, group, kind) for _, group, kind in places))
    return frozenset(one for (one, _, _), has in zip(places, there, strict=True) if has)


async def _rights(api: Api) -> dict[Right, bool]:
    wanted = [Right(verb, group, resource, api.namespace) for verb, group, resource, _ in PURPOSES]
    answers = await asyncio.gather(*(_may(api, right) for right in wanted))
    return dict(zip(wanted, answers, strict=True))


async def _may(api: Api, right: Right) -> bool:
    resource, _, sub = right.resource.partition("/")
    asked = {
        "namespace": right.namespace, "verb": right.verb, "group": right.group, "resource": resource, "subresource": sub,
    }  # fmt: skip
    body: Object = {
        "apiVersion": REVIEWS.api_version, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked},
    }  # fmt: skip
    return bool((await api.create(REVIEWS, body))["status"]["allowed"])


# ------------------------------------------------------------------------------------------------------ of one source


async def _source(api: Api, cluster: Cluster, name: str, operators: "list[Operator] | ForebayError") -> SourceFacts:
    source = await find(api, name)
    broker, login, destination, certificate = await asyncio.gather(
        _or_error(_broker(api, cluster, source, operators)),
        _or_error(_workers_login(cluster, source)),
        _or_error(_destination(api, source)),
        _or_error(_certificate((source.get("status") or {}).get("url", ""))),
    )
    return SourceFacts(
        source=source, broker=broker, workers_login=login, destination=destination, certificate=certificate
    )


async def _broker(
    api: Api, cluster: Cluster, source: Object, operators: "list[Operator] | ForebayError"
) -> BrokerFacts:
    async with broker_of(api, cluster, source, operators) as broker:
        management = broker.management
        who = await management.get("whoami")
        said = who.get("tags", ())
        tags = tuple(said.split(",") if isinstance(said, str) else said)  # 3.10 has a text
        if ADMINISTRATOR in tags:  # nobody else may ask
            await management.get(f"vhosts/{quote(broker.place.vhost, safe='')}")
        return BrokerFacts(
            secret=broker.secret,
            address=broker.place.shown,
            version=await management.version(),
            tags=tags,
            alarms=await _alarms(management),
        )


class BrokerSession(NamedTuple):
    """The management API of a source's broker, with the login of the operator."""

    secret: str  # NAMESPACE/NAME that the login is in
    place: Address
    management: Management


@asynccontextmanager
async def broker_of(
    api: Api, cluster: Cluster, source: Object, operators: "list[Operator] | ForebayError"
) -> AsyncIterator[BrokerSession]:
    """The broker of a source. Raises Forbidden, Rejected, or Unseen if there is no way to it from here."""
    namespace, secret = _broker_secret(source, operators)
    try:
        found = await api.get(SECRETS, secret, namespace)
    except NotFound as error:
        raise Rejected(
            f"there is no Secret {secret} in namespace {namespace}; kubectl create secret generic {secret} -n {namespace} "
            "--from-literal=uri=amqp://USER:PASSWORD@HOST/VHOST"
        ) from error
    try:
        place = address(found.get("data") or {})
    except SpecError as error:
        raise Rejected(f"Secret {secret} in namespace {namespace}: {error}") from error
    parts = urlsplit(place.management)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    # Not reaching it from here says nothing about the pods.
    async with reachable(cluster, parts.hostname or place.host, port, namespace, otherwise=Unseen) as (host, at_port):
        if parts.scheme == "https" and host != parts.hostname:
            raise Unseen(
                f"{place.management} has a certificate for a name that only the cluster knows; look from a pod"
            )
        url = parts._replace(netloc=f"{host}:{at_port}").geturl()
        async with Management(url, place.username, place.password, timeout_s=_PATIENCE_S) as management:
            try:
                yield BrokerSession(f"{namespace}/{secret}", place, management)
            except Rejected as error:
                raise Rejected(f"{error}; correct the login in Secret {secret} of namespace {namespace}") from error


async def _alarms(management: Management) -> str:
    try:
        await management.get("health/checks/alarms")
    except Unavailable as error:
        return str(error).rpartition(": ")[2]
    except Rejected:
        return ""  # not for this login to ask
    return ""


def _broker_secret(source: Object, operators: "list[Operator] | ForebayError") -> tuple[str, str]:
    """Namespace and name of the Secret with the broker's address. Raises Unseen if it can not be told."""
    namespace, broker = source["metadata"]["namespace"], source["spec"].get("broker") or {}
    if reference := broker.get("secretRef"):
        return reference.get("namespace") or namespace, reference["name"]
    if reference := broker.get("clusterRef"):
        return reference.get("namespace") or namespace, f"{reference['name']}-default-user"
    if isinstance(operators, ForebayError):
        raise Unseen("the source uses the operator's default broker, and you may not look at the operator")
    for one in operators:
        place, slash, name = one.flags.get("--default-broker", "").partition("/")
        if slash:
            return place, name
    raise Rejected("spec.broker names no broker and the operator has no default one; set spec.broker.secretRef")


async def _workers_login(cluster: Cluster, source: Object) -> int:
    key = f"{source['metadata']['namespace']}/{source['metadata']['name']}"
    async with on_cluster(cluster, key, otherwise=Unseen) as place, reader(place.url, place.names) as letters:
        return letters.total


async def _destination(api: Api, source: Object) -> str:
    worker, namespace = source["spec"].get("worker") or {}, source["metadata"]["namespace"]
    url = (worker.get("destination") or {}).get("url")
    if url is None:
        return "is a handler, there is no host to look for"
    host = urlsplit(url).hostname or ""
    service = service_of(host, namespace)
    if service is None and _is_address(host):
        return f"{host} is an address, there is no name to look for"
    if service is not None:
        try:
            return await _service(api, *service)
        except NotFound:
            if "." not in host or ".svc" in host:
                raise Rejected(
                    f"there is no Service {service.name} in namespace {service.namespace}; create it, or correct spec.worker.destination.url"
                ) from None
    return await _resolved(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _service(api: Api, namespace: str, name: str) -> str:
    await api.get(SERVICES, name, namespace)
    slices = await api.list(_SLICES, namespace, selector=f"kubernetes.io/service-name={name}")
    ready = sum(_ready(one) for item in slices for one in item.get("endpoints") or ())
    if not ready:
        raise Rejected(
            f"Service {name} in namespace {namespace} has no ready pod behind it; see kubectl get endpointslices -n {namespace}"
        )
    return f"Service {name} in namespace {namespace} has {ready} ready pods"


def _ready(endpoint: Object) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is not False


async def _resolved(host: str) -> str:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        raise Unseen(
            f"this machine's DNS does not know {host}; if the cluster's does not either, correct spec.worker.destination.url"
        ) from error
    return f"{host} is {found[0][4][0]}, says this machine's DNS"


async def _certificate(url: str) -> Certificate | None:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    try:
        async with asyncio.timeout(_PATIENCE_S):
            _reader, writer = await asyncio.open_connection(
                parts.hostname, parts.port or 443, ssl=ssl.create_default_context()
            )
    except ssl.SSLCertVerificationError as error:
        raise Rejected(
            f"{parts.hostname} shows a certificate that providers will not take: {error.verify_message}; renew or correct it"
        ) from error
    except (OSError, TimeoutError) as error:
        said = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise Unseen(f"{parts.hostname} can not be reached from here: {said}; try where the provider is") from error
    shown: dict[str, Any] = writer.get_extra_info("peercert")
    writer.close()
    return Certificate(
        host=parts.hostname,
        expires=ssl.cert_time_to_seconds(shown["notAfter"]),
        issuer=_issuer(shown.get("issuer", ())),
    )


def _issuer(names: Iterable[Iterable[tuple[str, str]]]) -> str:
    flat = {key: value for part in names for key, value in part}
    return flat.get("organizationName") or flat.get("commonName") or "?"
