"""What each provider asks before it sends webhooks is answered as it documents; nobody else gets an answer out of it."""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from forebay.errors import SpecError
from forebay.signatures.handshake import Handshake
from forebay.signatures.presets import preset, presets
from forebay.signatures.replies import MAX_BODY, Denied, Question, Replies, Reply
from forebay.signatures.verify import Reason, Refused, Verifier
from tests.verifying.signed import NOW, raw

KEY, OTHER, TOKEN = b"a signing secret", b"another secret", b"a token of our own"
Answer = Reply | Refused | Denied | None


def ask(name: str, question: Question, secrets: tuple[bytes, ...] = (OTHER, KEY), now: float = NOW) -> Answer:
    known = preset(name)
    replies = Replies(known.handshakes, known.scheme, secrets, TOKEN)
    verifier = Verifier(known.scheme, secrets)
    return replies.reply(question, lambda headers, body: verifier.verify(headers, body, now))


def v0(header: str, stamp: str) -> Callable[[bytes], list[tuple[str, str]]]:
    def signed(body: bytes) -> list[tuple[str, str]]:
        mac = hmac.new(KEY, f"v0:{int(NOW)}:".encode() + body, "sha256").hexdigest()
        return [(header, f"v0={mac}"), (stamp, str(int(NOW)))]

    return signed


SLACK = v0("X-Slack-Signature", "X-Slack-Request-Timestamp")
ZOOM = v0("x-zm-signature", "x-zm-request-timestamp")


def post(content: Any, sign: Callable[[bytes], list[tuple[str, str]]], target: str = "/hooks") -> Question:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Question("POST", target, raw([("Host", "a"), *sign(body)]), body)


def get(target: str, *headers: tuple[str, str], method: str = "GET") -> Question:
    return Question(method, target, raw([("Host", "a"), *headers]))


CHALLENGE = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
# https://docs.slack.dev/reference/events/url_verification
SLACKS = {"token": "Jhj5dZrVaK7ZwHHjRyZWjbDl", "challenge": CHALLENGE, "type": "url_verification"}
# https://developers.zoom.us/docs/api/webhooks/#validate-your-webhook-endpoint
ZOOMS = {
    "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"},
    "event_ts": 1654503849680,
    "event": "endpoint.url_validation",
}
METAS = f"/hooks?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={quote(TOKEN)}"


def hmac_hex(key: bytes, text: bytes) -> str:
    return hmac.new(key, text, hashlib.sha256).hexdigest()


# What is asked, and the body of the answer as the provider documents it.
ASKED: dict[str, tuple[Question, bytes | dict[str, object]]] = {
    "Slack": (post(SLACKS, SLACK), CHALLENGE.encode()),
    "Zoom": (
        post(ZOOMS, ZOOM),
        {
            "plainToken": "qgg8vlvZRS6UYooatFL8Aw",
            "encryptedToken": hmac_hex(KEY, b"qgg8vlvZRS6UYooatFL8Aw"),
        },
    ),
    "Meta": (get(METAS), b"1158201444"),
}


def test_every_provider_with_a_handshake_is_here() -> None:
    assert {name for name, known in presets().items() if known.handshakes} == {name.partition(" ")[0] for name in ASKED}


@pytest.mark.parametrize("name", ASKED)
def test_the_provider_gets_the_answer_it_documents(name: str) -> None:
    question, expected = ASKED[name]
    reply = ask(name.partition(" ")[0], question)
    assert isinstance(reply, Reply)
    assert (json.loads(reply.body) if isinstance(expected, dict) else reply.body) == expected
    headers = dict(reply.headers)
    assert headers["X-Content-Type-Options"] == "nosniff"
    if reply.body:
        plain = "application/json" if isinstance(expected, dict) else "text/plain; charset=utf-8"
        assert headers["Content-Type"] == plain


SIGNED = [name for name in ASKED if any(item.verified for item in preset(name.partition(" ")[0]).handshakes)]


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_question_is_verified_before_it_is_answered(name: str) -> None:
    question, _ = ASKED[name]
    provider = name.partition(" ")[0]
    forged = Question("POST", question.target, question.headers, question.body.replace(b"a", b"b", 1))
    assert ask(provider, forged) == Refused(Reason.BAD_SIGNATURE)
    assert ask(provider, question, (OTHER,)) == Refused(Reason.BAD_SIGNATURE)
    assert ask(provider, question, now=NOW + 10_000) == Refused(Reason.TIMESTAMP_TOO_OLD)
    unsigned = Question("POST", question.target, raw([("Host", "a")]), question.body)
    assert ask(provider, unsigned) == Refused(Reason.MISSING_SIGNATURE)


def test_the_secret_that_signed_the_question_makes_the_answer() -> None:
    for secrets in ((KEY, OTHER), (OTHER, KEY)):
        reply = ask("Zoom", post(ZOOMS, ZOOM), secrets)
        assert isinstance(reply, Reply)
        assert json.loads(reply.body)["encryptedToken"] == hmac_hex(KEY, b"qgg8vlvZRS6UYooatFL8Aw")


@pytest.mark.parametrize("name", ["Slack", "Zoom"])
@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"null", b"{", b"[" * 4000, b'"url_verification"', b"\xff",
        b'{"type":"event_callback","challenge":"url_verification"}',
        b'{"event":"meeting.started","payload":{"plainToken":"endpoint.url_validation"}}',
        b'{"type":["url_verification"],"challenge":"a"}',
        b'{"challenge":"a","type":"url_verification","x":"' + b"x" * MAX_BODY + b'"}',
    ],
)  # fmt: skip
def test_what_is_no_handshake_is_a_webhook(name: str, body: bytes) -> None:
    assert ask(name, post(body, SLACK if name == "Slack" else ZOOM)) is None


STRANGE = [
    "", " " * 513, "x" * 513, "<script>alert(1)</script>", '{"a":1}', "a\r\nSet-Cookie: a=b", "\u00e9", "a\0b", "\ud800",
    "{mac}", "a&b", "'", "a\n",
]  # fmt: skip


@pytest.mark.parametrize("text", STRANGE)
def test_only_short_and_harmless_texts_are_given_back(text: str) -> None:
    assert ask("Slack", post(SLACKS | {"challenge": text}, SLACK)) is Denied.TEXT
    assert ask("Zoom", post(ZOOMS | {"payload": {"plainToken": text}}, ZOOM)) is Denied.TEXT
    target = METAS.replace("1158201444", quote(text.encode(errors="surrogatepass")))
    assert ask("Meta", get(target)) is Denied.TEXT


@pytest.mark.parametrize("value", [1, None, True, ["a"], {"a": "b"}])
def test_a_challenge_that_is_no_text_is_not_given_back(value: object) -> None:
    assert ask("Slack", post(SLACKS | {"challenge": value}, SLACK)) is Denied.TEXT


@pytest.mark.parametrize(
    "token", ["", "another", TOKEN.decode() + "x", TOKEN.decode()[:-1], "\u00e9", "%FF", "x" * 9999]
)
def test_another_verify_token_is_denied(token: str) -> None:
    target = METAS.replace(quote(TOKEN), quote(token) if token != "%FF" else token)
    assert ask("Meta", get(target)) is Denied.TOKEN


@pytest.mark.parametrize(
    "target",
    [
        "/hooks", "/hooks?", "/hooks?hub.mode=subscribe", METAS.replace("subscribe", "unsubscribe"),
        METAS + "&hub.challenge=2", METAS + f"&hub.verify_token={quote(TOKEN)}", METAS + "&hub.mode=subscribe",
        METAS + "&a=b" * 40, METAS.partition("&hub.verify")[0],
    ],
)  # fmt: skip
def test_a_question_that_is_not_whole_or_says_something_twice_is_none(target: str) -> None:
    assert ask("Meta", get(target)) is None


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_a_question_by_another_method_is_none(method: str) -> None:
    assert ask("Meta", get(METAS, method=method)) is None


def test_without_a_verify_token_to_compare_with_there_is_no_answer_at_all() -> None:
    for token in (None, b""):
        with pytest.raises(SpecError, match="verify token"):
            Replies(preset("Meta").handshakes, preset("Meta").scheme, (KEY,), token)


def test_the_head_alone_tells_what_is_expected() -> None:
    meta = Replies(preset("Meta").handshakes, preset("Meta").scheme, (KEY,), TOKEN)
    assert meta.expects(get(METAS))
    assert not meta.expects(get("/hooks"))
    assert not meta.expects(get(METAS, method="POST"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "PATCH"}, "method is GET or HEAD or OPTIONS or POST"),
        ({"when": ("body:a",)}, "neither query:NAME nor header:NAME nor json:PATH"),
        ({"reflects": "challenge", "answer": "{value}"}, "neither query:NAME"),
        ({"token": ""}, "neither query:NAME"),
        ({"reflects": "query:a"}, "do not fit"),
        ({"answer": "{mac}"}, "do not fit"),
        ({"status": 302}, "answered 2xx"),
        ({"headers": ("A",)}, "no header"),
        ({"headers": ("A: b\r\nC: d",)}, "no header"),
        ({"method": "GET", "when": ("json:a",)}, "no body"),
    ],
)
def test_a_handshake_that_can_not_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Handshake(**{"method": "POST", "says": "Sometimes.", **given})
