"""The command line's one way to the API server, with the rights of the person who runs it. Objects are plain dicts.

Every call raises Unavailable (the API server can not be reached), Forbidden, NotFound, Conflict or another Rejected; each
says what to do. No error holds the content of a Secret.
"""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException

from forebay.errors import Rejected, SpecError, Unavailable
from forebay.source import API_VERSION
from forebay_cli.cluster.roles import remedy
from forebay_cli.where import Cluster

Object = dict[str, Any]

MANAGER = "kubectl-forebay"
MERGE = "application/merge-patch+json"
_TIMEOUT_S = 15.0


class Kind(NamedTuple):
    """One kind of object, as the API server's paths name it."""

    api_version: str
    plural: str

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]


SOURCES = Kind(API_VERSION, "webhooksources")
SECRETS = Kind("v1", "secrets")
PODS = Kind("v1", "pods")
SERVICES = Kind("v1", "services")
DEPLOYMENTS = Kind("apps/v1", "deployments")
LEASES = Kind("coordination.k8s.io/v1", "leases")
HPAS = Kind("autoscaling/v2", "horizontalpodautoscalers")
SCALED_OBJECTS = Kind("keda.sh/v1alpha1", "scaledobjects")
CRDS = Kind("apiextensions.k8s.io/v1", "customresourcedefinitions")
REVIEWS = Kind("authorization.k8s.io/v1", "selfsubjectaccessreviews")


class Forbidden(Rejected):
    """The person lacks a right."""


class NotFound(Rejected):
    """There is no such object, or no such kind of object."""


class Conflict(Rejected):
    """Somebody else changed the object meanwhile."""


@asynccontextmanager
async def connected(cluster: Cluster) -> AsyncIterator["Api"]:
    """A session with the cluster. Raises SpecError if no kubeconfig says where it is."""
    settings = Configuration()
    namespace = await _configure(settings, cluster)
    async with ApiClient(settings) as client:
        yield Api(client, cluster.namespace or namespace)


class Api:
    """A session with an API server."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._client = client
        self.namespace = namespace  # that a person means who names none
        self.host = str(client.configuration.host)

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """One object of a namespace, or of the cluster where that is None."""
        return await self.read(path(kind, namespace, name))

    async def list(self, kind: Kind, namespace: str | None = None, *, selector: str = "") -> list[Object]:
        """All objects of the kind in a namespace, or in all of them where that is None."""
        query = {"limit": "500", **({"labelSelector": selector} if selector else {})}
        found: list[Object] = []
        while True:
            page = await self.read(path(kind, namespace), query)
            found += page["items"]
            query["continue"] = page["metadata"].get("continue") or ""
            if not query["continue"]:
                return found

    async def read(self, where: str, query: Mapping[str, str] | None = None) -> Object:
        """The JSON at a path."""
        return _parsed(await self._text("GET", where, query))

    async def create(self, kind: Kind, body: Object) -> Object:
        return _parsed(await self._text("POST", path(kind, None), body=body))

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """Change the fields of an object that the patch names. Raises Conflict if it names another resourceVersion."""
        query = {"fieldManager": MANAGER}
        return _parsed(await self._text("PATCH", path(kind, namespace, name), query, body=patch, content=MERGE))

    async def page(self, namespace: str, pod: str, port: int, page: str) -> str:
        """A page that a pod serves, through the API server's proxy."""
        return await self._text("GET", f"{path(PODS, namespace, f'{pod}:{port}')}/proxy{page}", timeout_s=5.0)

    async def log(self, namespace: str, pod: str, query: Mapping[str, str]) -> AsyncIterator[str]:
        """The lines of a pod's log; endless if the query says follow."""
        answer = await self._request("GET", f"{path(PODS, namespace, pod)}/log", query, timeout_s=None)
        try:
            async for line in answer.content:
                yield line.decode(errors="replace").rstrip("\n")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable(f"the log of {pod} broke off: {error!r}") from error
        finally:
            answer.close()

    async def _text(
        self,
        method: str,
        where: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Object | None = None,
        content: str = "application/json",
        timeout_s: float = _TIMEOUT_S,
    ) -> str:
        answer = await self._request(method, where, query, body=body, content=content, timeout_s=timeout_s)
        try:
            return (await answer.read()).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"the API server's answer broke off: {error!r}; run it again") from error

    async def _request(
        self,
        method: str,
        where: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Object | None = None,
        content: str = "application/json",
        timeout_s: float | None = _TIMEOUT_S,
    ) -> aiohttp.ClientResponse:
        request = await self._client.param_serialize(
            method,
            where,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json, */*", "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=5.0)
        try:
            answer = await self._client.call_api(*request, _request_timeout=timeout)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            said = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise Unavailable(
                f"the API server at {self.host} can not be reached: {said}; check the cluster, or --context"
            ) from error
        except ApiException as error:
            raise _refusal(method, where, error.status or 0, str(error.body or error.reason)) from error
        if answer.status >= 400:
            raise _refusal(method, where, answer.status, (await answer.response.read()).decode(errors="replace"))
        return answer.response  # type: ignore[no-any-return]


def path(kind: Kind, namespace: str | None, name: str | None = None) -> str:
    """Where the API server has the object, or all of the kind."""
    root = f"/apis/{kind.api_version}" if "/" in kind.api_version else f"/api/{kind.api_version}"
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{scope}/{kind.plural}" + (f"/{name}" if name else "")


def _parsed(text: str) -> Object:
    try:
        found: Object = json.loads(text)
    except ValueError as error:
        raise Unavailable("the API server's answer is no JSON; is the kubeconfig's server one?") from error
    return found


def _refusal(method: str, where: str, status: int, text: str) -> Exception:
    said = _message(text)
    match status:
        case 401:
            return Rejected(f"the API server does not know you ({said}); log in to the cluster again")
        case 403:
            return Forbidden(remedy(method, where, said))
        case 404:
            return NotFound(said)
        case 409:
            return Conflict(said)
        case 400 | 422:
            return Rejected(said)
        case _:
            return Unavailable(f"the API server answered {status}: {said}; try again")


def _message(text: str) -> str:
    """What the API server said, on one line."""
    try:
        said = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        said = text
    return " ".join(said.split())[:400] or "no reason given"


# ------------------------------------------------------------------------------------------------------ kubeconfig


async def _configure(settings: Configuration, cluster: Cluster) -> str:
    """Fill in server and login; the namespace that the kubeconfig says."""
    file = cluster.kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not _exists(file):
        return _from_within_a_pod(settings, cluster, file)
    try:
        loader = await config.load_kube_config(  # type: ignore[no-untyped-call]
            file, context=cluster.context, client_configuration=settings, persist_config=False
        )
    except config.ConfigException as error:
        raise SpecError(_unusable(file, cluster.context, str(error))) from error
    except Exception as error:  # the loader trips over what is no kubeconfig in many ways
        raise SpecError(f"kubeconfig {file} can not be used: {error}; check it with kubectl config view") from error
    return loader.current_context["context"].get("namespace") or "default"


def _exists(files: str) -> bool:
    return any(Path(one).expanduser().is_file() for one in files.split(os.pathsep) if one)


def _unusable(file: str, context: str | None, said: str) -> str:
    if context and context in said:
        return f"kubeconfig {file} has no context {context}; kubectl config get-contexts lists those there are"
    if "current-context" in said:
        return (
            f"kubeconfig {file} has no current context; choose one: kubectl config use-context NAME, or --context NAME"
        )
    return f"kubeconfig {file} can not be used: {' '.join(said.split())}; check it with kubectl config view"


def _from_within_a_pod(settings: Configuration, cluster: Cluster, file: str) -> str:
    if cluster.context or cluster.kubeconfig:
        raise SpecError(f"there is no kubeconfig {file}; check --kubeconfig or KUBECONFIG")
    try:
        config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise SpecError(
            f"there is no kubeconfig {file}; name one with --kubeconfig or KUBECONFIG (forebay without kubectl looks at this machine)"
        ) from error
    own = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    return own.read_text("utf-8").strip() if own.is_file() else "default"
