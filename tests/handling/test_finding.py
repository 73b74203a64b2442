"""Finding "module:function": what is not there is named, with the remedy."""

from pathlib import Path

import pytest

from forebay.errors import SpecError
from forebay.settings import Handler
from forebay_worker import Webhook, handler

MODULE = """
import os

async def handle(webhook): ...
def wrong(): ...
def two(webhook, other): ...
def defaults(webhook, other=None): ...
class Shop:
    @staticmethod
    def ordered(webhook): ...
not_callable = 7
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"handlers_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.mark.parametrize("function", ["handle", "defaults", "Shop.ordered"])
def test_a_function_of_one_argument_is_found(module: str, function: str) -> None:
    assert callable(handler.find(f"{module}:{function}"))


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("orders", 'takes "module:function"'),
        (":handle", 'takes "module:function"'),
        ("orders:", 'takes "module:function"'),
        ("no_such_module:handle", "there is no module 'no_such_module'; is it installed"),
        ("no_such.module:handle", "there is no module 'no_such'"),
        ("MODULE:handel", "has no function 'handel'; it has defaults, handle, two, wrong"),
        ("MODULE:not_callable", "has no function 'not_callable'"),
        ("MODULE:wrong", "must take one argument, the webhook"),
        ("MODULE:two", "must take one argument, the webhook"),
        ("..relative:handle", "can not be imported|failed|takes"),
    ],
)
def test_what_is_not_there_is_named_with_the_remedy(module: str, target: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        handler.find(target.replace("MODULE", module))


@pytest.mark.parametrize("line", ["1 / 0", "raise SystemExit(3)", "import no_such_thing", "def broken(", "return"])
def test_a_module_that_can_not_be_imported_is_a_fault_of_the_settings(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"broken_{abs(hash(line))}"
    (tmp_path / f"{name}.py").write_text(line)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SpecError) as caught:
        handler.find(f"{name}:handle")
    assert name in str(caught.value)


async def test_as_many_threads_as_the_concurrency_unless_said_otherwise(module: str) -> None:
    def threads(settings: Handler) -> int:
        delivery = handler.load(settings, 7)
        assert delivery._threads is not None
        return delivery._threads.count

    assert threads(Handler(target=f"{module}:defaults")) == 7
    assert threads(Handler(target=f"{module}:defaults", threads=3)) == 3


def test_a_builtin_can_be_a_handler() -> None:
    assert handler.find("builtins:print") is print
    assert not handler.is_async(print)


def test_the_names_of_the_public_face() -> None:
    import forebay_worker

    assert forebay_worker.__all__ == ["DeadLetter", "Drop", "Headers", "Retry", "Webhook"]
    assert Webhook.__module__ == "forebay_worker.api"
