"""How many reconciles may be at one broker: there is a place left for others, and whoever waits is woken."""

import pytest

from forebay_operator.room import NoRoom, Room
from forebay_operator.world import Key


def key(name: str) -> Key:
    return Key("shop", name)


def fill(room: Room, broker: str, most: int = 100) -> int:
    """How many places a broker gets that asks for so many."""
    for count in range(most):
        try:
            room.enter(key(f"{broker}{count}"), broker)
        except NoRoom:
            return count
    return most


def test_a_broker_gets_half_of_the_places_and_each_further_one_half_of_the_rest() -> None:
    room = Room(16, wake=lambda _: None)
    assert [fill(room, broker) for broker in "abcde"] == [8, 4, 2, 1, 1]


@pytest.mark.parametrize("places", [1, 2, 3])
def test_a_broker_alone_is_never_shut_out(places: int) -> None:
    assert fill(Room(places, wake=lambda _: None), "a") >= 1


def test_whoever_waits_is_woken_one_by_one_in_order_as_others_leave() -> None:
    woken: list[Key] = []
    room = Room(4, wake=woken.append)
    for name in ("first", "second"):
        room.enter(key(name), "a")
    for name in ("third", "fourth", "third"):
        with pytest.raises(NoRoom):
            room.enter(key(name), "a")
        room.leave(key(name))  # as every reconcile does at its end
    assert woken == []
    room.leave(key("first"))
    assert woken == [key("third")]
    room.enter(key("third"), "a")
    room.leave(key("third"))
    assert woken == [key("third"), key("fourth")]
    room.leave(key("second"))
    assert len(woken) == 2, "nobody is woken twice"


def test_one_that_was_woken_and_went_elsewhere_passes_its_place_on() -> None:
    woken: list[Key] = []
    room = Room(2, wake=woken.append)
    room.enter(key("first"), "a")
    for name in ("second", "third"):
        with pytest.raises(NoRoom):
            room.enter(key(name), "a")
    room.leave(key("first"))
    room.leave(key("second"))  # its source is gone
    assert woken == [key("second"), key("third")]
