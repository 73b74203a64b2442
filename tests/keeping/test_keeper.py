"""The keeper: a command and all it started end when their owner does."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from forebay_cli import keeper
from tests.support.processes import alive, descendants
from tests.support.waiting import eventually

# A command that leaves a daemon behind, as epmd is one: a session of its own, its parent gone.
DAEMON = "setsid sh -c 'sleep 600 & echo $! >&2; sleep 600' & "


@contextmanager
def kept(script: str, *, grace_s: float = 5) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-I", "-S", keeper.__file__, str(grace_s), "sh", "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    return process.stderr.readline().strip()


def leave(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.close()


async def all_gone(pids: set[int]) -> None:
    async def gone() -> bool:
        return not any(alive(pid) for pid in pids)

    await eventually(gone)


async def test_the_first_line_is_the_commands_process_id_and_the_status_is_the_commands() -> None:
    with kept("exit 7") as process:
        assert first_line(process) > 0
        assert process.wait(10) == 7


async def test_when_the_owner_leaves_the_command_is_asked_to_end() -> None:
    with kept("trap 'echo asked >&2; exit 3' TERM; echo up >&2; while :; do sleep 0.05; done") as process:
        assert said(process) == "up"
        leave(process)
        assert said(process) == "asked"
        assert process.wait(10) == 3


async def test_a_command_that_does_not_end_in_time_is_killed() -> None:
    with kept("trap '' TERM; echo up >&2; while :; do sleep 0.05; done", grace_s=0.2) as process:
        assert said(process) == "up"
        leave(process)
        assert process.wait(10) == 128 + signal.SIGKILL


async def test_a_stopped_command_ends_without_waiting_for_the_grace_period() -> None:
    with kept("echo up >&2; kill -STOP $$; sleep 600", grace_s=60) as process:
        assert said(process) == "up"
        leave(process)
        assert process.wait(10) == 128 + signal.SIGTERM


async def test_a_daemon_that_the_command_left_behind_ends_too() -> None:
    with kept(DAEMON + "wait") as process:
        daemon = int(said(process))
        family = descendants(process.pid) | {daemon}
        assert len(family) >= 4
        leave(process)
        process.wait(10)
        await all_gone(family)


async def test_leftovers_end_when_the_command_ends_by_itself() -> None:
    with kept(DAEMON + "sleep 0.3") as process:
        daemon = int(said(process))
        assert process.wait(10) == 0
        await all_gone({daemon})


async def test_the_command_dies_with_a_killed_keeper() -> None:
    with kept("echo up >&2; exec sleep 600") as process:
        command = first_line(process)
        assert said(process) == "up"
        process.kill()
        await all_gone({command})


async def test_the_keeper_itself_can_be_asked_to_end() -> None:
    with kept("echo up >&2; exec sleep 600") as process:
        assert said(process) == "up"
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM
