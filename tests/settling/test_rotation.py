"""What waits for a slot is taken lane by lane in turn."""

from typing import cast

from forebay.envelope import encode
from forebay_worker.rotation import Rotation
from forebay_worker.settle import Message
from tests.support.envelopes import envelope
from tests.support.memory_broker import Broker


def messages(queue: str, *ids: str) -> list[Message]:
    broker = Broker()
    broker.queues[queue] += [encode(envelope(id=one, queue=queue)) for one in ids]
    return [cast("Message", broker.deliver(queue)) for _ in ids]


def test_a_lane_that_is_full_does_not_make_the_other_wait() -> None:
    rotation = Rotation()
    for message in (*messages("default:busy", "a1", "a2", "a3"), *messages("default", "b1", "b2")):
        rotation.append(message)
    assert len(rotation) == 5
    assert [rotation.popleft().message_id for _ in range(3)] == ["a1", "b1", "a2"]
    for message in messages("default", "b3"):
        rotation.append(message)
    assert [rotation.popleft().message_id for _ in range(3)] == ["b2", "a3", "b3"]
    assert not rotation
