"""Every example can be used as it is, and shows what it says."""

import re
from pathlib import Path

import pytest

from forebay import manifest
from forebay_operator.desired import Platform, desired

EXAMPLES = sorted(path for path in (Path(__file__).parents[2] / "examples").iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_an_example_is_one_source_and_all_the_secrets_it_needs(folder: Path) -> None:
    found = manifest.load(folder)
    (source,) = found.sources
    for item in desired(source, Platform()):
        for volume in item.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", ()):
            needed = volume.get("secret", {})
            if needed and "-broker-" not in needed["secretName"] and not needed.get("optional"):
                secret = found.secret(source.namespace, needed["secretName"])
                assert secret is not None
                assert {entry["key"] for entry in needed["items"]} <= set(secret.data)


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_an_example_s_secret_is_plainly_made_up(folder: Path) -> None:
    for secret in manifest.load(folder).secrets:
        assert all(re.search(rb"not-a|whsec_bm90IGEgc2VjcmV0", value) for value in secret.data.values())


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_an_example_says_how_to_try_it(folder: Path) -> None:
    text = (folder / "README.md").read_text("utf-8")
    assert f"forebay dev -f examples/{folder.name}" in text
    assert f"forebay send -f examples/{folder.name}" in text
