"""Operators that are born fast: Python's own fork server imports everything once, and forks one for each call."""

import contextlib
import multiprocessing
import os
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["forebay_operator.__main__"])
# Taken from the environment by what the server imports: so it has to be one for all, in the folder where each runs.
_KUBECONFIG = "kubeconfig"


def forked(log: Path, kubeconfig: Path, *flags: str) -> BaseProcess:
    """`forebay-operator` with these flags, started in a folder of its own beside the log, to which it appends what it says."""
    folder = log.with_suffix("")
    folder.mkdir()
    (folder / _KUBECONFIG).symlink_to(kubeconfig.resolve())
    process = _SERVER.Process(target=_operate, args=(folder, log, flags), daemon=True)
    with mock.patch.dict(os.environ, KUBECONFIG=_KUBECONFIG):  # the first start is the server's, too
        process.start()
    return process


def kill(pid: int) -> None:
    """SIGKILL; that it has ended already is fine: the fork server reaps at once, and ids are not used again that soon."""
    assert pid > 0, "0 would be everybody"
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _operate(folder: Path, log: Path, flags: tuple[str, ...]) -> None:
    from forebay_operator.__main__ import main  # the fork server has it already

    for name in [name for name in os.environ if name.startswith("FOREBAY_")]:
        del os.environ[name]
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv[1:] = flags
    main()
