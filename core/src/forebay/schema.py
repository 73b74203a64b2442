"""The source model as one plain schema tree: no references, no unions with null. Reads nothing, changes nothing.

Kubernetes wants it so (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema),
and a reference page is easily written from it. Forebay's own mark (LIMITS_KEY) is still in it.
"""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import override

from forebay.source.model import Part

Schema = dict[str, Any]

_DROPPED = ("title", "propertyNames", "$defs")


def plain_schema(model: type[Part]) -> Schema:
    """The schema of a part of the model."""
    schema = model.model_json_schema(schema_generator=_WithTexts)
    return _flat(schema, schema.get("$defs", {}))


class _WithTexts(GenerateJsonSchema):
    """Writes defaults as a person would: 30s, not 30.0."""

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        result = super().default_schema(schema)
        written = schema["schema"].get("serialization")
        if result.get("default") is not None and written and "function" in written:
            result["default"] = written["function"](schema["default"])
        return result


def _flat(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """The schema without $ref, null and const, as deep as it goes."""
    schema = _without_null(_resolved(schema, definitions), definitions)
    result = {key: value for key, value in schema.items() if key not in _DROPPED}
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if "items" in result:
        result["items"] = _flat(result["items"], definitions)
    if "properties" in result:
        result["properties"] = {name: _property(name, schema, definitions) for name in result["properties"]}
    return _closed(result, definitions)


def _closed(result: Schema, definitions: Mapping[str, Any]) -> Schema:
    """Objects of known fields need no word about others in Kubernetes; objects of any field need another word."""
    if "patternProperties" in result:  # Kubernetes knows no pattern of keys; the model itself checks them
        result["additionalProperties"] = next(iter(result.pop("patternProperties").values()))
    match result.get("additionalProperties"):
        case True:
            result["x-kubernetes-preserve-unknown-fields"] = True
            del result["additionalProperties"]
        case False:
            del result["additionalProperties"]
        case dict(values):
            result["additionalProperties"] = _flat(values, definitions)
        case _:
            pass
    return result


def _property(name: str, parent: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    given = parent["properties"][name]
    result = _flat(given, definitions)
    if result.get("default") in (None, []):
        result.pop("default", None)
    optional = name not in parent.get("required", ())
    if optional and "properties" in result and not _nullable(given):
        result["default"] = {}  # the fields in it bring their own
    return result


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """What stands beside a $ref (the field's own description) wins over what it points to (the type's)."""
    reference = schema.get("$ref")
    if reference is None:
        return dict(schema)
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**definitions[reference.rpartition("/")[2]], **beside}


def _without_null(schema: Schema, definitions: Mapping[str, Any]) -> Schema:
    if not _nullable(schema):
        return schema
    beside = {key: value for key, value in schema.items() if key != "anyOf"}
    alternative = next(option for option in schema["anyOf"] if option.get("type") != "null")
    return {**_resolved(alternative, definitions), **beside}


def _nullable(schema: Mapping[str, Any]) -> bool:
    return any(option.get("type") == "null" for option in schema.get("anyOf", ()))
