"""The operator's one way to the API server: discover, list, apply, delete, report. Nothing else here speaks to it but kopf.

Objects are plain dicts, as the API has them. Errors are Forebay's own: ApiUnavailable (try later) and Refused (trying again
changes nothing), among them Forbidden, Conflict, Missing and NoSuchApi. No error holds the content of a Secret.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException

from forebay.errors import Rejected, Unavailable
from forebay.source import GROUP, VERSION

Object = dict[str, Any]

FIELD_MANAGER = "forebay"
PAGE = 500  # objects a LIST asks for at once
_TIMEOUT_S = 30.0
_METADATA_ONLY = "application/json;as=PartialObjectMetadata{list};g=meta.k8s.io;v=v1"
_WATCH_S = 290  # the API server ends a watch after so long; a new one is opened


class Kind(NamedTuple):
    """One kind of object, as manifests name it."""

    api_version: str
    kind: str

    @property
    def root(self) -> str:
        """The path below which the API server has the kind's group and version."""
        return f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"


SOURCE = Kind(f"{GROUP}/{VERSION}", "WebhookSource")
SECRET = Kind("v1", "Secret")


class ApiUnavailable(Unavailable):
    """The API server can not be reached, is too slow or fails itself."""


class Refused(Rejected):
    """The API server understood and said no."""


class Forbidden(Refused):
    """The operator may not: rules are missing, or have gone with their namespace."""


class Conflict(Refused):
    """Somebody else changed, made or owns what was to be changed."""


class Missing(Refused):
    """The API server has no such object."""


class NoSuchApi(Missing):
    """The API server has no such kind of objects, or no more."""


class Gone(Refused):
    """The version from which to watch on is too old by now."""


@asynccontextmanager
async def connected() -> AsyncIterator["Cluster"]:
    """A session with the cluster this pod is in, or else the one of the kubeconfig. Raises config's ConfigException."""
    # The environment is asked for a proxy once: aiohttp would ask it, and look for a ~/.netrc, at every request.
    settings = Configuration(client_session_kwargs={"trust_env": False})
    try:
        config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
    except config.ConfigException:
        await config.load_kube_config(client_configuration=settings)  # type: ignore[no-untyped-call]
    settings.proxy = settings.proxy or _proxy(settings.host)
    async with ApiClient(settings) as api:
        yield Cluster(api)


def _proxy(url: str) -> str | None:
    """Through which proxy the environment wants the URL to be reached."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


class Cluster:
    """A session with the API server. Every call raises ApiUnavailable, Refused, Conflict or Missing."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._plurals: dict[Kind, str] = {Kind("coordination.k8s.io/v1", "Lease"): "leases"}  # wanted before any look
        self.calls: Counter[tuple[str, int]] = Counter()  # by verb and status, for the metrics

    async def served(self, kinds: Iterable[Kind]) -> frozenset[Kind]:
        """Those of the kinds that the API server has now."""
        wanted: dict[str, set[str]] = {}
        for kind in kinds:
            wanted.setdefault(kind.api_version, set()).add(kind.kind)
        found = await asyncio.gather(*(self._discover(version, names) for version, names in wanted.items()))
        return frozenset().union(*found)

    async def _discover(self, api_version: str, names: set[str]) -> frozenset[Kind]:
        try:
            resources = (await self._call("GET", Kind(api_version, "").root))["resources"]
        except Missing:
            return frozenset()
        plurals = {Kind(api_version, r["kind"]): r["name"] for r in resources if "/" not in r["name"]}
        found = {kind: plural for kind, plural in plurals.items() if kind.kind in names}
        self._plurals |= found
        return frozenset(found)

    async def get(self, kind: Kind, namespace: str, name: str, *, metadata_only: bool = False) -> Object:
        """One object; of its metadata alone, if so wished. Raises Missing."""
        headers = {"Accept": _METADATA_ONLY.format(list="")} if metadata_only else {}
        return await self._call("GET", self._path(kind, namespace, name), headers=headers)

    async def apply(self, item: Object, *, force: bool = True) -> Object:
        """Make the object's fields ours and as given (server-side apply); what the API server made of it."""
        return await self._apply(self._path_of(item), item, force=force)

    async def create_applied(self, item: Object) -> Object:
        """The same for an object that is not there. Raises Conflict, and changes nothing, if there is one of that name."""
        # No object has the first version of all; one that is made is not asked for its version.
        metadata = {**item["metadata"], "resourceVersion": "1"}
        return await self._apply(self._path_of(item), {**item, "metadata": metadata}, force=True)

    async def apply_status(self, item: Object) -> Object:
        """The same for an object's status."""
        return await self._apply(f"{self._path_of(item)}/status", item, force=True)

    async def create(self, item: Object) -> Object:
        """Make the object. Raises Conflict if there is one of that name."""
        metadata = item["metadata"]
        path = self._path(Kind(item["apiVersion"], item["kind"]), metadata["namespace"])
        return await self._call("POST", path, {"fieldManager": FIELD_MANAGER}, body=item)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """Change these fields alone (RFC 7396). With a resourceVersion among them: raises Conflict if it is another one by now."""
        headers = {"Content-Type": "application/merge-patch+json"}
        path = self._path(kind, namespace, name)
        return await self._call("PATCH", path, {"fieldManager": FIELD_MANAGER}, body=patch, headers=headers)

    async def replace(self, item: Object) -> Object:
        """Put the object in the place of the one with the same resourceVersion. Raises Conflict if it has changed."""
        return await self._call("PUT", self._path_of(item), {"fieldManager": FIELD_MANAGER}, body=item)

    async def delete(
        self, kind: Kind, namespace: str, name: str, uid: str, *, wait_for_dependents: bool = False
    ) -> None:
        """Delete this very object; that it is gone already is success.

        With `wait_for_dependents` it stays visible until all that it owns has ended (a Deployment: until its last pod has).
        """
        policy = "Foreground" if wait_for_dependents else "Background"
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}, "propagationPolicy": policy}
        try:
            await self._call("DELETE", self._path(kind, namespace, name), body=body)
        except Missing:
            return
        except Conflict:
            if await self._is_there(kind, namespace, name, uid):
                raise

    async def _is_there(self, kind: Kind, namespace: str, name: str, uid: str) -> bool:
        """Whether this very object is; by now there may be none or another one of its name."""
        try:
            found = await self.get(kind, namespace, name, metadata_only=True)
        except Missing:
            return False
        return bool(found["metadata"]["uid"] == uid)

    async def list(
        self, kind: Kind, namespace: str | None = None, selector: str = "", *, metadata_only: bool = False
    ) -> AsyncIterator[Object]:
        """All objects of the kind, page by page. The last thing given is `{"resourceVersion": …}` to watch on from."""
        headers = {"Accept": _METADATA_ONLY.format(list="List")} if metadata_only else {}
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._call("GET", self._path(kind, namespace), query, headers=headers)
            for item in page["items"] or ():  # of metadata alone an empty list is null
                yield {"apiVersion": kind.api_version, "kind": kind.kind, **item}
            if not page["metadata"].get("continue"):
                yield {"resourceVersion": page["metadata"]["resourceVersion"]}
                return
            query["continue"] = page["metadata"]["continue"]

    async def watch_metadata(self, kind: Kind, namespace: str | None, since: str) -> AsyncIterator[tuple[str, Object]]:
        """What happens to the kind's objects after a version, for some minutes: event type and metadata alone.

        Raises Gone if the version is too old.
        """
        query = {
            "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": since, "timeoutSeconds": str(_WATCH_S),
        }  # fmt: skip
        headers = {"Accept": _METADATA_ONLY.format(list="")}
        answer = await self._request(
            "GET", self._path(kind, namespace), query, headers=headers, timeout_s=_WATCH_S + 30
        )
        try:
            async for line in _lines(answer.content):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise Gone(event["object"].get("message", "the watch ended"))
                yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ApiUnavailable(f"the watch of {kind.kind}s ended: {error!r}") from error
        finally:
            answer.close()

    async def _apply(self, path: str, item: Object, *, force: bool) -> Object:
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        return await self._call(
            "PATCH", path, query, body=item, headers={"Content-Type": "application/apply-patch+yaml"}
        )

    def _path_of(self, item: Object) -> str:
        metadata = item["metadata"]
        return self._path(Kind(item["apiVersion"], item["kind"]), metadata["namespace"], metadata["name"])

    def _path(self, kind: Kind, namespace: str | None, name: str | None = None) -> str:
        if kind not in self._plurals:
            raise NoSuchApi(f"the API server has no {kind.kind} in {kind.api_version}")
        scope = f"/namespaces/{namespace}" if namespace else ""
        return f"{kind.root}{scope}/{self._plurals[kind]}" + (f"/{name}" if name else "")

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        answer = await self._request(method, path, query, body=body, headers=headers)
        try:
            found: Object = json.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ApiUnavailable(f"the API server's answer to {method} {path} broke off: {error!r}") from error
        return found

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Object | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> aiohttp.ClientResponse:
        request = await self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": "application/json", **(headers or {})},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = await self._api.call_api(*request, _request_timeout=aiohttp.ClientTimeout(total=timeout_s))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.calls[method, 0] += 1
            raise ApiUnavailable(f"the API server can not be reached: {error!r}") from error
        except ApiException as error:
            self.calls[method, error.status or 0] += 1
            raise _refusal(method, path, error.status or 0, str(error.body or error.reason)) from error
        self.calls[method, answer.status] += 1
        if answer.status >= 400:
            raise _refusal(method, path, answer.status, (await answer.response.read()).decode(errors="replace"))
        return answer.response  # type: ignore[no-any-return]


_MEANINGS = {404: Missing, 409: Conflict, 410: Gone}
_NO_ROUTE = "404 page not found"  # of an object or namespace that is not there it would give a Status
_UNKNOWN_FIELD = "field not declared in schema"


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: an object's metadata may hold a quarter of a MiB of annotations."""
    begun: list[bytes] = []
    async for chunk in content.iter_any():
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join([*begun, line])
            begun.clear()
        begun.append(rest)


def _refusal(method: str, path: str, status: int, text: str) -> Refused | ApiUnavailable:
    said = _message(text)
    if status == 404 and said == _NO_ROUTE:
        return NoSuchApi(f"the API server has no {path}")
    if status in _MEANINGS:
        return _MEANINGS[status](said)
    if _UNKNOWN_FIELD in said:  # which a server-side apply is told by 500
        return Refused(f"{said}. What is installed there is older than Forebay needs: upgrade it (docs/install.md)")
    if status in (429, 408) or status >= 500:
        return ApiUnavailable(f"the API server answered {status} to {method} {path}: {said}")
    if status == 403:
        return Forbidden(f"the operator may not {method} {path}: {said}")
    return Refused(said)


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split())[:300]
