"""Every publish ends exactly once, as what the broker said of it; only a confirm that is its own is a yes."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.amqp.frames import OversizedError
from forebay.amqp.publisher import Outcome
from forebay.envelope import AmqpMessage
from forebay.errors import Busy, Rejected, Unavailable
from tests.publishing.local import LocalPublisher
from tests.support.waiting import eventually, so


def waiting(**bounds: Any) -> LocalPublisher:
    publisher = LocalPublisher(**bounds)
    publisher.outcome = None
    return publisher


def send(publisher: LocalPublisher, message_id: str, heard: list[tuple[str, Outcome]], size: int = 10) -> None:
    publisher.send(b"x" * size, message_id.encode(), lambda outcome: heard.append((message_id, outcome)))


async def test_a_confirm_ends_its_own_publish_and_no_other() -> None:
    publisher, heard = waiting(), list[tuple[str, Outcome]]()
    for name in "abc":
        send(publisher, name, heard)
    publisher.confirms(2)
    assert heard == [("b", Outcome.CONFIRMED)]
    assert (publisher.in_flight, publisher.in_flight_bytes) == (2, 20)


async def test_a_confirm_of_several_ends_all_up_to_it_in_order() -> None:
    publisher, heard = waiting(), list[tuple[str, Outcome]]()
    for name in "abcd":
        send(publisher, name, heard)
    publisher.confirms(2)
    publisher.confirms(3, multiple=True)
    assert heard == [("b", Outcome.CONFIRMED), ("a", Outcome.CONFIRMED), ("c", Outcome.CONFIRMED)]


async def test_a_refusal_is_a_no() -> None:
    publisher, heard = waiting(), list[tuple[str, Outcome]]()
    for name in "ab":
        send(publisher, name, heard)
    publisher.refuses(2, multiple=True)
    assert heard == [("a", Outcome.REFUSED), ("b", Outcome.REFUSED)]


async def test_what_came_back_is_unroutable_though_it_is_confirmed() -> None:
    publisher, heard = waiting(), list[tuple[str, Outcome]]()
    for name in "ab":
        send(publisher, name, heard)
    publisher.returns("a")
    publisher.confirms(2, multiple=True)
    assert heard == [("a", Outcome.UNROUTABLE), ("b", Outcome.CONFIRMED)]


async def test_of_two_publishes_of_one_id_neither_is_confirmed_if_one_came_back() -> None:
    publisher, heard = waiting(), list[tuple[str, Outcome]]()
    send(publisher, "a", heard)
    send(publisher, "a", heard)
    publisher.returns("a")
    publisher.confirms(2, multiple=True)
    assert heard == [("a", Outcome.UNROUTABLE)] * 2


async def test_a_return_says_nothing_of_a_later_try() -> None:
    publisher, heard = waiting(), list[tuple[str, Outcome]]()
    send(publisher, "a", heard)
    publisher.returns("a")
    publisher.confirms(1)
    send(publisher, "a", heard)
    publisher.confirms(2)
    assert heard == [("a", Outcome.UNROUTABLE), ("a", Outcome.CONFIRMED)]


async def test_returns_are_forgotten_once_they_are_decided() -> None:
    publisher, heard = waiting(confirm_s=0.05), list[tuple[str, Outcome]]()
    clock = asyncio.ensure_future(publisher.run())
    for number in range(50):
        send(publisher, str(number), heard)
        publisher.returns(str(number))
    publisher.confirms(50, multiple=True)
    await eventually(so(lambda: not publisher._returned), every_s=0.005)
    clock.cancel()
    assert [outcome for _, outcome in heard] == [Outcome.UNROUTABLE] * 50


async def test_a_confirm_that_does_not_come_in_time_is_a_no_and_the_link_starts_afresh() -> None:
    publisher, heard = waiting(confirm_s=0.05), list[tuple[str, Outcome]]()
    clock = asyncio.ensure_future(publisher.run())
    send(publisher, "a", heard)
    await eventually(so(lambda: heard), every_s=0.005)
    clock.cancel()
    assert heard == [("a", Outcome.TIMEOUT)]
    assert publisher.link._lost.is_set()
    publisher.confirms(1)  # too late: it counts for nothing
    assert len(heard) == 1
    assert (publisher.in_flight, publisher.in_flight_bytes) == (0, 0)


async def test_what_a_former_connection_still_says_counts_for_nothing() -> None:
    publisher, heard = waiting(), list[tuple[str, Outcome]]()
    former, publisher.link.connection = publisher.link.connection, object()
    send(publisher, "a", heard)
    publisher.confirms(1, of=former)
    publisher.refuses(1, multiple=True, of=former)
    publisher.returns("a", of=former)
    assert heard == []
    publisher.confirms(1)
    assert heard == [("a", Outcome.CONFIRMED)]


async def test_a_lost_connection_ends_everything_that_was_under_way() -> None:
    publisher, heard = waiting(), list[tuple[str, Outcome]]()
    for name in "ab":
        send(publisher, name, heard)
    publisher.on_down("the test")
    assert heard == [("a", Outcome.DISCONNECTED), ("b", Outcome.DISCONNECTED)]
    assert (publisher.in_flight, publisher.in_flight_bytes) == (0, 0)
    send(publisher, "c", heard)
    assert heard[-1] == ("c", Outcome.DOWN)


async def test_an_alarm_of_the_broker_ends_everything_and_what_follows_at_once() -> None:
    publisher, heard = waiting(), list[tuple[str, Outcome]]()
    send(publisher, "a", heard)
    publisher.link._set_blocked(publisher.link.connection, blocked=True)
    send(publisher, "b", heard)
    assert heard == [("a", Outcome.BLOCKED), ("b", Outcome.BLOCKED)]
    publisher.link._set_blocked(publisher.link.connection, blocked=False)
    send(publisher, "c", heard)
    assert len(heard) == 2
    publisher.confirms(1)  # of "a", which was answered already
    publisher.confirms(2)  # "b" was never sent: this is "c"
    assert heard[-1] == ("c", Outcome.CONFIRMED)


@pytest.mark.parametrize(("bounds", "size"), [({"max_in_flight": 2}, 1), ({"max_in_flight_bytes": 20}, 10)])
async def test_beyond_the_bounds_a_publish_ends_at_once(bounds: dict[str, int], size: int) -> None:
    publisher, heard = waiting(**bounds), list[tuple[str, Outcome]]()
    for name in "abc":
        send(publisher, name, heard, size)
    assert heard == [("c", Outcome.BUSY)]
    assert len(publisher.written) == 2 * size
    publisher.confirms(1)
    send(publisher, "d", heard, size)
    assert publisher.in_flight == 2


async def test_who_hears_of_an_end_may_publish_again_at_once() -> None:
    publisher, heard = waiting(max_in_flight=1), list[tuple[str, Outcome]]()
    publisher.send(b"x", b"a", lambda _: send(publisher, "b", heard))
    publisher.confirms(1)
    assert publisher.in_flight == 1
    publisher.on_down("the test")
    assert heard == [("b", Outcome.DISCONNECTED)]


MESSAGE = AmqpMessage(message_id="a", timestamp=1, content_type=None, headers={}, body=b"")


@pytest.mark.parametrize(
    ("outcome", "error"),
    [(Outcome.UNROUTABLE, Rejected), (Outcome.BUSY, Busy)]
    + [(other, Unavailable) for other in Outcome if other.value not in ("confirmed", "unroutable", "busy")],
)
async def test_whoever_waits_gets_an_error_that_says_whether_trying_again_helps(
    outcome: Outcome, error: type[Exception]
) -> None:
    publisher = LocalPublisher()
    publisher.outcome = outcome
    with pytest.raises(error):
        await publisher.publish("e", "k", MESSAGE)


async def test_a_confirmed_publish_just_returns() -> None:
    publisher = LocalPublisher()
    await publisher.publish("e", "k", MESSAGE)
    assert [(one.exchange, one.routing_key) for one in publisher.published] == [("e", "k")]


async def test_a_message_whose_headers_fit_no_frame_is_rejected_and_the_link_lives() -> None:
    publisher = LocalPublisher()
    large = AmqpMessage(message_id="a", timestamp=1, content_type=None, headers={"x": "y" * 131_072}, body=b"")
    with pytest.raises(Rejected, match="do not fit"):
        await publisher.publish("e", "k", large)
    with pytest.raises(OversizedError):
        publisher.encode("e", "k", large)
    assert publisher.in_flight == 0


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("send"), st.integers(0, 5)),
            st.tuples(st.sampled_from(["confirm", "confirm all", "refuse", "refuse all", "return", "lose", "overdue"]), st.integers(1, 12)),
        ),
        max_size=40,
    )
)  # fmt: skip
@settings(max_examples=200)
async def test_whatever_the_broker_says_every_publish_ends_once_and_a_yes_was_said_of_it(
    steps: list[tuple[str, int]],
) -> None:
    publisher = waiting()
    ends: dict[int, list[Outcome]] = {}
    ids: dict[int, int] = {}
    acked, returned = set[int](), dict[int, int]()
    for step, number in steps:
        match step:
            case "send":
                tag = publisher._next_tag
                ends[tag], ids[tag] = [], number
                publisher.send(b"x", str(number).encode(), ends[tag].append)
            case "confirm" | "confirm all":
                upto = range(1, number + 1) if step == "confirm all" else (number,)
                acked |= {tag for tag in upto if tag in ends and not ends[tag]}
                publisher.confirms(number, multiple=step == "confirm all")
            case "refuse" | "refuse all":
                publisher.refuses(number, multiple=step == "refuse all")
            case "return":
                publisher.returns(str(number))
                returned |= {tag: 1 for tag in ends if ids[tag] == number and not ends[tag]}
            case "overdue":
                publisher._fail_all(Outcome.TIMEOUT)
            case _:
                publisher._fail_all(Outcome.DISCONNECTED)
        publisher._forget_returns()
    publisher._fail_all(Outcome.DISCONNECTED)
    assert all(len(heard) == 1 for heard in ends.values())
    confirmed = {tag for tag, heard in ends.items() if heard == [Outcome.CONFIRMED]}
    assert confirmed <= acked - returned.keys()
    assert (publisher.in_flight, publisher.in_flight_bytes) == (0, 0)
