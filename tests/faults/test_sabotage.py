"""The account is not taken on trust: each broken build of the data plane turns it red, aimed at the hole it tears."""

from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bench.faults import acts
from bench.faults.account import account
from bench.faults.acts import Act, Cast
from bench.faults.drain import drain
from bench.faults.kinds import KINDS, PLAIN, Kind
from bench.faults.pace import paced
from bench.faults.stand import Shape, loaded, stand, started
from forebay_cli.rabbitmq import PrivateBroker

pytestmark = pytest.mark.faults
SABOTAGED = Path(__file__).with_name("sabotaged")
Accounted = Callable[..., Coroutine[Any, Any, dict[str, Any]]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivateBroker]:
    async with started(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture
def accounted(broker: PrivateBroker, tmp_path: Path) -> Accounted:
    """The account of one act, played under load with parts that are broken in one way, of a kind of source."""

    async def play(sabotage: str, act: Act, kind: Kind = PLAIN, within_s: float = 40) -> dict[str, Any]:
        shape = Shape(kind=kind, environ={"PYTHONPATH": str(SABOTAGED), "SABOTAGE": sabotage})
        async with stand(broker, tmp_path, shape, seed=1) as made:
            async with loaded(made):
                with made.ledger.during(act.name):
                    await act.play(Cast(stand=made, dice=made.dice(act.name)))
            await drain(made, within_s)
            return {**account(made.ledger, made.returns), **paced(made.source, kind.habits, made.ledger)}

    return play


def act(name: str) -> Act:
    return next(act for act in acts.ROUND if act.name == name)


def kind(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


async def test_an_answer_before_the_confirm_is_found_out_when_the_broker_crashes(accounted: Accounted) -> None:
    result = await accounted("answer before the confirm", act("broker hangs, then crashes"))
    assert result["lost"] > 0
    assert result["false_2xx"] > 0


async def test_a_publish_without_mandatory_is_found_out_when_the_queue_is_not_bound(accounted: Accounted) -> None:
    result = await accounted("publish without mandatory", act("queue unbound"))
    assert result["lost"] > 0
    assert result["false_2xx"] > 0


async def test_an_ack_before_the_retry_is_stored_is_found_out_under_an_alarm(accounted: Accounted) -> None:
    result = await accounted("ack before the publish", act("memory alarm"))
    assert result["lost"] > 0
    assert result["false_2xx"] == 0


async def test_an_ack_before_the_dead_letter_is_stored_is_found_out_under_an_alarm(accounted: Accounted) -> None:
    result = await accounted("ack before the publish", act("disk alarm"))
    assert result["lost"] > 0
    assert result["false_2xx"] == 0


async def test_an_ack_before_the_delivery_is_found_out_when_a_worker_is_killed(accounted: Accounted) -> None:
    result = await accounted("ack on receipt", act("destination slow"))
    assert result["lost"] > 0


async def test_a_worker_that_drops_on_sigterm_what_it_has_in_hand_is_found_out(accounted: Accounted) -> None:
    result = await accounted("drop on SIGTERM", act("SIGTERM of each worker"))
    assert result["lost"] > 0


async def test_a_copy_that_counts_as_seen_before_the_first_is_safe_is_found_out(accounted: Accounted) -> None:
    result = await accounted("seen before the confirm", act("broker hangs, then crashes"), kind("deduplication"))
    assert result["lost"] > 0


async def test_a_reference_before_its_body_is_stored_is_found_out_when_the_storage_is_away(
    accounted: Accounted,
) -> None:
    result = await accounted("publish before the put", act("storage away"), kind("large-bodies"), within_s=10)
    assert result["lost"] > 0


async def test_a_worker_that_lets_keys_overtake_is_found_out_when_the_destination_is_slow(accounted: Accounted) -> None:
    result = await accounted("deliver out of turn", act("destination slow"), kind("ordering"))
    assert (result["overtaken"] > 0, result["lost"]) == (True, 0)
