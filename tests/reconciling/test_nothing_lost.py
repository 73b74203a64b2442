"""What was acknowledged while the operator was killed and started again is delivered."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from tests.reconciling.provider import sending
from tests.reconciling.sources import source
from tests.reconciling.yard import Yard, yard
from tests.support.apiserver import ControlPlane
from tests.support.brokers import VirtualHost
from tests.support.destination import Answer, Request, destination, says
from tests.support.forks import kill
from tests.support.node import SourcePods, local_node
from tests.support.waiting import eventually, so

pytestmark = pytest.mark.timeout(180)

_URGENT = [{"name": "urgent", "match": {"header": {"name": "x-github-event", "values": ["push"]}}}]

# One after the other; the last one drops a queue in which webhooks wait in that moment.
_EDITS: tuple[dict[str, Any], ...] = (
    {"spec__retry": {"maxAttempts": 3}},
    {"spec__queues": _URGENT},
    {"spec__queues": _URGENT, "spec__worker__concurrency": 2},
    {"spec__retry": {"maxAttempts": 5}},
)


def _answers_when(quick: asyncio.Event) -> Answer:
    """A destination that lets webhooks wait in their queues, and answers once it may."""
    fine = says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await quick.wait()
        await fine(request, writer)

    return answer


async def test_webhooks_that_were_acknowledged_while_operators_were_killed_and_the_source_changed(
    control_plane: ControlPlane, node_object: None, newest_broker: VirtualHost, tmp_path: Path
) -> None:
    quick = asyncio.Event()
    quick.set()
    async with (
        destination(_answers_when(quick)) as target,
        yard(control_plane, newest_broker, tmp_path / "yard") as here,
        local_node(here.api, SourcePods(here.api, tmp_path / "node")) as node,
    ):
        to: dict[str, Any] = {
            "spec__worker": {"destination": {"url": f"http://127.0.0.1:{target.port}/hook"}, "concurrency": 1}
        }
        await here.api.apply(source(**to))
        await here.start()
        await here.api.until("github", "Ready", "True", within_s=60)
        async with sending(here.api, node, "push", "issues") as provider:
            for edit in _EDITS:
                kill(here.turns.pid)
                quick.clear()
                before = len(provider.accepted)
                await here.api.apply(source(**to, **edit))
                for acts in (1, 2):  # of the edit's first few acts: it has not come far when it is killed again
                    assert await here.life(acts=acts, deliver=True, ends=_never)
                await here.start()
                await _heeded(here)
                assert len(provider.accepted) > before
                quick.set()
        accepted = {body.encode() for body in provider.accepted}
        delivered = so(lambda: accepted <= {request.body for request in target.requests})
        with contextlib.suppress(TimeoutError):
            await eventually(delivered, within_s=40)
        assert not accepted - {request.body for request in target.requests}


async def _never() -> bool:
    return False


async def _heeded(here: Yard) -> None:
    """Wait until the source is ready as it was edited last."""

    async def ready() -> bool:
        found = await here.api.get("WebhookSource", "github")
        status = found.get("status", {})
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        return current and any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])

    await eventually(ready, within_s=60, every_s=0.2)
