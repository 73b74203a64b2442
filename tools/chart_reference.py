#!/usr/bin/env python3
"""Writes charts/forebay/README.md from the chart's values and their comments; `make reference` runs it, a test compares.

python tools/chart_reference.py
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).resolve().parent.parent / "charts" / "forebay"
FILE = CHART / "README.md"

HEAD = """\
# Chart of Forebay's operator

```sh
helm install forebay charts/forebay --namespace forebay-system --create-namespace --wait
helm test forebay --namespace forebay-system
```

The whole way to a first webhook is [docs/install.md](../../docs/install.md); newer releases: [docs/upgrade.md](../../docs/upgrade.md);
every right that the operator has, and why: [docs/rbac.md](../../docs/rbac.md). Helm 3 or 4, Kubernetes 1.30 or newer.

## Values
This page is generated from `values.yaml` (`make reference`). `values.schema.json` refuses what is unknown or wrong.

| value | default | meaning |
|---|---|---|
"""


class Value(NamedTuple):
    """One value that a person can set."""

    path: str
    default: Any
    meaning: str  # what the comments above it say


def page() -> str:
    """The page for the values there are."""
    rows = (f"| `{one.path}` | {_shown(one.default)} | {one.meaning} |\n" for one in values())
    return HEAD + "".join(rows)


def values() -> Iterator[Value]:
    """Every value, in the file's order. What is an object without named parts in the schema is one value."""
    text = (CHART / "values.yaml").read_text("utf-8")
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    root = yaml.compose(text, yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode), "values.yaml is a mapping"
    yield from _Reader(text.splitlines(), schema["definitions"]).below(root, schema, ("", ""))


class _Reader(NamedTuple):
    lines: list[str]
    definitions: Mapping[str, Any]

    def below(self, node: yaml.MappingNode, schema: Mapping[str, Any], group: tuple[str, str]) -> Iterator[Value]:
        """The values of a group, of which the path and the meaning are given."""
        path, about = group
        for key, value in node.value:
            part = self._resolved(schema["properties"][key.value])
            # What is said of a group stands at its first member.
            meaning = " ".join(text for text in (about, self._comment(key.start_mark.line)) if text)
            if "properties" in part and isinstance(value, yaml.MappingNode):
                yield from self.below(value, part, (f"{path}{key.value}.", meaning))
            else:
                yield Value(f"{path}{key.value}", yaml.safe_load(yaml.serialize(value)), meaning)
            about = ""

    def _resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        name = part.get("$ref", "").removeprefix("#/definitions/")
        return self.definitions[name] if name else part

    def _comment(self, key_line: int) -> str:
        first = key_line
        while first and self.lines[first - 1].lstrip().startswith("#"):
            first -= 1
        return " ".join(line.strip().lstrip("# ") for line in self.lines[first:key_line])


def _shown(default: Any) -> str:
    return f"`{json.dumps(default)}`"


if __name__ == "__main__":
    FILE.write_text(page(), "utf-8")
