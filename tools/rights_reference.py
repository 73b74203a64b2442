#!/usr/bin/env python3
"""Writes docs/rbac.md from the chart's rules and the comments above them; `make reference` runs it, a test compares.

python tools/rights_reference.py
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from forebay_cli.cluster.checks import PURPOSES

TREE = Path(__file__).resolve().parent.parent
RULES = TREE / "charts" / "forebay" / "templates" / "_rules.tpl"
FILE = TREE / "docs" / "rbac.md"

_DEFINED = re.compile(r'^\{\{- define "forebay\.(\w+)" -\}\}\n(.*?)^\{\{- end \}\}', re.DOTALL | re.MULTILINE)
_EXPLAINED = re.compile(r"((?:^#.*\n)+)((?:^[- ] .*\n)+)", re.MULTILINE)
_NAME = '{{ include "forebay.name" . }}'

HEAD = """\
# Rights
What may the operator of the release `forebay` do, here in the namespace `payments`?

```sh
kubectl auth can-i --list --namespace payments --as=system:serviceaccount:forebay-system:forebay
```

The tests run it under exactly these rights, on an API server that refuses it everything else, and fail on a right that it has not used.
This page is generated from the chart (`make reference`).

## The operator, where it looks after sources
By a ClusterRole, or, with `watchNamespaces`, by a Role in each of these namespaces; the rules are the same.

"""

LEASE = """
## The operator, in its own namespace
"""

FOOT = """
With `watchNamespaces` and a `defaultBroker` in another namespace there is one more Role, in that namespace: to read that one Secret.

## What to know before you grant it
- **It reads Secrets.** A source names the Secret with its broker's address, so the operator may read any Secret where it looks after
  sources. It reads those that a source names, in full only the brokers' and those of `verification.capture`; other signing secrets are
  mounted by the source's pods. Who can take over the operator's pod can read them all: `watchNamespaces` bounds that to some
  namespaces.
- **It writes Secrets:** each source's broker logins, and with `verification.capture` what the provider sends: into a Secret that it makes
  itself, or that its owner has annotated with `forebay.dev/capture: SOURCE`, under a key that holds nothing.
- **It makes Deployments**, so it can run any image as any ServiceAccount of those namespaces. So can everybody who may create a source
  there with `worker.handler` or `podTemplate`: give the right to create sources to whom you would give the right to create
  Deployments.
- It may not read or change pods, nodes, roles, bindings or custom resource definitions, and it deletes no Secret.
- The pods that it makes have no token of the API server, unless a source gives them a ServiceAccount of its own.
- **In a namespace of `watchNamespaces` its Role goes with the namespace.** Kubernetes may delete the Role before the sources. An
  operator that runs cleans up on the broker all the same, and looks after its other namespaces, but nobody removes the sources'
  finalizer. Delete the sources first (`kubectl delete whs --all`), or let each go afterwards with `kubectl forebay force-finalize NAME`.

Set `rbac.create: false` to grant the rights yourself, by roles with the rules above; `helm template` prints them.

## People
The chart adds sources to Kubernetes' own roles (`rbac.aggregate`), so whoever has one of these in a namespace needs nothing else:

| role | may |
|---|---|
| `view` | look at sources |
| `edit`, `admin` | also create, change and delete them |

The commands of `kubectl forebay` need these rights. `kubectl forebay doctor` says which of them you lack:

| right | for |
|---|---|
"""


class Rule(NamedTuple):
    """One rule of a role, and why it is there."""

    rule: dict[str, Any]
    why: str


def rules(part: str) -> list[Rule]:
    """The rules of a part of the chart: "rules" or "leaseRules"."""
    text = dict(_DEFINED.findall(RULES.read_text("utf-8")))[part].replace(_NAME, "forebay")
    return [
        Rule(rule, " ".join(line.lstrip("# ") for line in comment.splitlines()))
        for comment, explained in _EXPLAINED.findall(text)
        for rule in yaml.safe_load(explained)
    ]


def page() -> str:
    """The page for the rules there are."""
    return "".join([HEAD, *_table("rules"), LEASE, *_table("leaseRules"), FOOT, *_people()])


def _table(part: str) -> Iterator[str]:
    yield "| API group | resources | verbs | why |\n|---|---|---|---|\n"
    before = ""
    for rule, why in rules(part):
        groups = ", ".join(f"`{group}`" if group else "core" for group in rule["apiGroups"])
        names = ", ".join(f"`{name}`" for name in rule.get("resourceNames", ()))
        resources = ", ".join(f"`{resource}`" for resource in rule["resources"]) + (f" {names}" if names else "")
        yield f"| {groups} | {resources} | {', '.join(rule['verbs'])} | {'the same' if why == before else why} |\n"
        before = why


def _people() -> Iterator[str]:
    for verb, group, resource, purpose in PURPOSES:
        yield f"| {verb} `{resource}`{f' of `{group}`' if group else ''} | {purpose} |\n"


if __name__ == "__main__":
    FILE.write_text(page(), "utf-8")
