"""What a source becomes, object by object: a change of it is seen in a diff of the golden files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typing_extensions import override

from forebay import manifest
from forebay_operator.desired import Platform, desired
from forebay_operator.desired.platform import OPTIONAL_APIS
from tests.support import golden

HERE = Path(__file__).parent / "cases"
CASES = sorted(path for path in HERE.glob("*.yaml") if not path.name.endswith(".golden.yaml"))
PLATFORM = Platform(
    ingest_image="registry.example/ingest:1",
    worker_image="registry.example/worker:1",
    image_pull_secrets=("registry",),
    apis=frozenset(OPTIONAL_APIS),
)
WITHOUT_OPTIONAL_APIS = {"plain"}  # cases for a cluster that has none


class Dumper(yaml.SafeDumper):
    """YAML for people: no aliases, and JSON texts line by line."""

    @override
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Dumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, _text)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_source_becomes_these_objects(path: Path) -> None:
    (source,) = manifest.load(path).sources
    platform = replace(PLATFORM, apis=frozenset()) if path.stem in WITHOUT_OPTIONAL_APIS else PLATFORM
    text = yaml.dump_all(desired(source, platform), Dumper=Dumper, sort_keys=False, width=120)
    golden.check(path.with_suffix(".golden.yaml"), text)
