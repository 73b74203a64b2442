"""What we render is in the schemas of every Kubernetes release that we say we work with, the oldest and the newest.

The API server of the other tests is of one release; a field that an older one does not know yet is found here. The schemas come
with the package kubernetes-validate, so nothing is fetched. Kinds of other APIs are checked by their own CRDs (test_strict.py).
"""

import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.desired.test_strict import CHART, GOLDENS
from tests.support.parts import part

SCHEMAS = Path(str(importlib.util.find_spec("kubernetes_validate").origin)).parent / "kubernetes-json-schema"  # type: ignore[union-attr]
CHART_YAML = Path(__file__).parents[2] / "charts" / "forebay" / "Chart.yaml"
OLDEST = re.sub(r"[^0-9.].*", "", yaml.safe_load(CHART_YAML.read_text("utf-8"))["kubeVersion"].lstrip(">= ")).rstrip(
    "."
)
NEWEST = max(
    (path.name[1:].partition("-")[0] for path in SCHEMAS.glob("v*-strict")), key=lambda v: [*map(int, v.split("."))]
)


@pytest.fixture(scope="session")
def kubeconform() -> Path:
    return part("kubeconform")


def conforms(kubeconform: Path, release: str, folder: Path, *files: Path) -> str:
    """What kubeconform says; `folder` is for the release's schemas."""
    for path in (SCHEMAS / f"v{release}-local-strict").glob("*.json"):
        # They refer to each other by addresses at kubernetes.io; here they are files side by side.
        schema = json.loads(path.read_text("utf-8").replace("/api/_definitions.json", "_definitions.json"))
        schema.pop("$id", None)
        (folder / path.name).write_text(json.dumps(schema), "utf-8")
    schemas = f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    command = [str(kubeconform), "-strict", "-summary", "-ignore-missing-schemas", "-schema-location", schemas]
    done = subprocess.run(
        [*command, *map(str, files)], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout


@pytest.mark.parametrize("release", [OLDEST, NEWEST])
def test_each_release_knows_every_field(kubeconform: Path, release: str, tmp_path: Path) -> None:
    said = conforms(kubeconform, release, tmp_path, *GOLDENS, *CHART)
    valid, invalid = map(int, re.findall(r"Valid: (\d+), Invalid: (\d+), Errors: 0", said)[0])
    assert invalid == 0, said
    assert valid > 100  # schemas were found


def test_a_field_that_is_none_is_found(kubeconform: Path, tmp_path: Path) -> None:
    item = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "it"}, "spec": {"prots": []}}
    (tmp_path / "service.yaml").write_text(yaml.safe_dump(item))
    assert "prots" in conforms(kubeconform, NEWEST, tmp_path, tmp_path / "service.yaml")
