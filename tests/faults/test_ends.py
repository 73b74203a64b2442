"""A fault run that is told to end leaves nothing behind: no process of its own, whatever it was in the middle of."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.support.processes import alive, arguments_of, descendants
from tests.support.waiting import eventually

pytestmark = pytest.mark.faults
TREE = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_it_ends_with_all_that_it_started(number: signal.Signals, tmp_path: Path) -> None:
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.faults", "--only", "broker hangs", "--output", str(tmp_path / "faults.json"),
        cwd=TREE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    family: set[int] = set()

    async def everything_runs() -> bool:
        family.update(descendants(run.pid))
        assert run.returncode is None
        commands = " ".join(arguments_of(pid) for pid in family if alive(pid))
        return all(part in commands for part in ("beam.smp", "toxiproxy", "forebay_ingest", "forebay_worker"))

    await eventually(everything_runs, within_s=60)
    run.send_signal(number)
    async with asyncio.timeout(45):
        status = await run.wait()

    async def all_ended() -> bool:
        return not any(alive(pid) for pid in family)

    await eventually(all_ended, within_s=20)
    assert status == (-signal.SIGKILL if number == signal.SIGKILL else 130)
