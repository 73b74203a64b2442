"""Runs one command, and when this process's standard input closes, ends that command and everything it started.

    python -I -S keeper.py GRACE_SECONDS COMMAND [ARGUMENT …]

The standard input is a pipe whose other end its owner holds, so the command ends with its owner however that ends, also
by SIGKILL. The first line of output is the command's process id; the exit status is the command's (128 + N for signal N).
Uses only the standard library, and on Linux adopts what the command leaves behind as a daemon, to end that too.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def main(grace: float, command: list[str]) -> int:
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wake = _wake_on_signals()
    child = subprocess.Popen(  # noqa: S603 - our owner says what to run
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - this process has one thread
        start_new_session=True,
    )
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.flush()
    try:
        _wait(child, wake, timeout=None, owner=sys.stdin.fileno())
        _end(child, wake, grace)
    finally:
        _end_leftovers()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _die_with_parent() -> None:
    """In the command's process: the kernel kills it when the keeper is killed."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(child: "subprocess.Popen[bytes]", wake: int, grace: float) -> None:
    for number in (signal.SIGTERM, signal.SIGCONT):  # the second lets a stopped process see the first
        if child.poll() is None:
            child.send_signal(number)
    _wait(child, wake, timeout=grace)
    if child.poll() is None:
        child.kill()
        child.wait()


def _wait(child: "subprocess.Popen[bytes]", wake: int, *, timeout: float | None, owner: int | None = None) -> None:
    """Until the command has ended, the time is up, or (given `owner`) the owner closed the pipe or we are told to end."""
    deadline = None if timeout is None else time.monotonic() + timeout
    sources = [wake] if owner is None else [wake, owner]
    while child.poll() is None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return
        ready, _, _ = select.select(sources, [], [], left)
        told_to_end = wake in ready and not {signal.SIGTERM, signal.SIGINT}.isdisjoint(os.read(wake, 4096))
        owner_is_gone = owner in ready and not os.read(owner or 0, 4096)
        if owner is not None and (told_to_end or owner_is_gone):
            return


def _wake_on_signals() -> int:
    """A file descriptor from which the numbers of arriving signals can be read, a byte each."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reader


def _end_leftovers() -> None:
    """Kill what the command left behind. An orphan's children become ours in turn: on until there are none."""
    while leftovers := list(_children()):
        for pid in leftovers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in leftovers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> Iterator[int]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended meanwhile
            # The second field, the name, may hold anything, also spaces: the parent is the second after it.
            if int(stat.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                yield int(stat.parent.name)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
