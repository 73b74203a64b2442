"""Runs `forebay` in tests: within this process for what starts nothing, as a process of its own for everything else."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from forebay_cli.__main__ import main

FOREBAY = (sys.executable, "-m", "forebay_cli")


@dataclass(frozen=True, slots=True)
class Ran:
    status: int
    out: str
    err: str


def forebay(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    """The command within this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    said = capsys.readouterr()
    status = ended.value.code
    return Ran(status if isinstance(status, int) else 1, said.out, said.err)


def environment(state: Path, **more: str) -> dict[str, str]:
    """Of a `forebay` that knows of nothing but what a test tells it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    return {**own, "FOREBAY_STATE_DIR": str(state), "PYTHONUNBUFFERED": "1", "COLUMNS": "200", **more}


async def start(environ: Mapping[str, str], *arguments: str) -> asyncio.subprocess.Process:
    """The command as a process; its output is there to be read."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*FOREBAY, *arguments, env=environ, stdout=pipe, stderr=pipe)


async def run(environ: Mapping[str, str], *arguments: str, within_s: float = 60.0) -> Ran:
    """The command as a process, to its end."""
    process = await start(environ, *arguments)
    out, err = await asyncio.wait_for(process.communicate(), within_s)
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())
