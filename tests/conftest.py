"""Fixtures for all tests: real brokers, and honesty about those that could not be had.

A test that takes `broker` runs once on each RabbitMQ release, in a virtual host of its own; one that takes
`newest_broker` runs on the newest only. Where a release can not be had its tests are skipped, and the summary says so;
with CI=true they fail.
"""

import os
from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio

from forebay.errors import Unavailable
from forebay_cli.rabbitmq import PrivateBroker
from tests.support.brokers import NEWEST, SUITES, Brokers, VirtualHost, virtual_host

BROKERS = pytest.StashKey[Brokers]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[BROKERS] = Brokers()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _releases(item):
            item.add_marker("broker")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the root file systems now: it takes longer than a test may."""
    brokers = session.config.stash[BROKERS]
    if session.config.option.collectonly:
        return
    for release in sorted({release for item in session.items for release in _releases(item)}):
        try:
            brokers.root(release)
        except Unavailable:
            continue  # the tests that need it will say so


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for release, reason in config.stash[BROKERS].missing.items():
        terminalreporter.write_line(f"NOT RUN: the tests on RabbitMQ {release}: {reason}", red=True, bold=True)


def _releases(item: pytest.Item) -> Iterable[str]:
    """The RabbitMQ releases that this test will ask for."""
    if not isinstance(item, pytest.Function):
        return
    if "newest_broker" in item.fixturenames:
        yield NEWEST
    if "release" in item.fixturenames:
        yield str(item.callspec.params["release"])


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def brokers(pytestconfig: pytest.Config) -> AsyncIterator[Brokers]:
    brokers = pytestconfig.stash[BROKERS]
    yield brokers
    await brokers.stop()


@pytest.fixture(scope="session", params=list(SUITES))
def release(request: pytest.FixtureRequest) -> str:
    """Each RabbitMQ release in turn."""
    return str(request.param)


async def _server(brokers: Brokers, release: str) -> PrivateBroker:
    try:
        return await brokers.get(release)
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"RabbitMQ {release} could not be had: {error}")
        pytest.skip(f"RabbitMQ {release}: {error}")


@pytest.fixture
async def broker(brokers: Brokers, release: str) -> AsyncIterator[VirtualHost]:
    """A fresh virtual host, on each release in turn."""
    async with virtual_host(await _server(brokers, release)) as host:
        yield host


@pytest.fixture
async def newest_broker(brokers: Brokers) -> AsyncIterator[VirtualHost]:
    """A fresh virtual host on the newest release."""
    async with virtual_host(await _server(brokers, NEWEST)) as host:
        yield host
