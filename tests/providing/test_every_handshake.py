"""What each provider asks before it sends webhooks, through a real endpoint and through `forebay verify`: the answer it documents."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forebay.settings import Handshake, Jwt, Verification
from forebay.signatures.presets import preset, presets
from forebay.signatures.replies import Question, Replies, Reply
from forebay_ingest import handshakes
from tests.receiving import test_published_keys, wire
from tests.receiving.endpoint import Endpoint
from tests.support.command_line import forebay
from tests.verifying.signed import NOW
from tests.verifying.test_handshakes import ASKED, KEY, PUBLIC, TOKEN, ask

URL = "https://hooks.example.com/hooks"
JWT = Jwt(audience="us", keys_url="https://issuer.example.com/keys", issuers=("https://issuer.example.com",))
# Whose secret comes by the handshake: there is none before it.
SENDING = ("Asana", "Notion")
# Asked by who is known by a published key, or by nobody who is: those that are signed are in tests/receiving/test_published_keys.py.
TOKENED = {
    "MicrosoftGraphTokens": ASKED["MicrosoftGraph"][0],
    "EventGridEntra by OPTIONS": replace(ASKED["EventGrid by OPTIONS"][0], target="/hooks"),
}


def bytes_of(question: Question) -> bytes:
    lines = [b"%b: %b" % header for header in question.headers if header[0].lower() != b"content-length"]
    length = b"Content-Length: %d" % len(question.body)
    first = f"{question.method} {question.target} HTTP/1.1".encode()
    return b"\r\n".join([first, *lines, length]) + b"\r\n\r\n" + question.body


def secret_of(provider: str) -> bytes:
    return PUBLIC if preset(provider).scheme.algorithm.public else KEY


def expected(name: str) -> Reply:
    provider = name.partition(" ")[0]
    if name in TOKENED:
        known = preset(provider)
        reply = Replies(known.handshakes, known.scheme, ()).reply(
            TOKENED[name], lambda _: pytest.fail("it is not signed")
        )
    else:
        reply = ask(provider, ASKED[name][0], (KEY,))
    assert isinstance(reply, Reply)
    return reply


def settings(provider: str) -> dict[str, Any]:
    fetched = preset(provider).scheme.algorithm.fetched
    shown = any(item.token for item in preset(provider).handshakes)
    files = () if fetched else ("secrets/gh/secret",)
    return {
        "verification": Verification(provider=provider, secret_files=files, jwt=JWT if fetched else None),
        "handshake": Handshake(
            token_file="secrets/storage/credentials" if shown else None, captures_secret=provider in SENDING
        ),
        "path": "/hooks",
        "public_url": URL if preset(provider).scheme.signs_url else None,
        "secret": b"" if provider in SENDING else secret_of(provider),
        "credentials": TOKEN,
    }


def question_of(name: str) -> Question:
    return TOKENED[name] if name in TOKENED else ASKED[name][0]


async def say(it: Endpoint, data: bytes) -> wire.Reply:
    (reply,) = wire.finals(await it.say(data))
    return reply


def test_every_handshake_there_is_is_asked() -> None:
    asked = {name.partition(" ")[0] for name in (*ASKED, *TOKENED)}
    assert asked | {"SNS"} == {name for name, known in presets().items() if known.handshakes}
    assert "SNS" in Path(test_published_keys.__file__).read_text()  # a subscription is confirmed by a visit, and signed
    assert len(asked) >= 16


@pytest.mark.parametrize("name", [*ASKED, *TOKENED])
async def test_a_real_endpoint_answers_it_as_documented_and_queues_nothing(
    name: str, endpoint: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "time", SimpleNamespace(time=lambda: NOW))
    wanted = expected(name)
    provider = name.partition(" ")[0]
    async with endpoint(**settings(provider)) as it:
        reply = await say(it, bytes_of(question_of(name)))
        assert (reply.status, reply.body) == (wanted.status, wanted.body)
        assert {header.lower(): value for header, value in wanted.headers}.items() <= reply.headers.items()
        sent = [publish.routing_key for publish in it.broker.published]
        assert sent == (["forebay.payments.github.handshake.secret"] if provider in SENDING else [])
        assert it.metric("forebay_ingest_handshakes_total") == 1


@pytest.mark.parametrize("name", [*ASKED, *TOKENED])
def test_forebay_verify_shows_the_same_answer(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted, provider = expected(name), name.partition(" ")[0]
    (tmp_path / "asked.http").write_bytes(bytes_of(question_of(name)))
    scheme = preset(provider).scheme
    arguments = (
        ["--audience", "us", "--issuer", JWT.issuers[0]]
        if scheme.algorithm.fetched
        else ["--secret", secret_of(provider).decode()]
    )
    arguments += [
        "--verify-token",
        TOKEN.decode(),
        "--now",
        str(int(NOW)),
        *(["--url", URL] if scheme.signs_url else []),
    ]
    ran = forebay(capsys, "verify", "--provider", provider, "--request", str(tmp_path / "asked.http"), *arguments)
    assert ran.status == 0, ran.err
    said = json.loads(ran.out)
    assert said["accepted"]
    assert said["handshake"] == {
        "status": wanted.status, "headers": dict(wanted.headers), "body": wanted.body.decode(),
    }  # fmt: skip
