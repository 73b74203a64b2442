"""`forebay dev` captures the secret that the provider sends, and the running endpoint takes it up."""

from pathlib import Path

import aiohttp
import pytest

from tests.local.test_dev import EXAMPLES, OK, dev, needs_rabbitmq
from tests.support.command_line import run
from tests.support.destination import destination
from tests.support.waiting import eventually, so

HANDSHAKE = {"X-Hook-Secret": "not-a-secret-only-an-example"}


async def _post(url: str) -> aiohttp.ClientResponse:
    async with aiohttp.ClientSession() as client, client.post(url, headers=HANDSHAKE) as answer:
        await answer.read()
        return answer


@needs_rabbitmq
@pytest.mark.timeout(120)
async def test_the_secret_that_asana_sends_is_noted_down_and_verifies_what_follows(tmp_path: Path) -> None:
    async with (
        destination(OK) as target,
        dev(
            tmp_path, "-f", str(EXAMPLES / "asana"), "--destination", f"http://127.0.0.1:{target.port}/hook"
        ) as running,
    ):
        await running.hears(r"asana-webhook/secret waits for the provider's handshake")
        assert "curl" not in running.said
        url = running.said.partition("endpoint")[2].split()[0]
        answer = await _post(url)
        assert (answer.status, answer.headers["X-Hook-Secret"]) == (200, HANDSHAKE["X-Hook-Secret"])
        file = Path((await running.hears(r"the provider's secret came from 127\.0\.0\.1 at .*; it is in (\S+)"))[1])
        assert _private_text(file) == HANDSHAKE["X-Hook-Secret"]

        async def accepted() -> bool:
            return (await run(running.environ, "send")).status == 0

        await eventually(accepted, within_s=20)  # the endpoint looks every few seconds
        await eventually(so(lambda: target.requests))
        assert (await _post(url)).status == 401
        assert HANDSHAKE["X-Hook-Secret"] not in _logs(file.parents[2])


def _private_text(file: Path) -> str:
    assert file.stat().st_mode & 0o777 == 0o600
    return file.read_text()


def _logs(folder: Path) -> str:
    return "".join(log.read_text() for log in folder.glob("logs/*"))
