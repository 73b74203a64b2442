"""A RabbitMQ of one's own: this machine's `rabbitmq-server`, run privately in a folder, until whoever started it ends.

It has its own ports (127.0.0.1 only), data, log, cookie and administrator, reads no configuration and no RABBITMQ_*
variable of the machine's, starts no epmd, and meets no other broker. Linux; the management plugin must be installed
(Debian's package brings it). A keeper process (keeper.py) ends the broker and all it started when we end, even by SIGKILL.
"""

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import quote

from forebay.errors import ForebayError, Unavailable
from forebay.management import Management
from forebay_cli.distribution import (
    INSIDE,
    PATH,
    beside,
    erlang_folders,
    plugin_folders,
    server,
    start_command,
    version_in,
)

NODE = "forebay@localhost"
# Seconds between counts of what is in the queues: for a person who watches, and RabbitMQ's own, which is a fifth of the work.
REFRESH_S, AS_SHIPPED_S = 1.0, 5.0
_STOP_S = 1.0  # far longer than SIGSTOP takes
START_S = 60.0  # a loaded machine takes long; an idle one three to five seconds
_PLUGIN = "rabbitmq_management"
_KEEPER = Path(__file__).resolve().with_name("keeper.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What stays the same when a broker starts again in its folder, so that its clients find it and may enter."""

    amqp_port: int
    management_port: int
    distribution_port: int
    username: str
    password: str = field(repr=False)


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
        self._identity = _prepare(self.folder, refresh_s)

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
        _require_free(self._identity, self.folder)
        environment = _environment(self._identity, self._inside) | self._short_ways()
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
        environment = _environment(self._identity, self._inside)
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
        for one in plugin_folders(_PLUGIN, root):
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


def _prepare(folder: Path, refresh_s: float) -> Identity:
    """Lay out the folder, readable for us alone, or take up what an earlier broker left in it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stored = folder / "identity.json"
    if stored.exists():
        return Identity(**json.loads(stored.read_text()))
    amqp, management, distribution = _free_ports(3)
    identity = Identity(
        amqp_port=amqp,
        management_port=management,
        distribution_port=distribution,
        username="forebay-admin",
        password=secrets.token_urlsafe(24),
    )
    (folder / "data").mkdir(mode=0o700, exist_ok=True)  # the folder itself may have been there, open to others
    (folder / "enabled_plugins").write_text(f"[{_PLUGIN}].\n")
    _write_private(folder / "advanced.config", _configuration(identity, refresh_s))
    _write_private(folder / ".erlang.cookie", secrets.token_hex(16))
    _write_private(stored, json.dumps(asdict(identity)))
    return identity


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _configuration(identity: Identity, refresh_s: float) -> str:
    """Erlang terms rather than rabbitmq.conf: translating the latter takes the broker half a second.

    It flushes its write-ahead log at 64 MiB rather than 512, which it holds in memory as well.
    """
    refresh_ms = round(1000 * refresh_s)
    return f"""\
[{{rabbit, [{{tcp_listeners, [{{"127.0.0.1", {identity.amqp_port}}}]}},
           {{default_user, <<"{identity.username}">>}}, {{default_pass, <<"{identity.password}">>}},
           {{collect_statistics_interval, {refresh_ms}}}, {{quorum_tick_interval, {refresh_ms}}},
           {{log, [{{file, [{{file, false}}]}}, {{console, [{{enabled, true}}]}}]}}]}},
 {{ra, [{{wal_max_size_bytes, 67108864}}]}},
 {{rabbitmq_management, [{{tcp_config, [{{ip, "127.0.0.1"}}, {{port, {identity.management_port}}}]}}]}}].
"""


def _environment(identity: Identity, folder: Path) -> dict[str, str]:
    """The whole environment, paths as the broker sees them: nothing of ours, or of the machine's RabbitMQ, gets in."""
    port = identity.distribution_port
    listen = f"-kernel inet_dist_use_interface {{127,0,0,1}} inet_dist_listen_min {port} inet_dist_listen_max {port}"
    schedulers = min(os.cpu_count() or 1, 4)
    return {
        "PATH": PATH,
        "HOME": str(folder),  # of the cookie
        "LANG": "C.UTF-8",
        "RUNNING_UNDER_SYSTEMD": "true",  # makes the start script replace itself by the broker: one process less
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_NODENAME": NODE,
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "data"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "data"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        # Not among the arguments of the broker alone: every minute it starts an Erlang whose one purpose is a port mapper, see
        # ensure_epmd in rabbit_nodes.erl.
        "ERL_AFLAGS": _no_epmd(identity),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-sname {NODE} {listen} +S {schedulers}:{schedulers}",
        "ERL_CRASH_DUMP": "/dev/null",
    }


def _require_free(identity: Identity, folder: Path) -> None:
    """Raise Unavailable if somebody listens where the broker will: clearer than what it says itself, and sooner."""
    for port in (identity.distribution_port, identity.amqp_port, identity.management_port):
        if not _is_free(port):
            raise Unavailable(
                f"port {port} of 127.0.0.1 is taken: does another broker run in {folder}? If not, delete the folder"
            )


def _no_epmd(identity: Identity) -> str:
    """With a distribution port that both sides know, nobody needs the port mapper, a daemon that would outlive us."""
    return f"-start_epmd false -erl_epmd_port {identity.distribution_port}"


def _free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, below those that the kernel hands out to clients.

    One of the latter would, while the broker is down, sooner or later be given to a client that is trying to reach that
    very port, which then talks to itself.
    """
    ports: set[int] = set()
    while len(ports) < count:
        port = 20_000 + secrets.randbelow(12_000)
        if _is_free(port):
            ports.add(port)
    return list(ports)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are winding down do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
