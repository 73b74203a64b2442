"""The handler and the tests in docs/how-to/write-a-handler.md, run as they stand there; the table of headers, compared."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from forebay_worker.request import LEFT_OUT

DOCS = Path(__file__).parents[2] / "docs"


def test_the_handler_in_the_how_to_passes_the_tests_in_the_how_to(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / "how-to/write-a-handler.md").read_text()
    handler, tests = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    orders, shown = ModuleType("orders"), ModuleType("shown")
    exec(handler, vars(orders))
    monkeypatch.setitem(sys.modules, "orders", orders)
    exec(tests, vars(shown))
    found = [value for name, value in vars(shown).items() if name.startswith("test_")]
    assert len(found) == 3
    for test in found:
        test()


def test_the_reference_lists_the_headers_that_are_left_out() -> None:
    text = (DOCS / "reference/delivery.md").read_text()
    section = text.split("## Original headers that are not passed on")[1].split("\n## ")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")][1:]
    assert set(re.findall(r"`([a-z0-9-]+)`", " ".join(rows))) == LEFT_OUT
