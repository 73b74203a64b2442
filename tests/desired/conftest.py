"""An API server that also has the APIs of prometheus-operator, KEDA and Gateway API, by their authors' own CRDs."""

import os
from collections.abc import Iterator

import pytest
from tools.build import BuildError, built
from tools.control_plane import Binaries, ControlPlane

from tests.support.apiserver import install_crds

# The oldest releases that Forebay works with (docs/install.md), and current ones.
FOREIGN = {
    "oldest": ("crds-gateway-api-1.0", "crds-keda-2.17", "crds-prometheus-operator-0.70"),
    "newest": ("crds-gateway-api-1.6", "crds-keda-2.18", "crds-prometheus-operator-0.95"),
}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build them now: it takes longer than a test may."""
    wanted = any("equipped" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        for name in (*FOREIGN["oldest"], *FOREIGN["newest"]):
            try:
                built(name)
            except BuildError:
                return  # the tests that need it will say so


@pytest.fixture(scope="session", params=list(FOREIGN))
def equipped(
    request: pytest.FixtureRequest, programs: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """A control plane of its own: with these APIs the operator of other tests would make other objects."""
    try:
        folders = [built(name) for name in FOREIGN[request.param]]
    except BuildError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CRDs could not be had: {error}")
        pytest.skip(str(error))
    plane = ControlPlane(tmp_path_factory.mktemp("equipped"), programs)
    plane.start()
    try:
        install_crds(plane)
        for folder in folders:
            # Too large for the annotation that a client-side apply leaves.
            plane.kubectl("apply", "--server-side", "-f", str(folder))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        for namespace in ("forebay-system", "orders", "payments", "rabbitmq"):
            plane.kubectl("create", "namespace", namespace)
        yield plane
    finally:
        plane.stop()
