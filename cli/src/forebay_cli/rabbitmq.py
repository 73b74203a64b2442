"""A RabbitMQ of one's own: this machine's `rabbitmq-server`, run privately in a folder, until whoever started it ends.

It has its own ports (127.0.0.1 only), data, log, cookie and administrator, reads no configuration and no RABBITMQ_*
variable of the machine's, starts no epmd, and meets no other broker. Linux; the management plugin must be installed
(Debian's package brings it). A keeper process (keeper.py) ends the broker and all it started when we end, even by SIGKILL.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

from forebay.errors import ForebayError, Unavailable
from forebay.management import Management
from forebay_cli.broker_folder import PLUGIN, environment_of, prepare, require_free
from forebay_cli.distribution import (
    INSIDE,
    beside,
    erlang_folders,
    plugin_folders,
    server,
    start_command,
    version_in,
)

# Seconds between counts of what is in the queues: for a person who watches, and RabbitMQ's own, which is a fifth of the work.
REFRESH_S, AS_SHIPPED_S = 1.0, 5.0
_STOP_S = 1.0  # far longer than SIGSTOP takes
START_S = 60.0  # a loaded machine takes long; an idle one three to five seconds
_KEEPER = Path(__file__).resolve().with_name("keeper.py")


class PrivateBroker:
    """One broker in one folder. Not started by the constructor; `private_broker()` is the usual way to have one."""

    def __init__(
        self, folder: Path, *, root: Path | None = None, grace_s: float = 15.0, refresh_s: float = REFRESH_S
    ) -> None:
        """`root` is the root file system of another release to take the server from; `grace_s` bounds an orderly stop.

        Depths and rates of queues are counted anew every `refresh_s` seconds.
        """
        self.folder = folder.resolve()
        self.root = root
        self.version = ""  # as in "4.0.5", known once it has started
        self.pid: int | None = None  # of the Erlang virtual machine, while it runs
        self._grace_s = grace_s
        self._keeper: subprocess.Popen[bytes] | None = None
        self._identity = prepare(self.folder, refresh_s)

    @property
    def amqp_port(self) -> int:
        return self._identity.amqp_port

    @property
    def amqp_url(self) -> str:
        """Where it speaks AMQP 0.9.1, without a login."""
        return f"amqp://127.0.0.1:{self._identity.amqp_port}"

    @property
    def management_url(self) -> str:
        """Where its management API is, without a login."""
        return f"http://127.0.0.1:{self._identity.management_port}"

    @property
    def username(self) -> str:
        """The administrator; there is no other user."""
        return self._identity.username

    @property
    def password(self) -> str:
        return self._identity.password

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    def uri(self, *, vhost: str = "/", username: str | None = None, password: str | None = None) -> str:
        """The AMQP URI with a login in it, the administrator's unless told otherwise: a secret, for files and memory."""
        login = f"{quote(username or self.username, safe='')}:{quote(password or self.password, safe='')}"
        return f"amqp://{login}@127.0.0.1:{self.amqp_port}/{quote(vhost, safe='')}"

    def management(self, *, timeout_s: float = 10.0) -> Management:
        """A session of the administrator with the management API; to be entered with `async with`."""
        return Management(self.management_url, self.username, self.password, timeout_s=timeout_s)

    @property
    def running(self) -> bool:
        """Whether it has been started, and has not been stopped or died since."""
        return self._keeper is not None and self._keeper.poll() is None

    async def start(self, *, timeout_s: float = START_S) -> None:
        """Start, and return when AMQP and the management API answer. Raises Unavailable if they do not in time."""
        if self.running:
            raise RuntimeError("the broker runs already")
        await self._end(signal.SIGKILL)  # what is left of one that died by itself
        require_free(self._identity, self.folder)
        environment = environment_of(self._identity, self._inside) | self._short_ways()
        with self.log.open("ab") as log:
            self._keeper = _keep(start_command(self.folder, self.root), self._grace_s, environment, self.folder, log)
        try:
            self.pid = int(await asyncio.to_thread(_stdout(self._keeper).readline) or 0)
            await asyncio.wait_for(self._ready(), timeout_s)
        except TimeoutError:
            await self.kill()
            raise Unavailable(f"rabbitmq-server did not answer within {timeout_s:g} s; its log: {self.log}") from None
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """Stop it in order (a few seconds), by force after the grace period. Does nothing if it does not run."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL, as a crash. What it had confirmed is there after the next start (see Management.declare)."""
        await self._end(signal.SIGKILL)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, and nothing answers from the moment on that this returns."""
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + _STOP_S
        while self.pid and not _is_stopped(self.pid) and time.monotonic() < deadline:
            time.sleep(0.001)  # its threads stop one by one

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    async def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on it (about a second) and return what it printed, for what the management API can not do."""
        if self.pid is None:
            raise RuntimeError("the broker does not run")
        command = [str(server(self.root).with_name("rabbitmqctl")), "--quiet", *arguments]
        if self.root is not None:
            command = [*beside(self.pid), *command]
        environment = environment_of(self._identity, self._inside)
        environment["ERL_AFLAGS"] += " -dist_listen false"  # then it needs no epmd either
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output = (await process.communicate())[0].decode(errors="replace").strip()
        if process.returncode:
            raise ForebayError(f"rabbitmqctl {arguments[0]} failed: {output}")
        return output

    def _short_ways(self) -> dict[str, str]:
        """What makes Debian's RabbitMQ 3 look in fewer folders for each of its thousand modules, which is half of its start.

        It is shown the one plugin that it uses, and what that needs, instead of sixty: their folders come first. Erlang's own
        come next, before what else the server brings. RabbitMQ 4 runs on an Erlang that remembers what is in each folder.
        """
        root = self.root or Path("/")
        if not (version_in(root) or "").startswith("3."):
            return {}
        plugins = self.folder / "plugins"
        shutil.rmtree(plugins, ignore_errors=True)  # of a server that has been upgraded since
        plugins.mkdir()
        for one in plugin_folders(PLUGIN, root):
            (plugins / one.name).symlink_to(one)
        return {
            "RABBITMQ_PLUGINS_DIR": str(self._inside / plugins.name),
            "RABBITMQ_SERVER_START_ARGS": " ".join(("-pa", *map(str, erlang_folders(root)))),
        }

    @property
    def _inside(self) -> Path:
        return self.folder if self.root is None else INSIDE

    async def _ready(self) -> None:
        async with self.management() as management:
            while True:
                self._raise_if_ended()
                try:
                    self.version = await management.version()
                    socket.create_connection(("127.0.0.1", self.amqp_port), timeout=1).close()
                except (ForebayError, OSError):
                    await asyncio.sleep(0.05)
                else:
                    return

    def _raise_if_ended(self) -> None:
        if self._keeper is not None and (status := self._keeper.poll()) is not None:
            raise Unavailable(f"rabbitmq-server ended while starting (status {status}); its log: {self.log}")

    def _signal(self, number: signal.Signals) -> None:
        # The keeper reaps it, so the process id is its own for as long as the keeper lives.
        if self.pid and self.running:
            os.kill(self.pid, number)

    async def _end(self, number: signal.Signals) -> None:
        if (keeper := self._keeper) is None:
            return
        if number == signal.SIGKILL:
            self._signal(number)
        # From here the keeper goes through with it, whether or not anybody waits.
        if keeper.stdin is not None:
            keeper.stdin.close()
        try:
            await asyncio.to_thread(keeper.wait)
        finally:
            _stdout(keeper).close()
            self._keeper = self.pid = None


@asynccontextmanager
async def private_broker(
    folder: Path | None = None, *, root: Path | None = None, refresh_s: float = REFRESH_S
) -> AsyncIterator[PrivateBroker]:
    """A running broker. Without a folder its data is thrown away at the end; with one it is kept for the next start.

    Raises Unavailable, with the remedy, if this machine has no RabbitMQ or it does not start.
    """
    if folder is None:
        async with _passing_broker(root, refresh_s) as broker:
            yield broker
        return
    broker = PrivateBroker(folder, root=root, refresh_s=refresh_s)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


@asynccontextmanager
async def _passing_broker(root: Path | None, refresh_s: float) -> AsyncIterator[PrivateBroker]:
    broker = PrivateBroker(Path(tempfile.mkdtemp(prefix="forebay-rabbitmq-")), root=root, refresh_s=refresh_s)
    try:
        await broker.start()  # if this fails the folder stays, for its log …
    except asyncio.CancelledError:
        shutil.rmtree(broker.folder, ignore_errors=True)  # … but nobody asks for that of a start that was given up
        raise
    try:
        yield broker
    finally:
        await broker.kill()  # an orderly stop takes seconds, and saves what is thrown away
        shutil.rmtree(broker.folder, ignore_errors=True)


def _keep(
    command: list[str], grace_s: float, environment: dict[str, str], folder: Path, log: IO[bytes]
) -> "subprocess.Popen[bytes]":
    """Start the command under a keeper that ends it when the pipe we hold closes. The first line it prints is the pid."""
    return subprocess.Popen(  # noqa: S603 - our own command line
        [sys.executable, "-I", "-S", str(_KEEPER), str(grace_s), *command],
        env=environment,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,  # a terminal's Ctrl-C is for us, not for the broker
    )


def _is_stopped(pid: int) -> bool:
    """Whether no thread of the process runs."""
    try:
        return all(
            (thread / "stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
            for thread in Path(f"/proc/{pid}/task").iterdir()
        )
    except OSError:  # one ended as we looked
        return False


def _stdout(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout
