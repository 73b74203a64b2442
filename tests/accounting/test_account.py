"""What the account of a fault run says of a ledger: which webhook counts as lost, as falsely acknowledged, as a duplicate."""

import pytest

from bench.faults.account import Return, account, invites_retry
from bench.faults.ledger import Ledger, Window


def ledger(*, acked: int = 0) -> Ledger:
    """A ledger with so many webhooks sent at 0, 1, 2 … and acknowledged half a second later."""
    made = Ledger("cafe")
    for second in range(acked):
        made.ack(made.send(float(second)), second + 0.5, f"id-{second}")
    return made


def test_an_acknowledged_webhook_that_came_out_nowhere_is_lost_and_named() -> None:
    book = ledger(acked=3)
    book.deliver(0, 2.0, "id-0")
    book.bury(2, "permanent-status", "id-2")
    said = account(book)
    assert said["lost"] == 1
    assert "webhook 1 (id-1)" in said["findings"][0]
    assert (said["acked"], said["delivered"], said["dead_lettered"]) == (3, 1, 1)


def test_a_refused_or_unanswered_webhook_that_came_out_nowhere_is_not_lost() -> None:
    book = ledger()
    book.refuse(book.send(0), 1, 503, "down", retry_after=True)
    book.lose_sight(book.send(0), 1, "reset")
    book.send(0)
    assert account(book)["lost"] == 0


def test_a_refused_or_unanswered_webhook_may_be_delivered_all_the_same_and_is_counted() -> None:
    book = ledger()
    book.refuse(book.send(0), 1, 503, "down", retry_after=True)
    book.lose_sight(book.send(0), 1, "timeout")
    book.deliver(0, 2, "a")
    book.deliver(1, 2, "b")
    said = account(book)
    assert (said["refused_and_delivered"], said["unknown_and_delivered"], said["duplicates"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("begin", "end", "false"),
    [(0.9, 1.6, 1), (1.1, 1.6, 0), (0.9, 1.4, 0), (0.0, 9.0, 3)],
    ids=["within", "sent before it", "answered after it", "all within"],
)
def test_a_2xx_is_false_if_it_was_asked_for_and_given_while_nothing_could_be_stored(
    begin: float, end: float, false: int
) -> None:
    book = ledger(acked=3)
    for number in range(3):
        book.deliver(number, 5, f"id-{number}")
    book.windows.append(Window(cause="broker hangs", begin=begin, end=end))
    said = account(book)
    assert (said["false_2xx"], said["lost"]) == (false, 0)


def test_deliveries_and_dead_letters_beyond_the_first_are_duplicates_of_the_phase_they_came_in() -> None:
    book = ledger(acked=2)
    book.deliver(0, 2, "id-0")
    with book.during("worker killed"):
        book.deliver(0, 3, "id-0")
        book.deliver(0, 4, "id-0")
    book.bury(1, "exhausted", "id-1")
    book.bury(1, "exhausted", "id-1")
    said = account(book)
    assert (said["duplicates"], said["delivered"], said["dead_letter_duplicates"]) == (2, 1, 1)
    assert said["phases"]["worker killed"]["duplicates"] == 2


def test_a_webhook_keeps_one_id_from_its_2xx_to_its_last_delivery() -> None:
    book = ledger(acked=1)
    book.deliver(0, 2, "another")
    early = book.send(3)
    book.deliver(early, 4, "x")  # before the sender has read its answer
    book.ack(early, 5, "x")
    assert account(book)["misnamed"] == 1


def test_what_nobody_sent_is_foreign() -> None:
    book = ledger(acked=1)
    book.deliver(7, 2, "id")
    assert account(book)["damaged"] == 1


@pytest.mark.parametrize(
    ("status", "invites"), [(429, True), (500, True), (503, True), (400, False), (401, False), (302, False)]
)
def test_only_429_and_5xx_make_a_provider_send_again(status: int, invites: bool) -> None:
    assert invites_retry(status) is invites
    book = ledger()
    book.refuse(book.send(0), 1, status, "down", retry_after=True)
    said = account(book)
    assert said["refused_for_good"] == (not invites)
    assert said["refused_by_status"] == {str(status): 1}
    assert said["refused_by_cause"] == {"down": 1}


def test_a_503_without_retry_after_is_counted() -> None:
    book = ledger()
    book.refuse(book.send(0), 1, 503, "down", retry_after=False)
    assert account(book)["refused_without_retry_after"] == 1


def test_the_first_2xx_counts_from_the_return_and_only_for_what_was_sent_after_the_broker_had_gone() -> None:
    book = ledger()
    book.ack(book.send(9.0), 10.2, "in flight when it went")
    book.ack(book.send(11.0), 15.25, "one")
    book.ack(book.send(15.1), 15.2, "two")
    back = Return(cause="crash", gone=10.0, back=15.0, witnessed=True)
    unwitnessed = Return(cause="crash", gone=1.0, back=2.0, witnessed=False)
    said = account(book, [back, unwitnessed])["first_2xx_after_broker_s"]
    assert said == {"p50": 0.2, "max": 0.2, "samples": [0.2]}


def test_a_broker_after_whose_return_nothing_was_accepted_misses_every_bar() -> None:
    said = account(ledger(), [Return(cause="crash", gone=1.0, back=2.0, witnessed=True)])
    assert said["first_2xx_after_broker_s"]["max"] > 1e6
