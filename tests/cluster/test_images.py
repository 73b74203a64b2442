"""What is in Forebay's images: little beside the base, and nothing that the bill of materials does not name."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tools import images
from tools.sbom import bill

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ADDED_MIB = 60  # by the components that strangers' bytes go through


def test_what_an_image_adds_to_its_base_is_little(results: dict[str, Any]) -> None:
    added = {component: _added_mib(archive) for component, archive in images.archives().items()}
    results["image_added_mib"] = added
    assert added["ingest"] <= ADDED_MIB, added
    assert added["worker"] <= ADDED_MIB, added


@pytest.mark.parametrize("component", images.COMPONENTS)
def test_the_bill_of_materials_names_all_that_is_installed(component: str) -> None:
    told = bill(component)
    named = {(one["name"], one["version"]) for one in (*told["components"], told["metadata"]["component"])}
    found = _installed(images.archives()[component])
    assert f"forebay-{component}" in {name for name, _ in found}
    assert found <= named


def _added_mib(archive: Path) -> int:
    sizes: dict[str, int] = json.loads(archive.with_suffix(".json").read_text())
    return round((sizes["size"] - sizes["base"]) / 2**20)


def _installed(archive: Path) -> set[tuple[str, str]]:
    """Name and version of each distribution below /opt/forebay."""
    found: set[tuple[str, str] | None] = set()
    with tarfile.open(archive) as outer:
        manifest = outer.extractfile("manifest.json")
        assert manifest
        for layer in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=outer.extractfile(layer)) as inner:
                found |= {_distribution(path) for path in inner.getnames() if path.endswith(".dist-info")}
    return {one for one in found if one}


def _distribution(path: str) -> tuple[str, str] | None:
    name, _, version = Path(path).name.removesuffix(".dist-info").partition("-")
    return (name.replace("_", "-").lower(), version) if path.startswith("opt/forebay/") else None
