"""The endpoint, with the test in place of its broker."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.receiving.endpoint import Endpoint


@pytest.fixture
def endpoint(tmp_path: Path) -> Callable[..., Any]:
    def opened(**changes: Any) -> Any:
        return Endpoint.open(tmp_path, **changes)

    return opened
