"""The rights that the chart gives to the operator, and those that it has used by the API server's audit log."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from tools.control_plane import ControlPlane

Object = dict[str, Any]

_KINDS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


class Right(NamedTuple):
    """One verb on one resource: allowed, or used."""

    verb: str
    resource: str  # with its subresource
    group: str
    namespace: str  # of a right "": in all namespaces
    name: str  # of a right "": any

    def covers(self, used: "Right") -> bool:
        where = self.namespace in ("", used.namespace) and self.name in ("", used.name)
        return where and self[:3] == used[:3]

    def __str__(self) -> str:
        group, name, namespace = self.group and f".{self.group}", self.name and f" {self.name}", self.namespace
        return f"{self.verb} {self.resource}{group}{name}{namespace and f' in {namespace}'}"


def granted(plane: ControlPlane, rendered: Iterable[Object], kubeconfig: Path) -> Path:
    """Give the operator the chart's account and rights, and nothing else; its kubeconfig."""
    rules = [one for one in rendered if one["kind"] in _KINDS]
    plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(rules))
    account = account_in(rules)
    token = plane.kubectl("create", "token", account["name"], "-n", account["namespace"]).strip()
    return plane.kubeconfig_of(token, kubeconfig)


def account_in(rendered: Iterable[Object]) -> Object:
    """The metadata of the operator's own account."""
    return next(dict(one["metadata"]) for one in rendered if one["kind"] == "ServiceAccount")


def rights_in(rendered: list[Object]) -> set[Right]:
    """Every right of the roles that are bound to the operator's account."""
    account = account_in(rendered)["name"]
    bound = {
        (one["roleRef"]["kind"], one["metadata"].get("namespace", ""), one["roleRef"]["name"])
        for one in rendered
        if one["kind"].endswith("RoleBinding") and account in (subject["name"] for subject in one["subjects"])
    }
    roles = [one for one in rendered if one["kind"] in ("Role", "ClusterRole")]
    return {
        right
        for role in roles
        if (role["kind"], namespace := role["metadata"].get("namespace", ""), role["metadata"]["name"]) in bound
        for rule in role["rules"]
        for right in _rights(rule, namespace)
    }


def _rights(rule: Object, namespace: str) -> Iterator[Right]:
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            for name in rule.get("resourceNames", [""]):
                yield from (Right(verb, resource, group, namespace, name) for verb in rule["verbs"])


def used_by(account: Object, audit_log: Path) -> tuple[set[Right], set[Right]]:
    """What the account has asked of the API server so far: what it was allowed, and what it was refused."""
    user = f"system:serviceaccount:{account['namespace']}:{account['name']}"
    allowed = set[Right]()
    refused = set[Right]()
    for line in audit_log.read_text().splitlines():
        entry = json.loads(line)
        if entry["user"]["username"] == user and "objectRef" in entry:
            decision = entry["annotations"]["authorization.k8s.io/decision"]
            (allowed if decision == "allow" else refused).update(_asked(entry))
    return allowed, refused


def _asked(entry: Object) -> Iterator[Right]:
    about = entry["objectRef"]
    resource = "/".join(part for part in (about["resource"], about.get("subresource")) if part)
    asked = Right(entry["verb"], resource, about.get("apiGroup", ""), about.get("namespace", ""), about.get("name", ""))
    yield asked
    # Of a patch that makes an object the API server asks for the right to create, and tells so by its answer alone.
    if asked.verb == "patch" and entry.get("responseStatus", {}).get("code") == 201:
        yield asked._replace(verb="create")
