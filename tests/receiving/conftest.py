"""The endpoint on both event loops: uvloop, which it is run with, and asyncio's own, which it falls back to."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from forebay_ingest import holdings, leases
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


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes an outage buffer half a minute takes a moment."""
    monkeypatch.setattr(holdings, "LOOK_S", 0.1)
    monkeypatch.setattr(holdings, "RENEW_S", 0.05)
    monkeypatch.setattr(leases, "LAPSE_S", 0.4)
    monkeypatch.setattr(leases, "CLAIM_S", 0.02)
