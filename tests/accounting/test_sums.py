"""The account of a whole run: the sums over its kinds of source, each of which stays told."""

from bench.faults.account import Return, account
from bench.faults.ledger import Ledger
from bench.faults.sums import total


def told(webhooks: int, wait: float) -> dict[str, object]:
    """The account of so many webhooks, of which the first is delivered, after a broker that came back."""
    book = Ledger("cafe")
    for second in range(webhooks):
        book.ack(book.send(10.0 + second), 10.0 + second + wait, f"id-{second}")
    book.deliver(0, 20, "id-0")
    book.refuse(book.send(0), 1, 503, "down", retry_after=True)
    back = Return(cause="crash", gone=9.0, back=10.0, witnessed=True)
    return {
        **account(book, [back]), "left_in_queues": webhooks, "left_by_queue": {"a": webhooks}, "kills": {"broker": 1},
    }  # fmt: skip


def test_what_was_counted_is_summed_and_what_was_measured_is_put_together() -> None:
    found = total({"plain": told(1, 0.25), "together": told(3, 0.75)})
    assert (found["acked"], found["lost"], found["left_in_queues"]) == (4, 2, 4)
    assert (found["kills"], found["refused_by_cause"], found["left_by_queue"]) == ({"broker": 2}, {"down": 2}, {"a": 4})
    assert found["first_2xx_after_broker_s"] == {"p50": 0.5, "max": 0.75, "samples": [0.25, 0.75]}
    assert found["findings"][0].startswith("together: lost: webhook 1 ")
    assert found["kinds"]["together"]["lost"] == 2
