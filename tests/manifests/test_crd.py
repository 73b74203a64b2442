"""The CRD and the reference are what the model says, and what an API server takes as a structural schema."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from forebay import crd, reference
from forebay.manifest import read_source
from forebay.schema import plain_schema
from forebay.source import WebhookSource
from tests.support.sources import manifest

TREE = Path(__file__).parents[2]


def test_the_crd_in_the_tree_is_that_of_the_model() -> None:
    assert (TREE / crd.FILE).read_text("utf-8") == crd.text(), "run `make crds`"


def test_the_reference_in_the_docs_is_that_of_the_model() -> None:
    assert (TREE / reference.FILE).read_text("utf-8") == reference.text(), "run `make reference`"


def schemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in the tree with its path."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from schemas(field, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if word in schema:
            yield from schemas(schema[word], f"{path}.{word}")


SCHEMA = yaml.safe_load(crd.text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
KNOWN = {
    "additionalProperties", "anyOf", "default", "description", "enum", "format", "items", "maxItems", "maxLength",
    "maxProperties", "maximum", "minItems", "minLength", "minimum", "pattern", "properties", "required", "type",
    "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys", "x-kubernetes-list-type",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
}  # fmt: skip


def test_only_words_that_the_api_server_knows_are_used() -> None:
    for path, schema in schemas(SCHEMA):
        assert set(schema) <= KNOWN, path


def test_everything_has_a_type() -> None:
    for path, schema in schemas(SCHEMA):
        assert ("type" in schema) != ("x-kubernetes-int-or-string" in schema), path
        assert ("anyOf" in schema) == ("x-kubernetes-int-or-string" in schema), path
        if schema.get("type") == "object":
            kinds = {"properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields"} & set(schema)
            assert len(kinds) == 1, path


def test_everything_that_a_rule_walks_over_is_bounded() -> None:
    for path, schema in schemas(SCHEMA["properties"]["spec"]):
        match schema.get("type"):
            case "array":
                assert "maxItems" in schema, path
            case "string":
                assert "maxLength" in schema or "enum" in schema, path
            case "object" if "additionalProperties" in schema:
                assert "maxProperties" in schema, path


def test_every_field_is_described() -> None:
    for path, schema in schemas(plain_schema(WebhookSource)):
        if not path.endswith(("items", "additionalProperties")):
            description = schema.get("description", "")
            assert description.rstrip("…").endswith((".", "only", "so many ", "So many ")) or "…" in description, path
            assert len(description) <= 200, path


def test_the_schema_s_defaults_are_the_model_s() -> None:
    """What an API server fills in changes nothing."""
    for given in (manifest(), manifest(spec__queues=[{"name": "a", "match": {"eventTypes": ["push"]}}])):
        filled = {**given, "spec": _defaulted(given["spec"], SCHEMA["properties"]["spec"])}
        assert filled != given
        assert read_source(filled) == read_source(given)


def _defaulted(value: Any, schema: dict[str, Any]) -> Any:
    """As Kubernetes fills in defaults."""
    if isinstance(value, list):
        return [_defaulted(item, schema["items"]) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    fields = schema["properties"]
    missing = {name: field["default"] for name, field in fields.items() if name not in value and "default" in field}
    return {name: _defaulted(item, fields[name]) for name, item in {**value, **missing}.items()}


def test_conditions_are_a_map_by_type() -> None:
    conditions = SCHEMA["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert conditions["items"]["required"] == ["type", "status", "reason", "message", "lastTransitionTime"]
