"""A private RabbitMQ: starts, crashes and comes back, freezes, ends without a trace, and meets no other."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forebay.errors import ForebayError, Unavailable
from forebay.management import Management
from forebay_cli import distribution
from forebay_cli.distribution import plugin_folders, version_in
from forebay_cli.rabbitmq import PrivateBroker, private_broker
from tests.support.brokers import NEWEST, VirtualHost
from tests.support.processes import alive, arguments_of, descendants, listening_addresses, name_of
from tests.support.waiting import eventually, so

OWNER = """
import asyncio, signal, sys
from pathlib import Path
from forebay_cli.rabbitmq import private_broker

async def main():
    async with private_broker(Path(sys.argv[1]), root=Path(sys.argv[2]) if sys.argv[2] else None) as broker:
        print(broker.pid, flush=True)
        await asyncio.Event().wait()

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
asyncio.run(main())
"""


async def all_gone(pids: set[int]) -> None:
    async def gone() -> bool:
        return not any(alive(pid) for pid in pids)

    await eventually(gone, within_s=30)


def family_of(broker: PrivateBroker) -> set[int]:
    """The broker, its keeper and all that they started: a daemon would be the keeper's by now."""
    assert broker._keeper is not None
    return descendants(broker._keeper.pid)


async def test_it_is_the_release_that_was_asked_for(broker: VirtualHost, release: str) -> None:
    server = broker.server
    assert server.version == version_in(server.root or Path("/"))
    assert release == NEWEST or server.version.startswith(release)


def test_it_is_shown_the_plugin_that_it_uses_and_what_that_needs(tmp_path: Path) -> None:
    plugins = tmp_path / "usr/lib/rabbitmq/lib/rabbitmq_server-4.9.1/plugins"
    for name, needs in {
        "management": "kernel,stdlib,rabbit,\n  web", "web": "web_lib", "web_lib": "stdlib", "rabbit": "ra", "ra": "",
        "shovel": "rabbit",
    }.items():  # fmt: skip
        folder = plugins / f"{name}-1.0" / "ebin"
        folder.mkdir(parents=True)
        (folder / f"{name}.app").write_text(
            f"{{application, {name}, [\n {{applications, [{needs}]}},\n {{env, [x]}}]}}."
        )
    inside = Path("/usr/lib/rabbitmq/lib/rabbitmq_server-4.9.1/plugins")
    wanted = [inside / f"{name}-1.0" for name in ("management", "rabbit", "web", "web_lib")]
    assert plugin_folders("management", tmp_path) == wanted
    assert plugin_folders("absent", tmp_path) == []
    assert plugin_folders("management", tmp_path / "usr") == []


async def test_it_listens_on_this_machine_only(broker: VirtualHost) -> None:
    assert broker.server.pid is not None
    addresses = listening_addresses(broker.server.pid)
    assert len(addresses) == 3  # AMQP, management, Erlang distribution
    assert all(address.startswith("0100007F:") for address in addresses)


async def test_it_starts_no_port_mapper(broker: VirtualHost) -> None:
    await broker.server.control("eval", "rabbit_nodes:ensure_epmd().")  # as it does every minute
    assert "epmd" not in {name_of(pid) for pid in family_of(broker.server)}


async def test_its_password_is_in_no_argument_and_no_log(broker: VirtualHost) -> None:
    server = broker.server
    for pid in family_of(server) | {os.getpid()}:
        assert server.password not in arguments_of(pid)
    assert server.password not in server.log.read_text()
    assert server.password not in repr(server)


def test_its_data_and_secrets_are_for_nobody_else(tmp_path: Path) -> None:
    def open_to_others(folder: Path) -> set[str]:
        return {path.name for path in folder.iterdir() if path.stat().st_mode & 0o077}

    PrivateBroker(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    PrivateBroker(shared)
    assert open_to_others(shared) == {"enabled_plugins"}


async def test_nobody_enters_with_the_well_known_password(broker: VirtualHost) -> None:
    async with Management(broker.server.management_url, "guest", "guest") as management:
        with pytest.raises(ForebayError, match="guest"):
            await management.version()


async def test_a_kill_leaves_no_process_and_it_starts_again_as_itself(newest_broker: VirtualHost) -> None:
    server = newest_broker.server
    family = family_of(server)
    await server.kill()
    await all_gone(family)
    await server.start()
    assert newest_broker.name in {vhost["name"] for vhost in await newest_broker.management.get("vhosts?columns=name")}


async def test_while_paused_it_answers_nothing_and_afterwards_all_is_well(broker: VirtualHost) -> None:
    async with broker.server.management(timeout_s=0.3) as impatient:
        broker.server.pause()
        try:
            with pytest.raises(Unavailable, match="no answer in time"):
                await impatient.version()
        finally:
            broker.server.resume()
    assert await broker.management.version() == broker.version


async def test_rabbitmqctl_reaches_it_and_leaves_nothing_running(broker: VirtualHost) -> None:
    before = descendants(os.getpid())
    assert broker.server.username in await broker.server.control("list_users")
    # It has answered before its last child has ended.
    await eventually(
        so(lambda: {name_of(pid) for pid in descendants(os.getpid()) - before if alive(pid)} <= {"pytest"})
    )
    with pytest.raises(ForebayError, match="no_such_command"):
        await broker.server.control("no_such_command")


async def test_memory_alarms_can_be_raised_and_cleared(newest_broker: VirtualHost) -> None:
    async def alarmed() -> bool:
        return bool((await newest_broker.management.get("nodes"))[0].get("mem_alarm"))

    await newest_broker.server.control("set_vm_memory_high_watermark", "0.00001")
    try:
        await eventually(alarmed)
    finally:
        await newest_broker.server.control("set_vm_memory_high_watermark", "0.6")


async def test_a_stop_in_order_leaves_no_process_and_a_folder_to_start_again_from(
    newest_root: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NODENAME", "CONFIG_FILE", "NODE_PORT", "MNESIA_BASE", "SERVER_ADDITIONAL_ERL_ARGS"):
        monkeypatch.setenv(f"RABBITMQ_{name}", "of-another-broker")
    async with private_broker(tmp_path, root=newest_root) as broker:
        family = family_of(broker)
        async with broker.management() as management:
            await management.put("vhosts/kept")
    assert broker.pid is None
    await all_gone(family)
    again = PrivateBroker(tmp_path, root=newest_root)
    assert again.uri() == broker.uri()
    await again.start()
    try:
        async with again.management() as management:
            assert await management.get("vhosts/kept")
    finally:
        await again.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_it_ends_with_its_owner_however_that_ends(
    newest_root: Path | None, tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path), str(newest_root or "")]
    with subprocess.Popen(  # noqa: ASYNC220 - the fork takes a millisecond
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as owner:
        assert owner.stdout is not None
        broker = int(await asyncio.to_thread(owner.stdout.readline))
        family = descendants(owner.pid)
        assert broker in family
        owner.send_signal(number)
        await all_gone(family)


async def test_it_ends_when_its_owner_is_interrupted_while_it_starts(newest_root: Path | None, tmp_path: Path) -> None:
    broker = PrivateBroker(tmp_path, root=newest_root)
    starting = asyncio.create_task(broker.start())

    async def launched() -> bool:
        return broker.pid is not None

    await eventually(launched)
    family = family_of(broker)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await all_gone(family)


async def test_a_port_that_is_taken_fails_the_start_at_once(newest_root: Path | None, tmp_path: Path) -> None:
    broker = PrivateBroker(tmp_path, root=newest_root)
    with (
        socket.create_server(("127.0.0.1", broker.amqp_port)),
        pytest.raises(Unavailable, match=rf"port {broker.amqp_port} .*does another broker run in {tmp_path}"),
    ):
        await broker.start()
    assert not broker.running


async def test_a_start_that_fails_says_where_the_log_is(newest_root: Path | None, tmp_path: Path) -> None:
    broker = PrivateBroker(tmp_path, root=newest_root)
    (tmp_path / "advanced.config").write_text("no Erlang term")
    with pytest.raises(Unavailable, match=re.escape(str(broker.log))):
        await broker.start()
    assert not broker.running


async def test_one_that_died_by_itself_starts_again(newest_root: Path | None, tmp_path: Path) -> None:
    broker = PrivateBroker(tmp_path, root=newest_root)
    await broker.start()
    try:
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)

        async def noticed() -> bool:
            return not broker.running

        await eventually(noticed)
        await broker.start()
        assert broker.running
    finally:
        await broker.kill()


async def test_a_start_that_takes_too_long_is_given_up(newest_root: Path | None, tmp_path: Path) -> None:
    broker = PrivateBroker(tmp_path, root=newest_root)
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"):
        await broker.start(timeout_s=0.2)
    assert time.monotonic() - begun < 5
    assert broker.pid is None


async def test_a_machine_without_rabbitmq_is_told_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "_DEBIAN_SERVER", tmp_path / "no-such-file")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"apt-get install rabbitmq-server.*--broker amqp://"):
        async with private_broker(tmp_path / "folder"):
            pass


async def test_a_root_without_rabbitmq_is_told_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"tools/rabbitmq_root\.py"):
        await PrivateBroker(tmp_path / "folder", root=tmp_path).start()
