"""The reference of every field a WebhookSource may have, made from the typed model: `python -m forebay.reference > FILE`."""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from forebay.schema import Schema, plain_schema
from forebay.source import API_VERSION, WebhookSource
from forebay.source.values import DURATION, FACTOR, LIMITS_KEY, QUANTITY

FILE = "docs/reference/webhooksource.md"

_INTRODUCTION = f"""\
<!-- Made from core/src/forebay/source by `make reference`. Do not edit. -->
# WebhookSource

Every field of `{API_VERSION}`. `kubectl explain whs.spec` says the same. Required fields are **bold**.

Durations are written as `500ms`, `30s`, `5m`, `1h30m` or `3d`, bytes as `512Ki`, `1Mi` or `1048576`.
"""


def text() -> str:
    """The page, in Markdown."""
    schema = plain_schema(WebhookSource)
    spec = schema["properties"]["spec"]
    metadata = {**schema["properties"]["metadata"]}
    metadata["properties"] = {name: metadata["properties"][name] for name in ("name", "namespace")}
    return "\n".join([_INTRODUCTION, *_section("metadata", metadata), *_section("spec", spec)])


def _section(path: str, schema: Schema) -> Iterator[str]:
    """A table of an object's fields, and then the sections of the objects in it."""
    required = schema.get("required", ())
    yield f"## {path}\n\n{schema.get('description', '')}\n"
    yield "| field | type | default | |\n|---|---|---|---|"
    for name, field in schema["properties"].items():
        yield _row(path, name, field, required=name in required)
    yield from _rules(schema)
    yield ""
    for name, field in schema["properties"].items():
        below = _object_in(field)
        if below:
            yield from _section(f"{path}.{name}{'[]' if field.get('type') == 'array' else ''}", below)


def _row(path: str, name: str, field: Schema, *, required: bool) -> str:
    shown = f"**`{name}`**" if required else f"`{name}`"
    if _object_in(field):
        shown = f"[{shown}](#{_anchor(path + '.' + name)})"
    default = "" if field.get("default") in (None, {}, "") else f"`{_plainly(field['default'])}`"
    return f"| {shown} | {_type(field)} | {default} | {_described(field)} |"


def _described(field: Schema) -> str:
    words = [_escaped(field.get("description", "")), _limits(field)]
    return " ".join(word for word in words if word)


def _type(field: Schema) -> str:
    if "enum" in field:
        return _escaped(" | ".join(f"`{value}`" for value in field["enum"]))
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if field.get("type") == "object":
        return "object" if "properties" in field else "map"
    return _WORDS.get(field.get("pattern", ""), "") or _WORDS.get(field.get("type", ""), "text")


_WORDS = {
    f"^{DURATION}$": "duration",
    f"^{QUANTITY}$": "bytes",
    f"^{FACTOR}$": "factor",
    "integer": "number",
    "boolean": "boolean",
}


def _limits(field: Schema) -> str:
    if LIMITS_KEY in field:
        return f"{_capitalized(field[LIMITS_KEY])}."
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        return f"{low} to {high}."
    entries = field.get("maxItems") if field.get("type") == "array" else None
    length = field.get("maxLength", 0) if _type(field) == "text" else 0
    if entries:
        return f"At most {entries}."
    return f"At most {length} characters." if length else ""


def _rules(schema: Schema) -> Iterator[str]:
    rules = [rule["message"] for rule in schema.get("x-kubernetes-validations", ())]
    if rules:
        yield f"\nRules: {_escaped('; '.join(rules))}."


def _object_in(field: Schema) -> Schema | None:
    """The object of known fields that a field is, or is a list of."""
    inner = field.get("items", field)
    return {**inner, "description": inner.get("description", "")} if "properties" in inner else None


def _plainly(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (list, dict, bool)) else str(value)


def _escaped(words: str) -> str:
    return words.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _anchor(path: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "", path.lower())


def _capitalized(words: str) -> str:
    return words[:1].upper() + words[1:]


if __name__ == "__main__":
    sys.stdout.write(text())
