"""The endpoint on both event loops: uvloop, which it is run with, and asyncio's own, which it falls back to."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.receiving.endpoint import Endpoint


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
def endpoint(tmp_path: Path) -> Callable[..., Any]:
    """`async with endpoint(body_bytes=10) as it`: an ingest on a loopback port, nothing of it replaced but the broker.

    Fails the test if anything was told to the loop's exception handler.
    """

    def opened(**changes: Any) -> Any:
        return Endpoint.open(tmp_path, **changes)

    return opened
