"""How commands find what runs on this machine, also after a crash."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.errors import SpecError
from forebay_cli.state import Home, Running, default_home
from forebay_cli.target import target

RUNNING = Running(
    source="payments/github",
    pid=1,
    urls=("http://127.0.0.1:8080/github",),
    broker="amqp://me:p%40ss@127.0.0.1:5673/%2F",
    management="http://127.0.0.1:15673",
    private=True,
    queues=("releases", "default"),
)


def test_a_source_is_found_as_long_as_it_runs(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    notes = home.notes("payments/github")
    assert home.only() is None
    with notes.locked():
        assert home.only() is None  # it has not started yet
        notes.save(RUNNING)
        assert home.only() == home.only("payments/github") == RUNNING
        assert home.only("payments/stripe") is None
    assert home.only() is None


def test_only_we_can_read_the_notes_because_a_login_stands_in_them(tmp_path: Path) -> None:
    notes = Home(tmp_path / "home").notes("payments/github")
    with notes.locked():
        notes.save(RUNNING)
        assert stat.S_IMODE((notes.folder / "dev.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(notes.folder.stat().st_mode) == 0o700


def test_a_source_runs_once(tmp_path: Path) -> None:
    notes = Home(tmp_path).notes("payments/github")
    with notes.locked(), pytest.raises(SpecError, match="runs already"), notes.locked():
        pass


def test_a_crash_leaves_no_source_running(tmp_path: Path) -> None:
    program = (
        "import os, sys, pathlib\n"
        "from tests.commands.test_notes import RUNNING, Home\n"
        "notes = Home(pathlib.Path(sys.argv[1])).notes('payments/github')\n"
        "with notes.locked():\n"
        "    notes.save(RUNNING)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, timeout=60)
    assert (tmp_path / "payments.github" / "dev.json").exists()
    assert Home(tmp_path).only() is None


def test_of_several_running_sources_one_must_be_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.notes("payments/github").locked(), home.notes("a/b").locked():
        home.notes("payments/github").save(RUNNING)
        home.notes("a/b").save(Running(source="a/b", pid=1, urls=(), broker="amqp://h", management="", private=False))
        with pytest.raises(SpecError, match="a/b, payments/github; say which with --source"):
            home.only()


def test_a_command_is_about_the_running_source_or_the_broker_that_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(SpecError, match="forebay dev"):
        target(home, None, None)
    with home.notes("payments/github").locked():
        home.notes("payments/github").save(RUNNING)
        here = target(home, None, None)
    assert (here.source, here.broker.password, here.broker.vhost) == ("payments/github", "p@ss", "/")
    there = target(home, "a/b", "amqps://u:p@mq.example/v%2Fh")
    assert there.broker.management_url == "https://mq.example:15671"
    assert there.url == "amqps://u:p@mq.example:5671/v%2Fh"
    assert there.broker.shown == "amqps://mq.example:5671/v%2Fh"
    assert "p@mq" not in repr(there)


@pytest.mark.parametrize(
    "url", ["", "localhost", "http://h", "amqp://", "amqp://[::1", "amqp://h:port", "amqp://u:pw@:5"]
)
def test_a_broker_url_that_can_not_be_read_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(SpecError) as refused:
        target(Home(tmp_path), "a/b", url)
    assert "amqp://USER:PASSWORD@HOST" in str(refused.value)
    assert "pw" not in str(refused.value)


def test_the_state_folder_follows_xdg(tmp_path: Path) -> None:
    assert default_home({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "forebay"
    assert default_home({}) == Path.home() / ".local" / "state" / "forebay"
