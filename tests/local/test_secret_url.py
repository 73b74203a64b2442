"""`forebay dev` of a source with a secret URL: shown to who runs it, noted down nowhere, used by `forebay send`."""

from pathlib import Path

import aiohttp
import pytest

from tests.local.test_dev import EXAMPLES, OK, dev, needs_rabbitmq
from tests.support.command_line import run
from tests.support.destination import destination
from tests.support.waiting import eventually, so

TOKEN, NEXT = "not-a-secret-only-an-example", "not-a-secret-either-the-next-one"


async def _status(url: str) -> int:
    async with aiohttp.ClientSession() as client, client.post(url, data=b"{}") as answer:
        return answer.status


@needs_rabbitmq
@pytest.mark.timeout(120)
async def test_who_knows_the_url_may_send_and_no_file_or_destination_tells_it(tmp_path: Path) -> None:
    example = str(EXAMPLES / "secret-url")
    async with (
        destination(OK) as target,
        dev(tmp_path, "-f", example, "--destination", f"http://127.0.0.1:{target.port}/hook") as running,
    ):
        url = (await running.hears(rf"endpoint +(http://127\.0\.0\.1:\d+/default/doorbell)/{TOKEN}"))[1]
        await running.hears("curl -i")
        statuses = [
            await _status(f"{url}{more}") for more in (f"/{TOKEN}", f"/{NEXT}", "", "/not-a-secret-of-this-source")
        ]
        assert statuses == [202, 202, 404, 404]
        sent = await run(running.environ, "send", "--count", "3", "-o", "json")
        assert sent.status == 0, sent.err
        assert TOKEN not in sent.out
        assert TOKEN not in (await run(running.environ, "status", "-o", "json")).out
        await eventually(so(lambda: len(target.requests) >= 5))
        assert not any(TOKEN.encode() in request.body or TOKEN in request.line for request in target.requests)
        assert TOKEN not in _notes(tmp_path / "state")


def _notes(folder: Path) -> str:
    """All that was noted down and logged, but for the secrets themselves."""
    files = [file for file in folder.rglob("*") if file.is_file() and "secrets" not in file.parts]
    return "".join(file.read_text(errors="replace") for file in files)
