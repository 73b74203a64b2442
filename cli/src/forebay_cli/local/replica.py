"""One process in place of a pod: started, probed, started again when it ends, drained and ended at last.

It lives in a session of its own, so a terminal's Ctrl-C does not reach it, and dies with us, also by SIGKILL (Linux; on
other systems it lives on then). Liveness is not probed: a process that hangs is for the person who watches it.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from forebay.errors import SpecError, Unavailable
from forebay_cli.local import admin
from forebay_cli.local.command import Launch

FIRST_PAUSE, LAST_PAUSE = 0.2, 5.0  # seconds before a process that ended is started again
STEADY_S = 10.0  # one that lived so long starts again without a longer pause
UNREADY_PROBE, READY_PROBE = 0.05, 1.0  # seconds between two probes
USAGE_EXIT = 2  # the settings are wrong: starting again changes nothing
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Replica:
    """A process that is kept running."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.ready = False
        self.restarts = 0
        self.exit_status: int | None = None  # of its last end
        self._addresses: dict[str, str] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.launch.name

    @property
    def pid(self) -> int | None:
        """Its process id, None while it does not run."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def address(self) -> str | None:
        """HOST:PORT of the endpoint, None if it has none or does not run."""
        return next((value for name, value in self._addresses.items() if name != "admin"), None)

    @property
    def admin(self) -> str | None:
        """HOST:PORT of its admin port, None while it does not run."""
        return self._addresses.get("admin")

    @property
    def state(self) -> str:
        if self.pid is None:
            return "stopped" if self._stopping.is_set() else "restarting"
        return "ready" if self.ready else "starting"

    def start(self) -> None:
        self._work = asyncio.create_task(self._live(), name=self.name)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal. A process that ends by it is started again."""
        self._signal(os.kill, number)

    async def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Until it is ready. Raises SpecError if it refuses its settings, Unavailable if it takes longer."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not self.ready:
            if self._work is not None and self._work.done():
                await self._work
                raise SpecError(self._last_words() or f"{self.name} ended; its log: {self.launch.log}")
            if asyncio.get_running_loop().time() > deadline:
                said = self._last_words()
                raise Unavailable(
                    f"{self.name} is not ready after {timeout_s:g} s{f' ({said})' if said else ''}; its log: {self.launch.log}"
                )
            await asyncio.sleep(UNREADY_PROBE)

    async def restart(self, ready_s: float = 30.0) -> None:
        """SIGTERM, SIGKILL after its grace period; returns when the next life is ready. Raises SpecError or Unavailable if it can not be."""
        lives, process = self.restarts, self._process
        self.kill(signal.SIGTERM)
        if process is not None:
            try:
                await asyncio.wait_for(process.wait(), self.launch.grace_s)
            except TimeoutError:
                self.kill()
        while self.restarts == lives and not self._stopping.is_set():  # noqa: ASYNC110  # nobody tells of a birth
            await asyncio.sleep(UNREADY_PROBE)
        await self.wait_ready(ready_s)

    async def stop(self) -> int | None:
        """SIGTERM, and SIGKILL to its whole group after its grace period. Returns its exit status."""
        self._stopping.set()
        self.kill(signal.SIGTERM)
        self.kill(signal.SIGCONT)  # a stopped process would not see the former
        if self._work is not None:
            done, _ = await asyncio.wait({self._work}, timeout=self.launch.grace_s)
            if not done:
                self._signal(os.killpg, signal.SIGKILL)
            await asyncio.gather(self._work, return_exceptions=True)
        return self.exit_status

    def _signal(self, send: Callable[[int, int], None], number: signal.Signals) -> None:
        if (pid := self.pid) is not None:
            # Another thread waits for the process (on Python 3.11): it may have ended before our loop hears of it.
            with contextlib.suppress(ProcessLookupError):
                send(pid, number)

    async def _live(self) -> None:
        pause, loop = FIRST_PAUSE, asyncio.get_running_loop()
        while True:
            began = loop.time()
            self.exit_status = await self._one_life()
            if self._stopping.is_set() or (self.exit_status == USAGE_EXIT and not self.restarts):
                return
            pause = FIRST_PAUSE if loop.time() - began > STEADY_S else pause
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
                return
            pause = min(pause * 2, LAST_PAUSE)
            self.restarts += 1

    async def _one_life(self) -> int:
        self.launch.ready_file.unlink(missing_ok=True)
        process = self._process = await self._spawn()
        probing = asyncio.create_task(self._probe())
        try:
            if self._stopping.is_set():  # the order to end came while it was being born
                process.terminate()
            return await process.wait()
        finally:
            probing.cancel()
            self.ready, self._addresses = False, {}

    async def _spawn(self) -> asyncio.subprocess.Process:
        self.launch.log.parent.mkdir(parents=True, exist_ok=True)
        with self.launch.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self.launch.argv,
                env=self.launch.env,
                cwd=self.launch.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_dies_with(os.getpid()),
            )

    async def _probe(self) -> None:
        while True:
            if not self._addresses:
                with contextlib.suppress(OSError, ValueError):
                    self._addresses = json.loads(self.launch.ready_file.read_text())
            self.ready = self.admin is not None and await admin.ready(self.admin)
            await asyncio.sleep(READY_PROBE if self.ready else UNREADY_PROBE)

    def _last_words(self) -> str:
        """The last error it printed, without its name for it."""
        with contextlib.suppress(OSError):
            lines = self.launch.log.read_text(errors="replace").splitlines()
            return next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), "")
        return ""


def _dies_with(parent: int) -> Callable[[], None] | None:
    """What a new process does before it becomes the command: bind its life to ours. Only async-signal-safe calls."""
    libc = _LIBC
    if libc is None:
        return None

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # we died between the fork and the line above
            os._exit(1)

    return bind
