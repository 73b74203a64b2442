"""One attempt over a real socket: every answer and every silence becomes an Outcome."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import SpecError
from forebay.runtime import Runtime
from forebay.settings import Auth, Destination
from forebay_worker.deliver import HttpDelivery, retry_after
from forebay_worker.outcome import Buried, Delivered, Outcome, Refused, Unreachable
from tests.support.destination import Answer, Request, destination, in_turn, is_silent, says
from tests.support.envelopes import envelope

NOW = 1_790_000_000.0


def nothing(file: str) -> bytes:
    raise SpecError(file)


@asynccontextmanager
async def delivering(answer: Answer, **changes: Any) -> AsyncIterator[HttpDelivery]:
    async with destination(answer) as server:
        settings = {"url": f"http://127.0.0.1:{server.port}/hook", "allow_loopback": True, "timeout_s": 2.0, **changes}
        root = settings.pop("root", None)
        read = Runtime(root=root).read_secret if root else nothing
        deliver = HttpDelivery(Destination(**settings), root=root or Path("/nowhere"), read=read)
        yield deliver
        await deliver.close()


async def outcome(answer: bytes | Answer, one: dict[str, Any] | None = None, **changes: Any) -> Outcome:
    async with delivering(says(answer) if isinstance(answer, bytes) else answer, **changes) as deliver:
        return await deliver(envelope(**(one or {})))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_a_delivery(status: int) -> None:
    assert await outcome(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status) == Delivered(status)


async def test_a_refusal_says_what_the_destination_said() -> None:
    body = b'{\n  "error":\t"no\x00 order\xff"\n}'
    answer = b"HTTP/1.1 422 X\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    said = '{\n  "error":\t"no  order\ufffd"\n}'
    assert await outcome(answer) == Refused(422, 'HTTP 422: { "error": "no order\ufffd" }', answer=said)


async def test_a_long_refusal_is_cut_and_a_compressed_one_left_out() -> None:
    long = await outcome(b"HTTP/1.1 500 X\r\nContent-Length: 3000\r\n\r\n" + b"x" * 3000)
    assert long == Refused(500, "HTTP 500: " + "x" * 200, answer="x" * 2048)
    split = "é".encode() * 1024 + b"x"
    cut = await outcome(b"HTTP/1.1 500 X\r\nContent-Length: 2050\r\n\r\ny" + split)
    assert isinstance(cut, Refused)
    assert cut.answer == "y" + "é" * 1023
    image = b"HTTP/1.1 500 X\r\nContent-Length: 12\r\n\r\n\x89PNG\r\n\x1a\n\0\0\0\r"
    assert await outcome(image) == Refused(500, "HTTP 500")
    gzip = b"HTTP/1.1 500 X\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
    assert await outcome(gzip) == Refused(500, "HTTP 500")


async def test_a_redirect_is_not_followed() -> None:
    answer = b"HTTP/1.1 307 X\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    assert await outcome(answer) == Refused(307, "HTTP 307")


async def test_retry_after_is_told() -> None:
    answer = b"HTTP/1.1 429 X\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n"
    assert await outcome(answer) == Refused(429, "HTTP 429", retry_after=17)


async def test_what_the_destination_sets_as_cookies_is_not_kept() -> None:
    answer = b"HTTP/1.1 500 X\r\nSet-Cookie: session=s3cret\r\nContent-Length: 2\r\n\r\nno"
    assert await outcome(answer) == Refused(500, "HTTP 500: no", answer="no")


@pytest.mark.parametrize(
    ("value", "abort"), [(b"abort-message", True), (b" Abort-Message ", True), (b"disable", False), (b"", False)]
)
async def test_a_destination_can_ask_for_no_further_attempt(value: bytes, abort: bool) -> None:
    answer = b"HTTP/1.1 503 X\r\nWebhook-Delivery: %s\r\nContent-Length: 0\r\n\r\n" % value
    assert await outcome(answer) == Refused(503, "HTTP 503", abort=abort)


async def echoes(request: Request, writer: asyncio.StreamWriter) -> None:
    said = request.head
    writer.write(b"HTTP/1.1 400 X\r\nContent-Length: %d\r\n\r\n" % len(said) + said)


@pytest.mark.parametrize(
    ("auth", "line"),
    [
        (Auth(kind="Bearer", file="token"), "Authorization: Bearer [credential]"),
        (Auth(kind="Basic", username="me", file="token"), "Authorization: Basic [credential]"),
        (Auth(kind="APIKey", file="token"), "X-API-Key: [credential]"),
    ],
)
async def test_a_credential_that_is_answered_back_is_not_kept(auth: Auth, line: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret word")
    found = await outcome(echoes, auth=auth, root=tmp_path)
    assert isinstance(found, Refused)
    assert line in found.answer.splitlines()
    assert "s3cret" not in str(found)


async def test_a_credential_at_the_end_of_what_is_kept_is_not_kept_by_half(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret-and-long")
    said = b"x" * 2040 + b"s3cret-and-long"
    answer = b"HTTP/1.1 400 X\r\nContent-Length: %d\r\n\r\n" % len(said) + said
    found = await outcome(answer, auth=Auth(kind="Bearer", file="token"), root=tmp_path)
    assert isinstance(found, Refused)
    assert found.answer == "x" * 2040 + "[credential]"


async def test_a_timeout_is_an_outcome() -> None:
    assert await outcome(is_silent, timeout_s=0.05) == Unreachable("no answer within 0.05 s", "timeout")


async def test_an_address_the_platform_does_not_allow_is_an_outcome() -> None:
    found = await outcome(b"", allow_loopback=False)
    assert isinstance(found, Unreachable)
    assert found.cause == "blocked"


async def test_a_webhook_that_can_not_be_sent_is_buried() -> None:
    found = await outcome(b"", {"method": "get\r\n"})
    assert isinstance(found, Buried)
    assert found.reason == "undeliverable"


async def test_a_head_request_is_answered_without_a_body() -> None:
    assert await outcome(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n", method="HEAD") == Delivered(200)


async def test_a_rotated_credential_is_read_again_when_the_destination_refuses_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old\n")
    answer = in_turn(says(b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n"), says(b"HTTP/1.1 204 X\r\n\r\n"))
    async with destination(answer) as server:
        deliver = HttpDelivery(
            Destination(
                url=f"http://127.0.0.1:{server.port}/", allow_loopback=True, auth=Auth(kind="Bearer", file="token")
            ),
            root=tmp_path,
            read=Runtime(root=tmp_path).read_secret,
        )
        await deliver(envelope())
        (tmp_path / "token").write_text("new\n")
        await deliver(envelope())
        assert [request.header("authorization") for request in server.requests] == ["Bearer old", "Bearer new"]
        await deliver.close()


async def test_a_ca_that_is_none_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("no certificate")
    for file in ("ca", "missing"):
        with pytest.raises(SpecError, match=r"destination\.ca_file"):
            HttpDelivery(Destination(url="https://a.example/", ca_file=file), root=tmp_path, read=nothing)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Mon, 21 Sep 2026 14:14:20 GMT", 60.0),
        ("Monday, 21-Sep-26 14:14:20 GMT", 60.0),
        ("Mon, 21 Sep 2026 14:12:20 GMT", 0.0),
        ("Mon, 21 Sep 2026 16:14:20 +0200", 60.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("9" * 400, None),
        ("Mon, 99 Sep 2026 14:14:20 GMT", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text())
def test_any_retry_after_is_read_or_left(value: str) -> None:
    found = retry_after(value, NOW)
    assert found is None or found >= 0
