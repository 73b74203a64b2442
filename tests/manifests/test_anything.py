"""Whatever somebody writes, the answer is a source or a list of faults; never a traceback, and never a long wait."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from forebay import manifest
from forebay.manifest import Fault, ManifestError
from forebay.schema import plain_schema
from forebay.source import WebhookSource
from tests.support.sources import SMALLEST

WORDS = [
    "apiVersion: ",
    "kind: ",
    "WebhookSource",
    "forebay.dev/v1alpha1",
    "spec:\n",
    "  ",
    "\n",
    "- ",
    "{",
    "}",
    "[",
    "]",
]
WORDS += [
    "&a ",
    "*a",
    "!!",
    "? ",
    ": ",
    "|\n",
    ">\n",
    "'",
    '"',
    "%",
    "---\n",
    "\t",
    "\x00",
    "\ud800",
    "ÿ",
    "Secret",
    "data: ",
]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def faults_of(text: str | bytes) -> tuple[Fault, ...]:
    try:
        manifest.parse(text, "given.yaml")
    except ManifestError as error:
        return error.faults or (Fault(path="", message="no fault at all", remedy=""),)
    return ()


def check(text: str | bytes) -> None:
    for fault in faults_of(text):
        assert fault.line > 0
        assert fault.message != "no fault at all"
        assert "\n" not in str(fault)


@given(st.binary(max_size=500))
def test_any_bytes(text: bytes) -> None:
    check(text)


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=40).map("".join))
def test_any_yaml_like_text(text: str) -> None:
    check(text)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_good_manifest_with_one_thing_changed(data: st.DataObject) -> None:
    changed = _changed(SMALLEST, data, 0)
    check(json.dumps(changed, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass"))


def _changed(value: Any, data: st.DataObject, depth: int) -> Any:
    if isinstance(value, dict) and value and data.draw(st.integers(0, 5)):
        key = data.draw(st.sampled_from(sorted(value)))
        name = key if data.draw(st.integers(0, 5)) else data.draw(st.text(max_size=12))
        return {**value, name: _changed(value[key], data, depth + 1)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 5)):
        return [*value, _changed(value[0], data, depth + 1)]
    return data.draw(VALUES)


FIELDS = plain_schema(WebhookSource)


@given(st.data())
@settings(max_examples=200, deadline=None)  # some of them are long
def test_any_value_at_any_known_field(data: st.DataObject) -> None:
    check(json.dumps(_filled(FIELDS, data)).encode("utf-8", "surrogatepass"))


def _filled(schema: dict[str, Any], data: st.DataObject) -> Any:
    """Something that has the outline of a manifest, and mostly the right kinds of values."""
    if "enum" in schema and data.draw(st.integers(0, 9)):
        return data.draw(st.sampled_from(schema["enum"]))
    match schema.get("type"):
        case "object" if "properties" in schema:
            needed = set(schema.get("required", ()))
            fields = schema["properties"].items()
            return {
                name: _filled(field, data)
                for name, field in fields
                if name in needed or not data.draw(st.integers(0, 6))
            }
        case "array":
            return [_filled(schema["items"], data) for _ in range(data.draw(st.integers(0, 2)))]
        case "integer":
            return data.draw(st.integers(-1, 2000))
        case _:
            samples = [
                "10s",
                "1Mi",
                "http://a.svc",
                "a",
                "/a",
                "a:b",
                "500-599",
                "{body}",
                "None",
                3,
                "\ud83d\ude00",
                "",
            ]
            return data.draw(st.sampled_from(samples) | VALUES)


@given(VALUES)
def test_any_object_of_an_api_server(value: Any) -> None:
    with suppress(ManifestError):
        manifest.read_source(value)
