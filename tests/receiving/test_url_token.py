"""A secret part of the URL: without it nobody answers, and nothing behind the endpoint ever sees it."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.envelope import decode
from forebay.errors import SpecError
from forebay.settings import Match, Route, Verification
from forebay_ingest.url_token import UrlTokens
from tests.receiving.endpoint import OPEN, PATH, Endpoint, request
from tests.receiving.wire import Reply, finals
from tests.support.waiting import eventually, so
from tests.verifying import test_tokens

OLD, NEW = "an-old-token-0123456789", "a_new_token_ABCDEFGHIJ"
FILES = ("secrets/gh/secret", "secrets/gh/next")
BOTH = {"verification": OPEN, "url_token_files": FILES, "secret": OLD.encode()}


async def say(it: Endpoint, data: bytes) -> Reply:
    (reply,) = finals(await it.say(data))
    return reply


def to(suffix: str, body: bytes = b"{}") -> bytes:
    return request(body, target=f"{PATH}{suffix}", secret=None)


@pytest.fixture
def opened(endpoint: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """The endpoint with two tokens."""

    def one(**changes: Any) -> Any:
        (tmp_path / "secrets/gh").mkdir(parents=True)
        (tmp_path / FILES[1]).write_text(NEW)
        (tmp_path / "secrets/gh/key").write_bytes(test_tokens.KEY)
        return endpoint(**{**BOTH, **changes})

    return one


@pytest.mark.parametrize(
    ("suffix", "status"),
    [
        (f"/{OLD}", 202), (f"/{NEW}", 202), (f"/{NEW}/", 202), (f"/{NEW}/deeper?a=b", 202), (f"/{NEW}?token=x", 202),
        ("", 404), ("/", 404), (f"/{OLD[:-1]}", 404), (f"/{OLD}x", 404), (f"/x/{OLD}", 404), (f"//{OLD}", 404),
        (f"?{OLD}", 404), (f"{OLD}", 404), (f"/{OLD.upper()}", 404), (f"/%61{OLD[1:]}", 404), ("/%C3%A4" * 3, 404),
    ],
)  # fmt: skip
async def test_without_one_of_the_tokens_nobody_answers(opened: Callable[..., Any], suffix: str, status: int) -> None:
    async with opened() as it:
        reply = await say(it, to(suffix))
        assert reply.status == status
        assert OLD.encode() not in reply.body
        assert it.metric("forebay_ingest_refused_total", cause="not-found", status="404") == (status == 404)


async def test_no_token_goes_further_than_the_head_of_its_request(opened: Callable[..., Any]) -> None:
    routes = (Route(queue="deep", match=Match(path_suffix="/deeper")), Route(queue="default"))
    async with opened(routes=routes) as it:
        assert (await say(it, to(f"/{NEW}/deeper?a=b"))).status == 202
        assert (await say(it, to(f"/{OLD}"))).status == 202
        assert (await say(it, request(b"{}", target=f"{PATH}/{OLD}", method="PATCH", secret=None))).status == 405
        deep, plain = it.broker.published
        assert deep.routing_key.endswith(".deep")
        properties = deep.properties
        envelope = decode(properties.message_id, properties.content_type, properties.headers, deep.body)
        assert envelope.target == f"{PATH}/deeper?a=b"
        assert plain.properties.headers["forebay-target"] == PATH
        told = it.log.getvalue() + str(list(it.ingest.registry.collect())) + str(it.broker.written)
        assert not any(token in told for token in (OLD, NEW))
        assert json.loads(it.log.getvalue().splitlines()[-1])["cause"] == "method"


async def test_a_token_is_rotated_while_the_endpoint_runs_and_a_bad_one_locks_nobody_out(
    opened: Callable[..., Any],
) -> None:
    async with opened() as it:
        it.rotate(b"short")
        await eventually(so(lambda: "secrets.unusable" in it.log.getvalue()), every_s=0.005)
        assert (await say(it, to(f"/{OLD}"))).status == 202
        it.rotate(b"another-one-01234567")
        await eventually(so(lambda: "secrets.reloaded" in it.log.getvalue()), every_s=0.005)
        statuses = [(await say(it, to(f"/{token}"))).status for token in (OLD, NEW, "another-one-01234567")]
        assert statuses == [404, 202, 202]


async def test_a_provider_that_signs_the_url_signs_the_token_too(opened: Callable[..., Any]) -> None:
    base = "https://hooks.example.com/hooks"
    headers, body, line = test_tokens.twilio(f"{base}/{NEW}", test_tokens.FORM, signed=test_tokens.SIGNED)
    lines = [f"{name.decode()}: {value.decode('latin-1')}" for name, value in headers]
    verification = Verification(provider="Twilio", secret_files=("secrets/gh/key",))
    async with opened(verification=verification, public_url=base) as it:
        target = PATH + line.url.removeprefix(base)
        for asked, status in ((target, 202), (target.replace(NEW, OLD), 401)):
            assert (await say(it, request(body, *lines, target=asked, secret=None))).status == status


@pytest.mark.parametrize(
    "token", [b"", b"short", b"x" * 129, b"with/a/slash/0123456", b"with space 0123456", b"\xff" * 20]
)
def test_a_token_that_could_be_guessed_or_breaks_the_path_is_refused(token: bytes) -> None:
    with pytest.raises(SpecError, match="openssl rand"):
        UrlTokens(PATH, [token])


@given(st.text(max_size=200), st.sampled_from(["/", "/a", "/a/b/"]))
def test_whatever_is_asked_for_nothing_is_raised(asked: str, path: str) -> None:
    tokens = UrlTokens(path, [OLD.encode()])
    assert tokens.opened(SimpleNamespace(path="/" + asked)) is None


@pytest.mark.parametrize(
    ("path", "asked", "found"),
    [("/", f"/{OLD}", "/"), ("/", f"/{OLD}/a", "/a"), ("/a/", f"/a/{OLD}", "/a/"), ("/a", f"/a/{OLD}/?b", "/a/?b")],
)
def test_the_path_is_as_it_would_be_without_the_token(path: str, asked: str, found: str) -> None:
    head = SimpleNamespace(
        path=asked,
        method="POST",
        version=(1, 1),
        headers={},
        raw_headers=(),
        should_close=False,
        upgrade=False,
        chunked=False,
    )
    opened = UrlTokens(path, [OLD.encode()]).opened(head)
    assert opened is not None
    assert opened.path == found
    assert opened.below == asked[len(path) :]
