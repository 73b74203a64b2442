"""The command as the image runs it. The operators of the other tests are forked from one that has imported everything: that is faster."""

import asyncio
import os
import sys
from pathlib import Path

import aiohttp

from tests.support.apiserver import Api, ControlPlane
from tests.support.processes import listening_addresses
from tests.support.waiting import eventually, so

COMMAND = Path(sys.executable).with_name("forebay-operator")


async def test_it_is_ready_without_a_source_and_ends_when_it_is_told_to(control_plane: ControlPlane, api: Api) -> None:
    process = await asyncio.create_subprocess_exec(
        COMMAND, f"--namespace={api.namespace}", "--admin-address=127.0.0.1:0",
        env={**os.environ, "KUBECONFIG": str(control_plane.kubeconfig)}, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await eventually(so(lambda: listening_addresses(process.pid)), within_s=30)
        (address,) = listening_addresses(process.pid)
        port = int(address.rpartition(":")[2], base=16)
        await eventually(lambda: _is_ready(port))
        process.terminate()
        assert await asyncio.wait_for(process.wait(), timeout=20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _is_ready(port: int) -> bool:
    async with aiohttp.ClientSession() as opened, opened.get(f"http://127.0.0.1:{port}/readyz") as answer:
        return answer.status == 200
