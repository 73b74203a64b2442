"""Fixtures for all tests: real brokers, and honesty about those that could not be had.

A test that takes `broker` runs once on each RabbitMQ release, in a virtual host of its own; one that takes
`newest_broker` runs on the newest only. Where a release can not be had its tests are skipped, and the summary says so;
with CI=true they fail.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from forebay.errors import Unavailable
from tests.support.brokers import NEWEST, SUITES, Brokers, VirtualHost, virtual_host

BROKERS = pytest.StashKey[Brokers]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[BROKERS] = Brokers()


@pytest.hookimpl(tryfirst=True)  # before `-m` selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _release(item):
            item.add_marker("broker")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the root file systems now: it takes longer than a test may."""
    brokers = session.config.stash[BROKERS]
    if session.config.option.collectonly:
        return
    for release in sorted({release for item in session.items if (release := _release(item))}):
        with suppress(Unavailable):  # the tests that need it will say so
            brokers.root(release)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for release, reason in config.stash[BROKERS].missing.items():
        terminalreporter.write_line(f"NOT RUN: the tests on RabbitMQ {release}: {reason}", red=True, bold=True)


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
