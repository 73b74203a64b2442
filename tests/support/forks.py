"""Operators that are born fast: a process that has imported everything forks one for each order on its standard input.

An order is one line of JSON: the folder to run in (with a file `kubeconfig`), the log file, the flags. It answers with a
line that holds the new process' id. Start it by `Nursery`; it ends when its standard input does.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

KUBECONFIG = "kubeconfig"  # in the folder where an operator runs


class Nursery:
    """Forks operators."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._pids: list[int] = []
        self._lock = asyncio.Lock()

    async def fork(self, folder: Path, log: Path, *flags: str) -> int:
        """A new operator's process id. It runs in the folder, with the kubeconfig in it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._lock:
            order = {"folder": str(folder), "log": str(log), "flags": flags}
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            pid = int(await self._process.stdout.readline())
        self._pids.append(pid)
        return pid

    def kill_all(self) -> None:
        for pid in self._pids:
            kill(pid)


def kill(pid: int) -> None:
    """SIGKILL; that it has ended already is fine: its parent reaps at once, and ids are not used again that soon."""
    assert pid > 0, "0 would be everybody"
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def nursery(folder: Path) -> AsyncIterator[Nursery]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    with (folder / "nursery.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, env={**environment, "KUBECONFIG": KUBECONFIG},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
    one = Nursery(process)
    try:
        yield one
    finally:
        one.kill_all()
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def _serve() -> None:
    from forebay_operator.__main__ import main  # the child's cost, paid once

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps
    while line := os.read(0, 65536):
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
            main()
        os.write(1, f"{pid}\n".encode())


def _become(order: dict[str, str]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(order["folder"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    sys.argv[1:] = order["flags"]


if __name__ == "__main__":
    _serve()
