"""A running worker follows whether it is suspended, as a kubelet changes its settings: a new folder behind a link."""

import asyncio
from pathlib import Path

import pytest

from forebay.settings import Destination, WorkerSettings, dump
from forebay_worker.live import follow, suspended
from tests.support.waiting import eventually, so


def settings(*, rest: bool) -> str:
    return dump(WorkerSettings(source="a/b", queue="default", destination=Destination(url="http://a/"), suspended=rest))


class Volume:
    """A mounted ConfigMap: `config/worker.json` leads through `..data`, which is exchanged as a whole."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self.file = folder / "worker.json"
        self.file.symlink_to("..data/worker.json")

    def holds(self, text: str) -> None:
        self._count += 1
        fresh = self._folder / f"..{self._count}"
        fresh.mkdir()
        (fresh / "worker.json").write_text(text)
        link = self._folder / "..data_tmp"
        link.symlink_to(fresh.name)
        link.replace(self._folder / "..data")


async def test_each_change_is_told_once(tmp_path: Path) -> None:
    volume, told = Volume(tmp_path), list[bool]()
    volume.holds(settings(rest=False))
    following = asyncio.ensure_future(
        follow(volume.file, False, lambda *, suspended: told.append(suspended), every_s=0.001)
    )
    for count, rest in enumerate((True, False, True), 1):
        volume.holds(settings(rest=rest))
        await eventually(so(lambda count=count: len(told) == count), every_s=0.001)  # type: ignore[misc]
    volume.holds(settings(rest=True))
    volume.holds("{")
    await asyncio.sleep(0.01)
    assert told == [True, False, True]
    following.cancel()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\ud800"])
def test_what_can_not_be_read_changes_nothing(text: str, tmp_path: Path) -> None:
    file = tmp_path / "worker.json"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert suspended(file) is None
    assert suspended(tmp_path / "gone") is None


def test_what_a_newer_operator_says_besides_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "worker.json"
    file.write_text('{"a-setting-of-the-future": {}, "suspended": true}')
    assert suspended(file) is True
