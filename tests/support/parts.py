"""What others wrote and tests run: built before the first test, because that takes longer than a test may (tools/build.py)."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from tools.build import BuildError, built

from tests.support.helm import MAJORS

# CRDs of the oldest releases that Forebay works with (docs/install.md), and of current ones.
FOREIGN = {
    "oldest": ("crds-gateway-api-1.0", "crds-keda-2.17", "crds-prometheus-operator-0.70"),
    "newest": ("crds-gateway-api-1.6", "crds-keda-2.18", "crds-prometheus-operator-0.95"),
}
PROMTOOL = {"2.42": ("prometheus-2", "usr/bin/promtool"), "3": ("promtool-3", "")}
# What the tests need that take a fixture; a test that takes none of these says it by the mark `builds`.
_FOR_FIXTURES = {
    "binary": MAJORS,
    "equipped": (*FOREIGN["oldest"], *FOREIGN["newest"]),
    "helm": ("helm-3",),
    "kubeconform": ("kubeconform",),
    "promtool": tuple(name for name, _ in PROMTOOL.values()),
    "s3_server": ("versitygw",),
}


def build_for(items: list[pytest.Item]) -> None:
    """Build what these tests need. What can not be built is said by the tests that need it, see `part`."""
    taken = {fixture for item in items for fixture in getattr(item, "fixturenames", ())}
    marked = {name for item in items for mark in item.iter_markers("builds") for name in mark.args}
    for name in sorted(marked.union(*(_FOR_FIXTURES.get(fixture, ()) for fixture in taken))):
        with suppress(BuildError):
            built(name)


def part(name: str) -> Path:
    """Where it is. The test fails with CI=true, and is skipped elsewhere, if it could not be built."""
    try:
        return built(name)
    except BuildError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} could not be had: {error}")
        pytest.skip(f"{name}: {error}")
