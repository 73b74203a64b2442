"""docs/tutorial.md, done as it says: its files, its commands, in two terminals. Only the ports are free ones."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forebay_cli.ports import free_port
from tests.support.shell import blocks

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"

pytestmark = pytest.mark.timeout(180)


def test_the_tutorial_is_true(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    first, delivered, dies, look, mend = ("\n".join(block) for block in blocks(PAGE))
    port = free_port()
    (tmp_path / "destination.py").write_text(program.replace("9000", str(port)))
    # The manifest names the same port; the endpoint's is 8080 unless told otherwise.
    started = first.replace("> source.yaml", f"| sed s/9000/{port}/ > source.yaml").replace(
        "forebay dev", "exec forebay dev --port 0"
    )
    with _terminal(started, tmp_path):
        assert "3         202     accepted" in _run(delivered, tmp_path)
        assert "permanent-status  release  releases  1         HTTP 404" in _run(dies, tmp_path)
        assert "status 404" in _run(look, tmp_path)
        said = _run(mend, tmp_path)
        for line in _shown(mend):
            assert line in said
    assert "4 accepted, 4 delivered" in (tmp_path / "first-terminal.log").read_text()


def _shown(commands: str) -> list[str]:
    """What the page says that these commands print."""
    after = PAGE.read_text("utf-8").split(commands + "\n```\n")[1]
    return after.removeprefix("```console\n").split("```")[0].splitlines()


def _environment(folder: Path) -> dict[str, str]:
    programs = Path(sys.executable).parent  # the virtual environment that the page activates
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "FOREBAY_STATE_DIR": str(folder / "state"),
    }


def _run(commands: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\nended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@contextmanager
def _terminal(commands: str, folder: Path) -> Iterator[None]:
    """The first terminal: what runs in it until Ctrl-C."""
    log = folder / "first-terminal.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-euc", commands],
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await(process, log)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        os.killpg(process.pid, signal.SIGKILL)  # the destination


def _await(process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while "Send the first webhook from another terminal" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
