"""Where a provider does not sign the body: the secret itself is shown, or something beside the body is signed."""

import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from forebay.errors import SpecError
from forebay.signatures.elsewhere import MAX_FIELDS, Line
from forebay.signatures.presets import preset
from forebay.signatures.scheme import Timestamp
from forebay.signatures.sign import sign
from forebay.signatures.verify import Reason, Verifier
from tests.verifying.signed import NOW, RawHeaders, raw, verdict

KEY, OTHER = b"Zoe:a key of 32 bytes, as they are", b"another"
URL = "https://hooks.example.com/hooks"
Request = tuple[RawHeaders, bytes, Line]


def _shown(header: str, prefix: str = "", spell: Callable[[bytes], bytes] = bytes) -> Callable[[bytes], Request]:
    return lambda key: (raw([("Host", "a"), (header, prefix + spell(key).decode())]), b"{}", Line("POST", URL))


def _graph(key: bytes) -> Request:
    items = [{"clientState": key.decode(), "changeType": "updated"}] * 2
    return raw([("Host", "a")]), json.dumps({"value": items}).encode(), Line("POST", URL)


def _event_grid(key: bytes) -> Request:
    coded = key.decode().replace(" ", "%20").replace(",", "%2C")
    return raw([("aeg-event-type", "Notification")]), b"[]", Line("POST", f"{URL}?api-version=1&code={coded}")


def mailgun(key: bytes = KEY, now: float = NOW, **changes: Any) -> Request:
    """As Mailgun documents it: the HMAC of time and token, both in the body."""
    stamp, token = str(int(now)), "c5fe1b1d"
    signature = hmac.new(key, (stamp + token).encode(), "sha256").hexdigest()
    said = {"timestamp": stamp, "token": token, "signature": signature, **changes}
    body = {
        "signature": {name: value for name, value in said.items() if value is not None},
        "event-data": {"event": "x"},
    }
    return raw([("Host", "a")]), json.dumps(body).encode(), Line("POST", URL)


def adyen(key: bytes = KEY, times: int = 1, signature: str | None = None, **changes: Any) -> Request:
    """As Adyen documents it for webhooks of payments: eight fields of the item in the body."""
    fields = ("8515131751004933", "", "AcmeAccount", "order: 1", "1000", "EUR", "AUTHORISATION", "true")
    made = base64.b64encode(hmac.digest(key, ":".join(fields).encode(), "sha256")).decode()
    item = {
        "additionalData": {"hmacSignature": made if signature is None else signature},
        "amount": {"currency": "EUR", "value": 1000},
        "eventCode": "AUTHORISATION",
        "merchantAccountCode": "AcmeAccount",
        "merchantReference": "order: 1",
        "pspReference": "8515131751004933",
        "success": "true",
        **changes,
    }
    body = {"live": "false", "notificationItems": [{"NotificationRequestItem": item}] * times}
    return raw([("Host", "a")]), json.dumps(body).encode(), Line("POST", URL)


def _url64(text: bytes) -> bytes:
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def monday(key: bytes = KEY, now: float = NOW, alg: object = "HS256", prefix: str = "", **claims: Any) -> Request:
    """As RFC 7515 puts a token together."""
    said = {"aud": URL, "accountId": 1, "iat": int(now), "exp": int(now) + 300, **claims}
    parts = [_url64(json.dumps(part).encode()) for part in ({"alg": alg, "typ": "JWT"}, said)]
    parts.append(_url64(hmac.digest(key, b".".join(parts), "sha256")))
    return raw([("Host", "a"), ("Authorization", prefix + b".".join(parts).decode())]), b"{}", Line("POST", URL)


HOW: dict[str, Callable[[bytes], Request]] = {
    "Adyen": adyen,
    "ApiKey": _shown("X-API-Key"),
    "BasicAuth": _shown("Authorization", "Basic ", base64.b64encode),
    "Bearer": _shown("Authorization", "Bearer "),
    "CloudEvents": _shown("Authorization", "Bearer "),
    "EventGrid": _event_grid,
    "GitLabToken": _shown("X-Gitlab-Token"),
    "Mailgun": mailgun,
    "MicrosoftGraph": _graph,
    "Monday": monday,
    "Okta": _shown("Authorization"),
}
every_provider = pytest.mark.parametrize("name", sorted(HOW))


def answer(name: str, request: Request, secrets: tuple[bytes, ...] = (OTHER, KEY), now: float = NOW) -> object:
    headers, body, line = request
    spelled = tuple(secret.hex().encode() for secret in secrets) if name == "Adyen" else secrets
    return verdict(preset(name).scheme, spelled, headers, body, now, line)


@every_provider
def test_the_right_secret_is_let_in_and_so_is_the_second_one(name: str) -> None:
    assert answer(name, HOW[name](KEY)) == 1
    assert answer(name, HOW[name](OTHER)) == 0


@every_provider
def test_every_other_secret_is_refused(name: str) -> None:
    others = (b"nobody", KEY + b"x", KEY[:-1], KEY.swapcase(), KEY + b" ")
    for other in others:
        assert isinstance(answer(name, HOW[name](other)), Reason)
    assert answer(name, HOW[name](KEY), secrets=()) is Reason.NO_SECRET


@every_provider
def test_nothing_shown_is_refused(name: str) -> None:
    nothing = (raw([("Host", "a")]), b"{}", Line("POST", URL))
    assert answer(name, nothing) is Reason.MISSING_SIGNATURE
    assert isinstance(answer(name, HOW[name](b"")), Reason)
    for body in (
        b"",
        b"{",
        b"[" * 100_000,
        b"null",
        b"[]",
        b"\xff",
        b'{"value":[]}',
        b'{"value":{}}',
        b'{"signature":[]}',
    ):
        assert isinstance(answer(name, (raw([]), body, Line("POST", URL))), Reason)


@pytest.mark.parametrize("name", ["ApiKey", "BasicAuth", "Bearer", "CloudEvents", "GitLabToken", "Okta"])
def test_a_secret_shown_twice_is_refused(name: str) -> None:
    headers, body, line = HOW[name](KEY)
    assert answer(name, ((*headers, headers[1]), body, line)) is Reason.DUPLICATE_HEADER


def test_an_empty_secret_can_not_be_given() -> None:
    for name in HOW:
        with pytest.raises(SpecError, match="is empty"):
            Verifier(preset(name).scheme, (b"",))


@pytest.mark.parametrize(
    "changes",
    [
        {"pspReference": "8515131751004934"}, {"merchantAccountCode": "Acme"}, {"merchantReference": "order: 2"},
        {"amount": {"currency": "USD", "value": 1000}}, {"amount": {"currency": "EUR", "value": 1001}}, {"amount": {}},
        {"eventCode": "REFUND"}, {"success": "false"}, {"success": True}, {"originalReference": "8515131751004932"},
        {"pspReference": None}, {"pspReference": ["8515131751004933"]}, {"amount": {"currency": "EUR", "value": 1000.0}},
        {"amount": {"currency": "EUR", "value": True}}, {"additionalData": None}, {"signature": ""},
    ],
)  # fmt: skip
def test_every_field_that_adyen_signs_counts(changes: dict[str, Any]) -> None:
    assert isinstance(answer("Adyen", adyen(**changes)), Reason)


def test_a_field_of_adyens_that_is_not_there_is_signed_as_nothing() -> None:
    assert answer("Adyen", adyen(originalReference="")) == 1
    assert answer("Adyen", adyen(originalReference=None)) == 1
    assert answer("Adyen", adyen(eventDate="2026-11-26")) == 1  # it is not signed


def test_items_of_adyens_that_are_not_signed_alike_are_refused() -> None:
    headers, body, line = adyen(times=2)
    assert answer("Adyen", (headers, body, line)) == 1
    for old, new in (
        (b'"success": "true"', b'"success": "false"'),
        (b'"AcmeAccount",', b'"AcmeAccount", "originalReference": "1",'),
    ):
        assert isinstance(answer("Adyen", (headers, body.replace(old, new, 1), line)), Reason)
    assert isinstance(answer("Adyen", adyen(times=0)), Reason)


@pytest.mark.parametrize("name", ["ApiKey", "BasicAuth", "Bearer", "CloudEvents", "GitLabToken", "Okta"])
def test_a_sample_of_ours_is_let_in(name: str) -> None:
    headers = raw(sign(preset(name).scheme, KEY, b"{}", now=NOW, delivery_id="a"))
    assert answer(name, (headers, b"{}", Line("POST", URL))) == 1


def test_the_key_may_stand_in_another_header() -> None:
    scheme = replace(preset("ApiKey").scheme, signature_headers=("X-Gitlab-Token",))
    assert verdict(scheme, (KEY,), raw([("x-gitlab-token", KEY.decode())]), b"") == 0
    assert verdict(scheme, (KEY,), raw([("x-api-key", KEY.decode())]), b"") is Reason.MISSING_SIGNATURE


def test_every_notification_of_graph_shows_the_state() -> None:
    good, bad = {"clientState": KEY.decode()}, {"clientState": "nobody"}
    for items in ([good, bad], [bad, good], [good, {}], [good, None], [good, {"clientState": 1}], [[good]]):
        body = json.dumps({"value": items}).encode()
        assert isinstance(answer("MicrosoftGraph", (raw([]), body, Line("POST", URL))), Reason), items


def test_the_query_names_the_code_once() -> None:
    headers, body, line = _event_grid(KEY)
    for url in (line.url + "&code=a", line.url + "&a=b" * MAX_FIELDS, f"{URL}#code={KEY!r}"):
        assert answer("EventGrid", (headers, body, Line("POST", url))) is Reason.MISSING_SIGNATURE


def test_mailguns_time_and_token_are_signed_and_as_old_as_it_tries_at_most() -> None:
    assert answer("Mailgun", mailgun(token="other")) is Reason.BAD_SIGNATURE
    assert answer("Mailgun", mailgun(timestamp=str(int(NOW) + 1))) is Reason.BAD_SIGNATURE
    assert answer("Mailgun", mailgun(timestamp=int(NOW))) is Reason.MISSING_TIMESTAMP
    assert answer("Mailgun", mailgun(token=None)) is Reason.MISSING_HEADER
    assert answer("Mailgun", mailgun(), now=NOW + 36_000) == 1
    assert answer("Mailgun", mailgun(), now=NOW + 36_001) is Reason.TIMESTAMP_TOO_OLD
    assert answer("Mailgun", mailgun(), now=NOW - 36_001) is Reason.TIMESTAMP_IN_FUTURE


def test_mailguns_parent_account_may_have_signed() -> None:
    stamp = str(int(NOW))
    parent = hmac.new(KEY, f"{stamp}c5fe1b1d".encode(), "sha256").hexdigest()
    more: dict[str, Any] = {"parent-signature": parent}
    assert answer("Mailgun", mailgun(b"a subaccount's key", **more)) == 1


def test_mondays_token_is_good_for_five_minutes() -> None:
    assert answer("Monday", monday(prefix="Bearer ")) == 1
    assert answer("Monday", monday(), now=NOW + 300) == 1
    assert answer("Monday", monday(), now=NOW + 301) is Reason.TIMESTAMP_TOO_OLD
    assert answer("Monday", monday(), now=NOW - 301) is Reason.TIMESTAMP_IN_FUTURE
    for iat in ("1800000000", None, True, 1.8e9, -1, [NOW]):
        assert isinstance(answer("Monday", monday(iat=iat)), Reason)


@pytest.mark.parametrize("alg", ["none", "None", "hs256", "HS512", "RS256", "", None, ["HS256"]])
def test_a_token_by_another_algorithm_is_refused(alg: object) -> None:
    assert answer("Monday", monday(alg=alg)) is Reason.MISSING_SIGNATURE


def test_a_token_that_was_changed_or_is_none_is_refused() -> None:
    headers, body, line = monday()
    token = headers[1][1]
    head, claims, signature = token.split(b".")
    forged = [
        b"", b"a.b.c", b"..", head + b"." + claims, head + b"." + claims + b".", token + b".", b"bearer " + token,
        head + b"." + claims + b"." + signature + b"=", head + b"." + claims + b"." + signature[:-1],
        head + b"." + _url64(b"[" * 5000) + b"." + signature, b"\xff." + claims + b"." + signature,
        b"bnVsbA." + claims + b"." + signature,
        *(token[:i] + bytes([token[i] ^ 1]) + token[i + 1 :] for i in range(len(token))),
    ]  # fmt: skip
    for value in forged:
        changed = (headers[0], (b"Authorization", value))
        assert isinstance(answer("Monday", (changed, body, line)), Reason), value
    assert isinstance(answer("Monday", ((*headers, headers[1]), body, line)), Reason)


def test_the_token_that_rfc_7515_shows_is_let_in() -> None:
    # RFC 7515 A.1: its key, its signing input and its signature; it was issued at no time, so only its exp is compared
    key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    token = (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
    scheme = replace(preset("Monday").scheme, timestamp=Timestamp(headers=("jwt:exp",)))
    secret = base64.urlsafe_b64decode(key + "==")
    headers = raw([("Authorization", token)])
    assert verdict(scheme, (secret,), headers, b"", 1300819380, Line("POST", URL)) == 0


# ------------------------------------------------------------------------------------------------------------ Twilio


def twilio(
    url: str, body: bytes, kind: str | None = "application/x-www-form-urlencoded", signed: bytes = b""
) -> Request:
    signature = base64.b64encode(hmac.new(KEY, url.encode() + signed, "sha1").digest()).decode()
    kinds = [] if kind is None else [("Content-Type", kind)]
    return raw([*kinds, ("X-Twilio-Signature", signature)]), body, Line("POST", url)


FORM = b"To=%2B1&Body=Zo%C3%AB+b&Empty=&To=%2B0&To=%2B1"
SIGNED = "BodyZo\u00eb bEmptyTo+0To+1".encode()


def test_a_form_is_signed_with_its_fields_in_order() -> None:
    assert answer("Twilio", twilio(URL, FORM, signed=SIGNED)) == 1
    assert answer("Twilio", twilio(URL, b"&".join(reversed(FORM.split(b"&"))), signed=SIGNED)) == 1
    assert answer("Twilio", twilio(URL, b"")) == 1
    assert answer("Twilio", twilio(URL, b"", None)) == 1
    assert answer("Twilio", twilio(URL, FORM + b"&A=1", signed=SIGNED)) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "", None])
def test_a_body_that_is_no_form_needs_its_hash_in_the_url(kind: str | None) -> None:
    assert answer("Twilio", twilio(URL, FORM, kind, SIGNED)) is Reason.MISSING_HEADER
    assert answer("Twilio", twilio(URL, b"{}", kind)) is Reason.MISSING_HEADER


def test_a_hash_in_the_url_holds_whatever_the_body_calls_itself() -> None:
    url = f"{URL}?bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of {}
    for kind in ("application/json", "application/x-www-form-urlencoded", None):
        assert answer("Twilio", twilio(url, b"{}", kind)) == 1
        for body in (b"", b"{ }", b"a=b"):
            assert answer("Twilio", twilio(url, body, kind)) is Reason.MISSING_HEADER
    for hashes in ("", "?bodySHA256=", "&bodySHA256=1"):
        assert isinstance(answer("Twilio", twilio(url + hashes, b"", "application/json")), Reason)


def test_a_form_of_very_many_fields_is_refused() -> None:
    body = b"&".join(b"a=%d" % number for number in range(MAX_FIELDS + 1))
    assert answer("Twilio", twilio(URL, body)) is Reason.MISSING_HEADER


# -------------------------------------------------------------------------------------------------------- public keys


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Discord", b"00" * 31), ("Discord", b"zz" * 32), ("Discord", b""), ("SendGrid", b"AAAA"), ("SendGrid", b"%"),
        ("SendGrid", b"MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="),  # one of Ed25519
    ],
)  # fmt: skip
def test_what_is_no_key_of_the_provider_is_told_at_once(name: str, key: bytes) -> None:
    with pytest.raises(SpecError, match="secret 1 of 1 is"):
        Verifier(preset(name).scheme, (key,))


def test_the_library_for_public_keys_is_loaded_only_for_them() -> None:
    import subprocess
    import sys

    code = "import sys, forebay_ingest.app; print(any(name.startswith('cryptography') for name in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
