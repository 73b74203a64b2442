"""forebay providers and forebay verify: what is known of a provider, and what becomes of a recorded request."""

import json
from pathlib import Path

import pytest
from tools import providers_reference

from forebay.signatures.presets import presets
from tests.support.command_line import forebay

Capture = pytest.CaptureFixture[str]

# https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
SECRET = "It's a Secret to Everybody"
HEAD = (
    "POST /github HTTP/1.1\r\n"
    "Host: hooks.example.com\r\n"
    "X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\r\n"
    "X-GitHub-Event: push\r\n"
    "X-GitHub-Delivery: 72d3162e\r\n"
)
BODY = "\r\nHello, World!"
# stripe-dotnet, src/StripeTests/Services/Events/EventUtilityTest.cs; its body is in tests/verifying
TIMED = 'POST /stripe HTTP/1.1\nStripe-Signature: t=1533204620,v1=%s\n\n{"type":"invoice.paid"}' % ("0" * 64)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    file = tmp_path / "recorded.http"
    file.write_bytes((HEAD + BODY).encode())
    return file


def verify(capsys: Capture, file: Path, *arguments: str, provider: str = "github") -> tuple[int, object]:
    ran = forebay(capsys, "verify", "--provider", provider, "--request", str(file), *arguments)
    return ran.status, json.loads(ran.out) if ran.out else ran.err


def test_what_the_provider_signed_is_accepted(capsys: Capture, recorded: Path) -> None:
    accepted = {
        "accepted": True,
        "provider": "GitHub",
        "reason": None,
        "event_type": "push",
        "dedup_key": "72d3162e",
        "handshake": None,
    }
    assert verify(capsys, recorded, "--secret", SECRET) == (0, accepted)
    assert verify(capsys, recorded, "--secret", "another", "--secret", SECRET, provider="GITHUB") == (0, accepted)
    key = recorded.with_name("key")
    key.write_text(SECRET + "\n")
    assert verify(capsys, recorded, "--secret-file", str(key)) == (0, accepted)


def test_lines_may_end_as_an_editor_ends_them(capsys: Capture, recorded: Path) -> None:
    recorded.write_bytes((HEAD.replace("\r\n", "\n") + "\nHello, World!").encode())
    assert verify(capsys, recorded, "--secret", SECRET)[0] == 0


def test_what_is_refused_says_why(capsys: Capture, recorded: Path) -> None:
    recorded.write_bytes((HEAD + BODY + "\n").encode())
    status, answer = verify(capsys, recorded, "--secret", SECRET)
    assert status == 1
    assert isinstance(answer, dict)
    assert (answer["accepted"], answer["reason"], answer["event_type"]) == (False, "bad-signature", "push")


@pytest.mark.parametrize("now", ["1533204620", "2018-08-02T10:10:20Z", "2018-08-02T12:10:20+02:00"])
def test_the_time_can_be_said(capsys: Capture, recorded: Path, now: str) -> None:
    recorded.write_text(TIMED)
    status, answer = verify(capsys, recorded, "--secret", "whsec", "--now", now, provider="stripe")
    assert status == 1
    assert isinstance(answer, dict)
    assert (answer["reason"], answer["event_type"], answer["dedup_key"]) == ("bad-signature", "invoice.paid", None)


def test_a_body_that_is_no_json_has_no_event_type(capsys: Capture, recorded: Path) -> None:
    for body in ("{", "[" * 100_000, '{"type":{}}', ""):
        recorded.write_text(f"POST / HTTP/1.1\nStripe-Signature: t=1,v1=2\n\n{body}")
        status, answer = verify(capsys, recorded, "--secret", "whsec", provider="stripe")
        assert status == 1
        assert isinstance(answer, dict)
        assert answer["event_type"] is None


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("POST / HTTP/1.1\r\nHost: x", ("--secret", "x"), "no empty line after its headers"),
        ("Host: x\n\nbody", ("--secret", "x"), "line 1 is no request line"),
        ("POST / HTTP/1.1\nHost x\n\n", ("--secret", "x"), "line 2 is no header"),
        ("POST / HTTP/1.1\nA: b\n folded: x\n\n", ("--secret", "x"), "line 3 is no header"),
        (HEAD + BODY, (), "provider GitHub needs a secret to check with; give --secret"),
        (HEAD + BODY, ("--secret", ""), "secret 1 of 1 is empty"),
        (HEAD + BODY, ("--secret", "x", "--now", "noon"), "--now 'noon' is no time"),
        (HEAD + BODY, ("--secret", "x", "--now", "2026-11-26T11:30:00"), "is no time; write 2026-11-26T11:30:00Z"),
        (HEAD + BODY, ("--secret", "x", "--tolerance", "5"), "signs no timestamp"),
        (HEAD + BODY, ("--secret", "x", "--tolerance", "soon"), "'soon' is not a valid float"),
    ],
)
def test_what_can_not_be_verified_is_one_line(
    capsys: Capture, recorded: Path, text: str, arguments: tuple[str, ...], said: str
) -> None:
    recorded.write_bytes(text.encode())
    status, error = verify(capsys, recorded, *arguments)
    assert status == 2
    assert isinstance(error, str)
    assert said in error
    assert error.count("\n") == 1


META = "GET /meta?hub.mode=subscribe&hub.challenge=%s&hub.verify_token=%s HTTP/1.1\nHost: a\n\n"


def test_a_handshake_says_what_it_is_answered(capsys: Capture, recorded: Path) -> None:
    recorded.write_text(META % ("123", "t"))
    status, answer = verify(capsys, recorded, "--secret", "s", "--verify-token", "t", provider="meta")
    assert status == 0
    assert isinstance(answer, dict)
    assert (answer["accepted"], answer["handshake"]["status"], answer["handshake"]["body"]) == (True, 200, "123")


@pytest.mark.parametrize(("challenge", "token", "reason"), [("123", "x", "verify-token"), ("<b>", "t", "text")])
def test_a_handshake_that_is_denied_says_why(
    capsys: Capture, recorded: Path, challenge: str, token: str, reason: str
) -> None:
    recorded.write_text(META % (challenge, token))
    status, answer = verify(capsys, recorded, "--secret", "s", "--verify-token", "t", provider="meta")
    assert status == 1
    assert isinstance(answer, dict)
    assert (answer["accepted"], answer["reason"], answer["handshake"]) == (False, reason, None)


def test_a_verify_token_is_asked_for_where_it_is_needed(capsys: Capture, recorded: Path) -> None:
    recorded.write_text(META % ("123", "t"))
    assert "give it with --verify-token" in str(verify(capsys, recorded, "--secret", "s", provider="meta")[1])
    recorded.write_text("POST /meta HTTP/1.1\nX-Hub-Signature-256: sha256=0\n\n{}")
    status, answer = verify(capsys, recorded, "--secret", "s", provider="meta")
    assert isinstance(answer, dict)
    assert (status, answer["reason"]) == (1, "malformed-signature")


SQUARE = (
    "POST /square HTTP/1.1\nx-square-hmacsha256-signature: GF4YkrJgGBDZ9NIYbNXBnMzqb2HoL4RW/S6vkZ9/2N4=\n\n"
    '{"merchant_id":"MLEFBHHSJGVHD","type":"webhooks.test_notification","event_id":"ac3ac95b-f97d-458c-a6e6-18981597e05f",'
    '"created_at":"2022-07-13T20:30:59.037339943Z","data":{"type":"webhooks","id":"bc368e64-01aa-407e-b46e-3231809b1129"}}'
)


def test_the_url_that_a_provider_signs_is_asked_for(capsys: Capture, recorded: Path) -> None:
    # square-python-sdk, tests/utilities/test_webhooks_helper.py
    recorded.write_text(SQUARE)
    key = ("--secret", "Ibxx_5AKakO-3qeNVR61Dw")
    assert "Square signs the URL; give it with --url" in str(verify(capsys, recorded, *key, provider="square")[1])
    url = "https://webhook.site/679a4f3a-dcfa-49ee-bac5-9d0edad886b9"
    assert verify(capsys, recorded, *key, "--url", url, provider="square")[0] == 0
    assert verify(capsys, recorded, *key, "--url", url + "0", provider="square")[0] == 1
    recorded.write_text(SQUARE.replace("/square", "/square?a=b"))
    assert verify(capsys, recorded, *key, "--url", url, provider="square")[0] == 1


def test_an_unknown_provider_is_named_with_those_that_are_known(capsys: Capture, recorded: Path) -> None:
    for command in (("providers", "acme"), ("verify", "--provider", "acme", "--request", str(recorded))):
        ran = forebay(capsys, *command)
        assert ran.status == 2
        assert "'acme' is not known; use one of Adyen, AdyenPlatforms, " in ran.err
    ran = forebay(capsys, "verify", "--provider", "hmac", "--request", str(recorded))
    assert (ran.status, "does not say how it signs" in ran.err) == (2, True)


def test_every_provider_is_listed_and_explained(capsys: Capture) -> None:
    listed = forebay(capsys, "providers")
    assert listed.status == 0
    assert all(name in listed.out for name in presets())
    known = json.loads(forebay(capsys, "providers", "-o", "json").out)
    assert [item["name"] for item in known] == list(presets())
    for item in known:
        told = forebay(capsys, "providers", item["name"].upper())
        assert told.status == 0
        assert item["signature"] in told.out


def test_the_page_in_the_docs_is_that_of_the_presets() -> None:
    assert providers_reference.FILE.read_text("utf-8") == providers_reference.page(), "run `make reference`"
