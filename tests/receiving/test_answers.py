"""Every answer is HTTP that a strict reader accepts, and a refusal tells its sender what to do and nothing more."""

import json
import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from forebay.errors import SpecError
from forebay.settings import Answer
from forebay_ingest import answers
from forebay_ingest.answers import BROKER_REFUSALS, Answers, Refusal
from tests.receiving.wire import Reply, replies

REFUSALS = [value for value in vars(answers).values() if isinstance(value, Refusal)] + list(BROKER_REFUSALS.values())


def made(**accepted: Any) -> Answers:
    return Answers(Answer(**accepted), retry_after_s=7, allow=("POST", "PUT"))


def accepted(close: bool = False, **answer: Any) -> Reply:
    (reply,) = replies(made(**answer).accepted(b"the-id", close=close))
    return reply


def refused(refusal: Refusal, *, close: bool = False) -> Reply:
    (reply,) = replies(made().refused(refusal, close=close))
    return reply


def test_accepted_says_202_and_the_id_by_default() -> None:
    reply = accepted()
    assert (reply.status, reply.body) == (202, b"")
    assert reply.headers["x-forebay-id"] == "the-id"
    assert reply.headers["content-length"] == "0"
    assert "connection" not in reply.headers
    assert "content-type" not in reply.headers


def test_a_response_can_be_what_a_provider_asks_for() -> None:
    reply = accepted(status=200, body="[accepted] ü", headers=(("X-A", "1"), ("X-A", "2")))
    assert (reply.status, reply.body.decode()) == (200, "[accepted] ü")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-a"] == "1, 2"


def test_the_last_answer_of_a_connection_says_so() -> None:
    assert accepted(close=True).headers["connection"] == "close"
    assert refused(answers.SLOW, close=True).headers["connection"] == "close"


def test_a_204_has_neither_length_nor_body() -> None:
    assert made(status=204, body="x").accepted(b"i", close=False).endswith(b"\r\n\r\n")
    reply = accepted(status=204, body="x")
    assert "content-length" not in reply.headers
    assert reply.headers["x-forebay-id"] == "the-id"


@pytest.mark.parametrize("status", range(200, 300))
def test_any_2xx_can_be_asked_for(status: int) -> None:
    assert accepted(status=status).status == status


@pytest.mark.parametrize(
    "header",
    [("Content-Length", "5"), ("transfer-encoding", "chunked"), ("Connection", "close"), ("X-A", "1\r\nX-B: 2"),
     ("X-Forebay-Id", "x"), ("x-forebay-own", "x"), ("Content-Type", "text/html"), ("X-A", "é")],
)  # fmt: skip
def test_headers_that_would_break_the_answer_are_refused_at_the_start(header: tuple[str, str]) -> None:
    with pytest.raises(SpecError, match=r"answer"):
        made(headers=(header,))


def test_a_content_type_that_is_no_ascii_is_refused_at_the_start() -> None:
    with pytest.raises(SpecError, match="Content-Type"):
        made(body="x", content_type="text/ä")


def test_the_date_is_now_and_moves_on() -> None:
    maker = made()
    (reply,) = replies(maker.accepted(b"i", close=False))
    assert abs(parsedate_to_datetime(reply.headers["date"]).timestamp() - time.time()) < 3
    maker.tick(0)
    for data in (maker.accepted(b"i", close=False), maker.refused(answers.NOT_FOUND, close=False)):
        (reply,) = replies(data)
        assert reply.headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.cause)
def test_a_refusal_is_a_problem_document_that_does_not_leak(refusal: Refusal) -> None:
    reply = refused(refusal)
    problem = json.loads(reply.body)
    assert reply.headers["content-type"] == "application/problem+json"
    assert problem["status"] == reply.status == refusal.status
    assert problem["type"] == f"https://forebay.dev/problems/{refusal.cause}"
    assert problem["title"]
    assert problem.keys() == {"type", "title", "status", "detail"}
    for word in ("amqp", "rabbit", "broker", "queue", "exchange", "python", "secret", "traceback"):
        assert word not in problem["detail"].lower()
    assert "date" in reply.headers


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.cause)
def test_what_is_ours_to_mend_makes_the_provider_come_back(refusal: Refusal) -> None:
    reply = refused(refusal)
    assert refusal.status not in range(500, 503)
    assert ("retry-after" in reply.headers) == (refusal.status in (429, 503))
    assert reply.headers.get("retry-after", "7") == "7"


def test_a_wrong_method_is_told_the_right_ones() -> None:
    assert refused(answers.METHOD).headers["allow"] == "POST, PUT"
    assert "allow" not in refused(answers.NOT_FOUND).headers


def test_an_answer_to_head_has_the_headers_and_no_body() -> None:
    whole, head = (made().refused(answers.METHOD, close=False, head_only=only) for only in (False, True))
    assert whole.startswith(head)
    assert head.endswith(b"\r\n\r\n")


def test_causes_are_unique() -> None:
    causes = [refusal.cause for refusal in REFUSALS]
    assert len(set(causes)) == len(causes)
