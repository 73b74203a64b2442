"""Fixtures for all tests: real brokers, a real API server, and honesty about those that could not be had.

A test that takes `broker` runs once on each RabbitMQ release, in a virtual host of its own; one that takes
`newest_broker` runs on the newest only; one that takes `api` has a namespace of its own on an API server. Where a release
or the API server can not be had its tests are skipped, and the summary says so; with CI=true they fail.
"""

import os
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio
from tools.control_plane import Binaries, ControlPlane, NoControlPlane, binaries

from forebay.errors import Unavailable
from tests.support.apiserver import Api, install_crds, namespace
from tests.support.brokers import NEWEST, SUITES, Brokers, VirtualHost, virtual_host
from tests.support.gateway import Gateway, gateway
from tests.support.parts import FOREIGN, PROMTOOL, build_for, part

BROKERS = pytest.StashKey[Brokers]()
CONTROL_PLANE = pytest.StashKey[Binaries | str]()  # where its programs are, or why it can not be had


def pytest_configure(config: pytest.Config) -> None:
    config.stash[BROKERS] = Brokers()


@pytest.hookimpl(tryfirst=True)  # before `-m` selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _release(item):
            item.add_marker("broker")
        if _needs_api(item):
            item.add_marker("apiserver")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make root file systems and programs now: it takes longer than a test may."""
    brokers = session.config.stash[BROKERS]
    if session.config.option.collectonly:
        return
    if any(_needs_api(item) for item in session.items):
        try:
            session.config.stash[CONTROL_PLANE] = binaries()
        except NoControlPlane as error:
            session.config.stash[CONTROL_PLANE] = str(error)
    build_for(session.items)
    for release in sorted({release for item in session.items if (release := _release(item))}):
        with suppress(Unavailable):  # the tests that need it will say so
            brokers.root(release)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of a test that fails tell also what its broker has said: its folder goes with the run."""
    report = yield
    release = _release(item) if report.failed else None
    broker = item.config.stash[BROKERS].known.get(release or "")
    if broker is not None and broker.log.exists():
        last = broker.log.read_text(errors="replace").splitlines()[-60:]
        report.sections.append((f"the end of the log of RabbitMQ {release}", "\n".join(last)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for release, reason in config.stash[BROKERS].missing.items():
        terminalreporter.write_line(f"NOT RUN: the tests on RabbitMQ {release}: {reason}", red=True, bold=True)
    if isinstance(why := config.stash.get(CONTROL_PLANE, None), str):
        terminalreporter.write_line(f"NOT RUN: the tests on an API server: {why}", red=True, bold=True)


def _needs_api(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "programs" in item.fixturenames


def _release(item: pytest.Item) -> str | None:
    """The RabbitMQ release that this test will ask for, if any."""
    if not isinstance(item, pytest.Function) or "brokers" not in item.fixturenames:
        return None
    return str(item.callspec.params["release"]) if "release" in item.fixturenames else NEWEST


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def brokers(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Brokers]:
    brokers = pytestconfig.stash[BROKERS]
    brokers.folder = tmp_path_factory.mktemp("brokers")
    yield brokers
    await brokers.stop()


@pytest.fixture(scope="session", params=list(SUITES))
def release(request: pytest.FixtureRequest) -> str:
    """Each RabbitMQ release in turn."""
    return str(request.param)


@contextmanager
def _honestly(release: str) -> Iterator[None]:
    """What can not be had is a failure where everything must run, and a loud skip elsewhere."""
    try:
        yield
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"RabbitMQ {release} could not be had: {error}")
        pytest.skip(f"RabbitMQ {release}: {error}")


@pytest.fixture
async def broker(brokers: Brokers, release: str) -> AsyncIterator[VirtualHost]:
    """A fresh virtual host, on each release in turn."""
    with _honestly(release):
        server = await brokers.get(release)
    async with virtual_host(server) as host:
        yield host


@pytest.fixture
async def newest_broker(brokers: Brokers) -> AsyncIterator[VirtualHost]:
    """A fresh virtual host on the newest release."""
    with _honestly(NEWEST):
        server = await brokers.get(NEWEST)
    async with virtual_host(server) as host:
        yield host


@pytest.fixture
def newest_root(brokers: Brokers) -> Path | None:
    """What `PrivateBroker(root=…)` takes to run the newest release."""
    with _honestly(NEWEST):
        return brokers.root(NEWEST)


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> Binaries:
    """What a control plane is made of."""
    found = pytestconfig.stash[CONTROL_PLANE]
    if isinstance(found, str):
        if os.environ.get("CI") == "true":
            pytest.fail(f"the API server could not be had: {found}")
        pytest.skip(f"API server: {found}")
    return found


@pytest.fixture(scope="session")
def control_plane(programs: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real API server with its controllers and Forebay's CRD, for the whole run."""
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane"), programs)
    plane.start()
    try:
        install_crds(plane)
        yield plane
    finally:
        plane.stop()


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[Api]:
    """A fresh namespace on the API server."""
    async with namespace(control_plane) as api:
        yield api


@pytest.fixture(scope="session", params=list(FOREIGN))
def equipped(
    request: pytest.FixtureRequest, programs: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """An API server that also has the APIs of prometheus-operator, KEDA and Gateway API, by their authors' own CRDs.

    It is not the one of other tests: where these APIs are, the operator makes other objects. It writes down what operators ask.
    """
    folders = [part(name) for name in FOREIGN[request.param]]
    group = "system:serviceaccounts:forebay-system"
    plane = ControlPlane(tmp_path_factory.mktemp("equipped"), programs, audited_group=group)
    plane.start()
    try:
        install_crds(plane)
        for folder in folders:
            # Too large for the annotation that a client-side apply leaves.
            plane.kubectl("apply", "--server-side", "-f", str(folder))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        for name in ("forebay-system", "orders", "payments", "rabbitmq"):
            plane.kubectl("create", "namespace", name)
        yield plane
    finally:
        plane.stop()


@pytest.fixture
async def s3_server(tmp_path: Path) -> AsyncIterator[Gateway]:
    """An S3 server with one empty bucket."""
    async with gateway(part("versitygw"), tmp_path) as server:
        yield server


@pytest.fixture(scope="session", params=list(PROMTOOL))
def promtool(request: pytest.FixtureRequest) -> Path:
    """Of the Prometheus in Debian bookworm, and of a current one."""
    name, place = PROMTOOL[request.param]
    return part(name) / place
