"""The CustomResourceDefinition of WebhookSource, made from the typed model: `python -m forebay.crd > FILE`."""

import sys
from typing import Any

import yaml
from typing_extensions import override

from forebay.schema import Schema, plain_schema
from forebay.source import GROUP, KIND, VERSION, WebhookSource
from forebay.source.status import Status
from forebay.source.values import LIMITS_KEY

PLURAL = "webhooksources"
FILE = f"crds/{GROUP}_{PLURAL}.yaml"

_NOTE = "# Made from core/src/forebay/source by `make crds`. Do not edit.\n"

_READY = '.status.conditions[?(@.type=="Ready")]'
_COLUMNS: tuple[tuple[str, str, str, int], ...] = (
    ("URL", "string", ".status.url", 0),
    ("Ready", "string", f"{_READY}.status", 0),
    ("Reason", "string", f"{_READY}.reason", 0),
    ("Workers", "string", ".status.workers", 0),
    ("Queued", "integer", ".status.queued", 0),
    ("Dead", "integer", ".status.dead", 0),
    ("Provider", "string", ".spec.ingest.verification.provider", 1),
    ("Suspend", "string", ".spec.suspend", 1),
    ("Broker", "string", ".status.broker", 1),
    ("Route", "string", ".status.route", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["whs"],
                "categories": ["forebay"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(*column) for column in _COLUMNS],
                    "selectableFields": [{"jsonPath": ".spec.ingest.verification.provider"}],
                    "schema": {"openAPIV3Schema": structural_schema()},
                }
            ],
        },
    }


def structural_schema() -> Schema:
    """The schema of the whole object, as the API server takes it."""
    schema = _structural(plain_schema(WebhookSource))
    properties = schema["properties"]
    # The API server knows its own metadata and apiVersion; of these it takes a narrower name and nothing else.
    properties["metadata"] = {"type": "object", "properties": {"name": properties["metadata"]["properties"]["name"]}}
    properties["apiVersion"] = {"type": "string", "description": properties["apiVersion"]["description"]}
    properties["kind"] = {"type": "string", "description": properties["kind"]["description"]}
    properties["status"] = _structural(plain_schema(Status))
    schema["required"] = ["spec"]
    return schema


def _structural(schema: Schema) -> Schema:
    """Without Forebay's own mark."""
    result = {key: value for key, value in schema.items() if key != LIMITS_KEY}
    if "properties" in result:
        result["properties"] = {name: _structural(field) for name, field in result["properties"].items()}
    if "items" in result:
        result["items"] = _structural(result["items"])
        result.setdefault("x-kubernetes-list-type", "atomic")
    if isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = _structural(result["additionalProperties"])
    return {key: result[key] for key in sorted(result, key=_rank)}


# As people read a schema: what it is, what it takes, what is in it.
_ORDER = ("description", "type", "format", "default", "enum", "x-kubernetes-validations", "required", "properties")


def _rank(key: str) -> tuple[int, str]:
    return (_ORDER.index(key) if key in _ORDER else len(_ORDER) - 2, key)


def _column(name: str, kind: str, path: str, priority: int) -> dict[str, Any]:
    column = {"name": name, "type": kind, "jsonPath": path}
    return {**column, "priority": priority} if priority else column


class _WithoutAliases(yaml.SafeDumper):
    @override
    def ignore_aliases(self, data: Any) -> bool:
        return True


def text() -> str:
    """The file."""
    return _NOTE + yaml.dump(crd(), Dumper=_WithoutAliases, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    sys.stdout.write(text())
