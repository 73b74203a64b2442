"""An operator may be killed between any two acts: its successors bring the world where an undisturbed one would have.

Every write to the API server and to the broker is such a point. Nobody walks from the beginning to each point: a life does
one act and is killed, and the next goes on from there, so that one world serves all points of making and changing a source; of
two worlds that are walked beside each other one operator hears of its last success and one does not. A life that deletes
waits ten seconds for the broker to count what is left, so those have two acts in one world and three in the other: more than
half of the points. Operators are forked from a process that has imported everything. Less than three minutes in all, most of them waiting.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.reconciling.sources import source
from tests.reconciling.yard import Yard, difference, yard
from tests.support.apiserver import ControlPlane
from tests.support.brokers import VirtualHost
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(420)

_EDIT: dict[str, Any] = {
    "spec__queues": [{"name": "urgent", "match": {"header": {"name": "x-github-event", "values": ["push"]}}}],
    "spec__retry": {"maxAttempts": 3},
}


# Acts that a life has, where the operator hears of the last and where it does not.
_ACTS = {"make": (1, 1), "change": (1, 1), "delete": (2, 3)}
# Lives that it takes at least: with fewer nobody was killed at most of the points.
_LIVES = {"make": 12, "change": 4, "delete": 3}


async def _still(one: Yard) -> dict[str, Any]:
    """The world once nothing changes any more."""
    worlds = [await one.world()]

    async def still() -> bool:
        worlds.append(await one.world())
        return len(worlds) > 6 and all(seen == worlds[-1] for seen in worlds[-6:])

    await eventually(still, within_s=40, every_s=0.4)
    return worlds[-1]


async def _step(one: Yard, step: str) -> None:
    if step == "delete":
        await one.api.delete("WebhookSource", "github")
    else:
        await one.api.apply(source(**(_EDIT if step == "change" else {})))


async def _reached(calm: Yard, step: str) -> dict[str, Any]:
    """The world where an operator that nobody disturbs ends."""
    if step == "delete":

        async def gone() -> bool:
            return await calm.api.find("WebhookSource", "github") is None

        await eventually(gone, within_s=60, every_s=0.25)
    else:
        await calm.api.until("github", "TopologyReady", "True")
    return await _still(calm)


async def _few_acts_a_life(one: Yard, goal: dict[str, Any], least: int, *, deliver: bool) -> int:
    """Live and be killed until the world is as it should be; how many lives that took.

    A life that only tries what earlier ones have tried is followed by one of an act more: a login's user and its Secret
    need each other within one life, because nobody else knows the password.
    """
    acts, lives, tried = least, 0, set[str]()

    async def there() -> bool:
        return await one.world() == goal

    while lives < 120:
        one.kube.requests.clear()
        one.management.requests.clear()
        try:
            killed = await one.life(acts=acts, deliver=deliver, ends=there)
        except TimeoutError:
            raise AssertionError(f"stuck after {lives} lives: {difference(await one.world(), goal)}") from None
        lives += 1
        if not killed:
            return lives
        did = {name for name in one.kube.requests + one.management.requests if not name.startswith("GET ")}
        acts = acts + 1 if did <= tried else least
        tried |= did
    raise AssertionError(f"no end after {lives} lives: {difference(await one.world(), goal)}")


async def test_one_that_is_killed_after_acts_of_making_changing_and_deleting_a_source(
    control_plane: ControlPlane, newest_broker: VirtualHost, tmp_path: Path
) -> None:
    async with (
        yard(control_plane, newest_broker, tmp_path / "calm") as calm,
        yard(control_plane, newest_broker, tmp_path / "heard") as heard,
        yard(control_plane, newest_broker, tmp_path / "unheard") as unheard,
    ):
        await calm.start()
        for step in ("make", "change", "delete"):
            for one in (calm, heard, unheard):
                await _step(one, step)
            goal = await _reached(calm, step)
            knowing, unknowing = _ACTS[step]
            lives = await asyncio.gather(
                _few_acts_a_life(heard, goal, knowing, deliver=True),
                _few_acts_a_life(unheard, goal, unknowing, deliver=False),
            )
            assert min(lives) >= _LIVES[step], (step, lives)
