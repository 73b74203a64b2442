"""How a process ends."""

import os
import sys
from contextlib import suppress
from typing import NoReturn


def end(status: int) -> NoReturn:
    """End with this exit status; without tearing Python down where object storage was used.

    obstore's threads may still be on their way back from handing over a result. One that is there while Python is torn down
    aborts the process (SIGABRT), whose work was done: https://github.com/PyO3/pyo3-async-runtimes/issues/40.
    """
    if "obstore" not in sys.modules:
        sys.exit(status)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it has seen enough
            stream.flush()
    os._exit(status)
