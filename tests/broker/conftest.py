"""A source on a real broker for whoever runs its worker."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.broker.test_worker import Place, placed
from tests.support.brokers import VirtualHost


@pytest.fixture
async def place(newest_broker: VirtualHost, tmp_path: Path) -> AsyncIterator[Place]:
    async with placed(newest_broker, tmp_path) as one:
        yield one


@pytest.fixture
async def everywhere(broker: VirtualHost, tmp_path: Path) -> AsyncIterator[Place]:
    """On each release of RabbitMQ."""
    async with placed(broker, tmp_path) as one:
        yield one
