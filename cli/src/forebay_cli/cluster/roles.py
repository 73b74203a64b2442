"""Which right a refused request lacks, and which ClusterRole gives it. Pure.

`view`, `edit` and `admin` are Kubernetes' own roles for people; the chart adds Forebay's resource to them (charts/forebay,
rbac.aggregate).
"""

import re
from typing import NamedTuple

_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?"
)
_USER = re.compile(r'User "([^"]+)"')

# Of a namespace's resources the right to which Kubernetes' role `view` does not hold.
_FOR_EDITORS = frozenset({"secrets", "pods/proxy", "pods/portforward"})
_OF_OTHERS = frozenset({"keda.sh"})  # whose own charts say who may see them


class Right(NamedTuple):
    """A verb on a resource, as RBAC has it."""

    verb: str
    group: str
    resource: str  # with its subresource: pods/log
    namespace: str | None = None  # None: the cluster's, or all of them
    name: str = ""

    @property
    def shown(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        name = f" {self.name}" if self.name else ""
        place = f" in namespace {self.namespace}" if self.namespace else " in the whole cluster"
        return f"{self.verb} {resource}{name}{place}"

    @property
    def role(self) -> str | None:
        """The ClusterRole for people that gives it; None: it depends on what the administrator of the cluster lets people do."""
        if self.resource == "customresourcedefinitions" or self.group in _OF_OTHERS:
            return None
        return "edit" if self.resource in _FOR_EDITORS or self.verb not in ("get", "list", "watch") else "view"


def right(method: str, path: str) -> Right:
    """What a request needs."""
    match = _PATH.match(path)
    if match is None:
        return Right(_VERBS[method], "", path)
    sub = f"/{match['sub']}" if match["sub"] else ""
    verb = "list" if method == "GET" and not match["name"] else _VERBS[method]
    return Right(verb, match["group"] or "", match["plural"] + sub, match["namespace"], match["name"] or "")


def remedy(method: str, path: str, said: str) -> str:
    """One line for a person who was refused."""
    needed = right(method, path)
    return f"you may not {needed.shown}; {how_to_get(needed, _user(said))}"


def how_to_get(needed: Right, user: str | None = None) -> str:
    """How somebody comes by a right."""
    if needed.role is None:
        return "ask an administrator of the cluster"
    whom = f"--user={user}" if user else "--user=YOU"
    if needed.namespace is None:
        return f"ClusterRole {needed.role} allows it: kubectl create clusterrolebinding NAME --clusterrole={needed.role} {whom}"
    return (
        f"ClusterRole {needed.role} allows it: kubectl create rolebinding NAME -n {needed.namespace}"
        f" --clusterrole={needed.role} {whom}"
    )


def _user(said: str) -> str | None:
    match = _USER.search(said)
    return match[1] if match else None
