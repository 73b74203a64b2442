"""Both majors of Helm. Built before the first test, because that takes longer than a test may."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from tools.build import BuildError, built

from tests.support.helm import MAJORS, Helm

HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    wanted = any(HERE in item.path.parents and "helm" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        for major in MAJORS:
            with suppress(BuildError):  # the tests that need it will say so
                built(major)


@pytest.fixture(scope="session", params=MAJORS)
def major(request: pytest.FixtureRequest) -> str:
    """Each major of Helm in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def binary(major: str) -> Path:
    try:
        return built(major)
    except BuildError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{major} could not be built: {error}")
        pytest.skip(f"{major}: {error}")


@pytest.fixture
def helm(binary: Path, tmp_path: Path) -> Helm:
    return Helm(binary, tmp_path)
