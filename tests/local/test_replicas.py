"""A process in place of a pod: kept running, drained, and never left behind. On small processes of the tests' own."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from forebay.errors import SpecError, Unavailable
from forebay_cli.local import admin
from forebay_cli.local.command import Launch
from forebay_cli.local.replica import Replica
from tests.support.processes import alive
from tests.support.waiting import eventually, so

# Serves an admin port, as a part does; 'stubborn' does not end when it is told to, 'unready' is never ready.
PART = """
import http.server, json, os, pathlib, signal, sys
words = sys.argv[1:]
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"pings_total 3\\n" if self.path == "/metrics" else b"ok"
        self.send_response(503 if "unready" in words else 200); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Page)
def ended(*_):
    if "stubborn" not in words:
        pathlib.Path("drained").touch(); os._exit(0)
signal.signal(signal.SIGTERM, ended)
print("serving", flush=True)
pathlib.Path(os.environ["FOREBAY_READY_FILE"]).write_text(json.dumps({"http": "127.0.0.1:1", "admin": "%s:%d" % server.server_address}))
server.serve_forever()
"""


def plan(folder: Path, *words: str, program: str = PART, grace_s: float = 10.0) -> Launch:
    folder.mkdir(exist_ok=True)
    return Launch(
        name="part-0",
        argv=(sys.executable, "-I", "-S", "-c", program, *words),
        env={"FOREBAY_READY_FILE": str(folder / "ready.json")},
        root=folder,
        cwd=folder,
        log=folder / "logs" / "part-0.log",
        grace_s=grace_s,
    )


@asynccontextmanager
async def running(launch: Launch) -> AsyncIterator[Replica]:
    replica = Replica(launch)
    replica.start()
    try:
        yield replica
    finally:
        await replica.stop()


async def test_it_is_ready_when_it_says_so(tmp_path: Path) -> None:
    async with running(plan(tmp_path)) as replica:
        assert (replica.ready, replica.state) == (False, "restarting")
        await replica.wait_ready()
        assert (replica.ready, replica.state, replica.address) == (True, "ready", "127.0.0.1:1")
        assert replica.pid is not None
        assert "serving" in replica.launch.log.read_text()


async def test_it_is_asked_what_it_counted(tmp_path: Path) -> None:
    async with running(plan(tmp_path)) as replica:
        await replica.wait_ready()
        assert replica.admin is not None
        counted = await admin.metrics([replica.admin, replica.admin, "127.0.0.1:1"])
        assert counted.total("pings_total") == 6


async def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    async with running(plan(tmp_path)) as replica:
        await replica.wait_ready()
        first = replica.pid
        replica.kill(signal.SIGKILL)
        await eventually(so(lambda: replica.restarts == 1 and replica.ready))
        assert replica.pid not in (None, first)
        assert replica.exit_status == -signal.SIGKILL


def kill_unheard(pid: int) -> None:
    """End a process while the loop, which this blocks, hears nothing of it; on Python 3.11 a thread takes it away."""
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 2
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.001)


async def test_a_process_that_ended_a_moment_ago_can_still_be_told_to_end(tmp_path: Path) -> None:
    async with running(plan(tmp_path)) as replica:
        await replica.wait_ready()
        first = replica.pid
        assert first is not None
        kill_unheard(first)
        assert replica.pid == first
        replica.kill(signal.SIGTERM)
        assert await replica.stop() == -signal.SIGKILL


async def test_one_that_dies_again_and_again_is_started_less_and_less_often(tmp_path: Path) -> None:
    began = asyncio.get_running_loop().time()
    async with running(plan(tmp_path, program="open('lives', 'a').write('x')")) as replica:
        await eventually(so(lambda: replica.restarts >= 3))
        assert asyncio.get_running_loop().time() - began > 0.2 + 0.4 + 0.8
        assert (tmp_path / "lives").read_text().startswith("xxx")


async def test_one_that_refuses_its_settings_is_not_started_again_and_its_error_is_ours(tmp_path: Path) -> None:
    program = "import sys; print('noise'); sys.stderr.write('error: x is missing; write it\\n'); sys.exit(2)"
    async with running(plan(tmp_path, program=program)) as replica:
        with pytest.raises(SpecError, match=r"^x is missing; write it$"):
            await replica.wait_ready()
        assert replica.restarts == 0


async def test_one_that_never_is_ready_is_named_with_its_log(tmp_path: Path) -> None:
    async with running(plan(tmp_path, "unready")) as replica:
        with pytest.raises(Unavailable, match=r"part-0 is not ready after 0.5 s; its log: .*part-0\.log"):
            await replica.wait_ready(0.5)


async def test_a_command_that_is_not_there_is_an_error_and_no_hang(tmp_path: Path) -> None:
    launch = Launch(name="x", argv=("/nowhere",), env={}, root=tmp_path, cwd=tmp_path, log=tmp_path / "l", grace_s=1)
    replica = Replica(launch)
    replica.start()
    with pytest.raises(FileNotFoundError):
        await replica.wait_ready()
    await replica.stop()


async def test_stopping_drains(tmp_path: Path) -> None:
    async with running(plan(tmp_path)) as replica:
        await replica.wait_ready()
        assert await replica.stop() == 0
        assert (tmp_path / "drained").exists()
        assert (replica.pid, replica.state, replica.admin) == (None, "stopped", None)


async def test_a_stopped_one_is_drained_too(tmp_path: Path) -> None:
    async with running(plan(tmp_path)) as replica:
        await replica.wait_ready()
        replica.kill(signal.SIGSTOP)
        assert await replica.stop() == 0


async def test_one_that_does_not_drain_is_killed_after_its_grace_period(tmp_path: Path) -> None:
    async with running(plan(tmp_path, "stubborn", grace_s=0.3)) as replica:
        await replica.wait_ready()
        assert await replica.stop() == -signal.SIGKILL


async def test_stopping_in_the_middle_of_a_pause_ends_it(tmp_path: Path) -> None:
    async with running(plan(tmp_path, program="import sys; sys.exit(1)")) as replica:
        await eventually(so(lambda: replica.exit_status == 1))
        async with asyncio.timeout(3):
            await replica.stop()


async def test_a_terminals_ctrl_c_does_not_reach_it(tmp_path: Path) -> None:
    async with running(plan(tmp_path)) as replica:
        await replica.wait_ready()
        assert replica.pid is not None
        assert os.getpgid(replica.pid) == replica.pid != os.getpgid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
async def test_it_dies_with_us_also_by_sigkill(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from tests.local.test_replicas import Replica, plan\n"
        "async def main():\n"
        "    replica = Replica(plan(pathlib.Path(sys.argv[1]), 'stubborn'))\n"
        "    replica.start()\n"
        "    await replica.wait_ready()\n"
        "    print(replica.pid, flush=True)\n"
        "    await asyncio.sleep(3600)\n"
        "asyncio.run(main())\n"
    )
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    child = int(await asyncio.wait_for(owner.stdout.readline(), 30))
    assert alive(child)
    owner.kill()
    await owner.wait()
    await eventually(so(lambda: not alive(child)))
