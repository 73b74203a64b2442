"""Order by key on real processes: workers are killed at random, come and go, and each key's webhooks arrive in their order."""

import pytest

from bench.ordering import Shape, late, play
from tests.support.brokers import VirtualHost


@pytest.mark.timeout(120)
async def test_no_webhook_overtakes_another_of_its_key_whatever_is_killed(broker: VirtualHost) -> None:
    told = await play(broker.server, Shape(keys=24, lanes=3, kills=4, restarts=0, pause=0.3), seed=5, vhost=broker.name)
    assert (told["violations"], told["lost"], told["kills"]) == (0, 0, 4)
    assert told["delivered"] > 24 * 10


def test_what_comes_again_is_no_violation_and_what_comes_late_is_one() -> None:
    assert late([1, 2, 1, 2, 3]) == 0
    assert late([1, 3, 2, 4, 2]) == 1
