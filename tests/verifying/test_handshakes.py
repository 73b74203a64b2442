"""What each provider asks before it sends webhooks is answered as it documents; nobody else gets an answer out of it."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forebay.errors import SpecError
from forebay.signatures.elsewhere import Line
from forebay.signatures.handshake import Handshake
from forebay.signatures.presets import preset, presets
from forebay.signatures.replies import MAX_BODY, Denied, Question, Replies, Reply
from forebay.signatures.verify import Reason, Refused, Verifier
from tests.verifying.signed import NOW, raw

KEY, OTHER, TOKEN = b"a signing secret", b"another secret", b"a token of our own"
Answer = Reply | Refused | Denied | None


def ask(name: str, question: Question, secrets: tuple[bytes, ...] = (OTHER, KEY), now: float = NOW) -> Answer:
    known = preset(name)
    if known.scheme.algorithm.public:
        secrets = tuple(PUBLIC if secret == KEY else b"00" * 32 for secret in secrets)
    replies = Replies(known.handshakes, known.scheme, secrets, TOKEN)
    verifier = Verifier(known.scheme, secrets)
    line = Line(question.method, question.target)
    return replies.reply(question, lambda asked: verifier.verify(asked.headers, asked.body, now, line))


DISCORDS = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(KEY).digest())
PUBLIC = DISCORDS.public_key().public_bytes_raw().hex().encode()


def discord(body: bytes) -> list[tuple[str, str]]:
    at = str(int(NOW))
    return [("X-Signature-Ed25519", DISCORDS.sign(at.encode() + body).hex()), ("X-Signature-Timestamp", at)]


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


def _xero(body: bytes) -> list[tuple[str, str]]:
    return [("x-xero-signature", base64.b64encode(hmac.digest(KEY, body, "sha256")).decode())]


def _twitch(body: bytes) -> list[tuple[str, str]]:
    at = datetime.fromtimestamp(NOW, UTC).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    mac = hmac.new(KEY, b"id" + at.encode() + body, "sha256").hexdigest()
    return [
        ("Twitch-Eventsub-Message-Id", "id"),
        ("Twitch-Eventsub-Message-Timestamp", at),
        ("Twitch-Eventsub-Message-Signature", f"sha256={mac}"),
        ("Twitch-Eventsub-Message-Type", "webhook_callback_verification"),
    ]


def nothing(body: bytes) -> list[tuple[str, str]]:
    return []


# https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#responding-to-a-challenge-request
TWITCHS = {"challenge": "pogchamp-kappa-360noscope-vohiyo", "subscription": {"type": "channel.follow"}}
# https://developer.xero.com/documentation/guides/webhooks/configuring-your-server/
XEROS = {"events": [], "firstEventSequence": 0, "lastEventSequence": 0, "entropy": "S0m3r4N"}
# https://learn.microsoft.com/en-us/azure/event-grid/end-point-validation-event-grid-events-schema
CODE = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"
EVENT_GRIDS = [{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": CODE}}]
VALIDATION = "Validation: Testing client application reachability for subscription Request-Id: 522a8e7e-096a-494c-aaf1"
GRID = f"/hooks?code={quote(KEY)}"
ORIGIN = ("WebHook-Request-Origin", "eventgrid.azure.net")
ALLOWED = {"Allow": "POST", "WebHook-Allowed-Origin": "eventgrid.azure.net", "WebHook-Allowed-Rate": "*"}


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
    "Twitch": (post(TWITCHS, _twitch), b"pogchamp-kappa-360noscope-vohiyo"),
    "Xero": (post(XEROS, _xero), b""),
    "Dropbox": (get("/hooks?challenge=aGVsbG8_-"), b"aGVsbG8_-"),
    "MicrosoftGraph": (post(b"", nothing, f"/hooks?validationToken={quote_plus(VALIDATION)}"), VALIDATION.encode()),
    "Okta": (
        get("/hooks", ("X-Okta-Verification-Challenge", "dOTPVxx6cMGAfk-f8Mb")),
        {"verification": "dOTPVxx6cMGAfk-f8Mb"},
    ),
    "Trello": (get("/hooks", method="HEAD"), b""),
    "X": (
        get("/hooks?crc_token=9b4507b3-9040-4669-9ca3-6b94edb50553&nonce=1"),
        {
            "response_token": "sha256="
            + base64.b64encode(hmac.digest(OTHER, b"9b4507b3-9040-4669-9ca3-6b94edb50553", "sha256")).decode()
        },
    ),
    "Asana": (post(b"{}", lambda _: [("X-Hook-Secret", "b537207f20cbfa02357cf448134da559")]), b""),
    "Notion": (post({"verification_token": "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}, nothing), b""),
    "CloudEvents": (get("/hooks", ORIGIN, method="OPTIONS"), b""),
    "EventGrid": (
        post(EVENT_GRIDS, lambda _: [("aeg-event-type", "SubscriptionValidation")], GRID),
        {"validationResponse": CODE},
    ),
    "EventGrid by OPTIONS": (get(GRID, ORIGIN, method="OPTIONS"), b""),
    "WebSub": (get(f"/hooks?hub.mode=subscribe&hub.topic={quote(TOKEN)}&hub.challenge=a1&hub.lease_seconds=9"), b"a1"),
    "Monday": (
        post({"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7"}, nothing),
        {"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7"},
    ),
    "YouTube": (get(METAS), b"1158201444"),
    "Discord": (post({"version": 1, "application_id": "1", "type": 0}, discord), b""),
    "Discord interactions": (post({"type": 1, "id": "1", "token": "a"}, discord), {"type": 1}),
}
STATUSES = {"Discord": 204}


def test_every_provider_with_a_handshake_is_here() -> None:
    # Those that need a published key are in tests/receiving/test_published_keys.py.
    assert {name for name, known in presets().items() if known.handshakes and not known.scheme.algorithm.fetched} == {
        name.partition(" ")[0] for name in ASKED
    }


@pytest.mark.parametrize("name", ASKED)
def test_the_provider_gets_the_answer_it_documents(name: str) -> None:
    question, expected = ASKED[name]
    reply = ask(name.partition(" ")[0], question)
    assert isinstance(reply, Reply)
    assert (json.loads(reply.body) if isinstance(expected, dict) else reply.body) == expected
    assert reply.status == STATUSES.get(name, 200)
    headers = dict(reply.headers)
    if "Origin" in str(question.headers):
        assert ALLOWED.items() <= headers.items()
    assert headers["X-Content-Type-Options"] == "nosniff"
    if reply.body:
        plain = "application/json" if isinstance(expected, dict) else "text/plain; charset=utf-8"
        assert headers["Content-Type"] == plain


SIGNED = ["Slack", "Zoom", "Twitch", "Xero", "Discord", "Discord interactions"]


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_question_is_verified_before_it_is_answered(name: str) -> None:
    question, _ = ASKED[name]
    provider = name.partition(" ")[0]
    forged = Question("POST", question.target, question.headers, question.body + b" ")
    assert ask(provider, forged) == Refused(Reason.BAD_SIGNATURE)
    assert ask(provider, question, (OTHER,)) == Refused(Reason.BAD_SIGNATURE)
    if provider != "Xero":
        assert ask(provider, question, now=NOW + 10_000) == Refused(Reason.TIMESTAMP_TOO_OLD)
    signature = preset(provider).scheme.signature_headers[0].lower().encode()
    rest = tuple(item for item in question.headers if item[0].lower() != signature)
    assert ask(provider, Question("POST", question.target, rest, question.body)) == Refused(Reason.MISSING_SIGNATURE)


@pytest.mark.parametrize("name", ["EventGrid", "EventGrid by OPTIONS"])
def test_a_question_without_the_code_in_its_url_is_refused(name: str) -> None:
    question, _ = ASKED[name]
    for target in ("/hooks", "/hooks?code=nobody"):
        asked = Question(question.method, target, question.headers, question.body)
        assert isinstance(ask("EventGrid", asked), Refused)


WEBHOOKS = [
    ("Discord", post({"type": 1, "event": {"type": "APPLICATION_AUTHORIZED"}}, discord)),
    ("Xero", post({"events": [{"eventType": "CREATE"}]}, _xero)),
    ("Xero", post({"events": {}}, _xero)),
    ("Twitch", post(TWITCHS, lambda body: [*_twitch(body)[:3], ("Twitch-Eventsub-Message-Type", "notification")])),
    ("EventGrid", post([], lambda _: [("aeg-event-type", "Notification")], GRID)),
    ("MicrosoftGraph", post({"value": []}, nothing)),
    ("X", post({"for_user_id": "1"}, nothing)),
    ("Okta", post({}, lambda _: [("X-Okta-Verification-Challenge", "a")])),
    ("Trello", post({}, nothing)),
    ("Monday", post({"event": {"challenge": "a"}}, nothing)),
]


@pytest.mark.parametrize(("name", "question"), WEBHOOKS)
def test_a_webhook_is_no_handshake(name: str, question: Question) -> None:
    assert ask(name, question) is None


def test_what_x_gives_everybody_the_signature_of_is_no_webhook() -> None:
    for text in ("a", "9b4507b3-9040-4669", "x" * 512, "1"):
        reply = ask("X", get(f"/hooks?crc_token={text}"))
        assert isinstance(reply, Reply)
        signature = json.loads(reply.body)["response_token"]
        forged = Question("POST", "/hooks", raw([("x-twitter-webhooks-signature", signature)]), text.encode())
        assert ask("X", forged) == Refused(Reason.BAD_SIGNATURE)
    for text in ('{"a":1}', '["a"]', '"a"', "x" * 513):
        assert ask("X", get(f"/hooks?crc_token={quote(text)}")) is Denied.TEXT


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
