"""Requests signed as each provider's documentation says, by a few lines of our own that share nothing with the engine."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding as Spelling
from cryptography.hazmat.primitives.serialization import PublicFormat

from forebay.errors import SpecError
from forebay.signatures.confidence import Confidence
from forebay.signatures.elsewhere import Line
from forebay.signatures.presets import preset, presets
from forebay.signatures.sign import sign
from forebay.signatures.verify import Reason, Verified, Verifier
from tests.verifying.signed import NOW, RawHeaders, raw, verdict

BODY = b'{"event":"created","name":"Zo\xc3\xab"}'
KEY, OTHER = b"a key of 32 bytes, as they are..", b"another key"
Signed = dict[str, str]


def _mac(key: bytes, message: bytes, name: str = "sha256") -> bytes:
    return hmac.new(key, message, name).digest()


def _hex(header: str, prefix: str = "", name: str = "sha256") -> Callable[[bytes, bytes, float], Signed]:
    return lambda key, body, _: {header: prefix + _mac(key, body, name).hex()}


def _base64(header: str, prefix: str = "") -> Callable[[bytes, bytes, float], Signed]:
    return lambda key, body, _: {header: prefix + base64.b64encode(_mac(key, body)).decode()}


def _timed_item(
    header: str, time: str, separator: str, prefix: str, between: str
) -> Callable[[bytes, bytes, float], Signed]:
    def made(key: bytes, body: bytes, now: float) -> Signed:
        message = f"{int(now)}{between}".encode() + body
        return {header: f"{time}{int(now)}{separator}{prefix}{_mac(key, message).hex()}"}

    return made


def _zendesk(key: bytes, body: bytes, now: float) -> Signed:
    at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    signature = base64.b64encode(_mac(key, at.encode() + body)).decode()
    return {"X-Zendesk-Webhook-Signature": signature, "X-Zendesk-Webhook-Signature-Timestamp": at}


def _box(key: bytes, body: bytes, now: float) -> Signed:
    at = datetime.fromtimestamp(now - 8 * 3600, UTC).strftime("%Y-%m-%dT%H:%M:%S-08:00")
    signature = base64.b64encode(_mac(key, body + at.encode())).decode()
    stale = base64.b64encode(_mac(b"the other of its two keys", body + at.encode())).decode()
    return {
        "Box-Delivery-Timestamp": at,
        "Box-Signature-Primary": stale,
        "Box-Signature-Secondary": signature,
    }


def _gitlab(key: bytes, body: bytes, now: float) -> Signed:
    message = f"evt.{int(now)}.".encode() + body
    signature = "v1," + base64.b64encode(_mac(key, message)).decode()
    return {"Webhook-Id": "evt", "Webhook-Timestamp": str(int(now)), "Webhook-Signature": signature}


def _v0(header: str, stamp: str) -> Callable[[bytes, bytes, float], Signed]:
    def made(key: bytes, body: bytes, now: float) -> Signed:
        return {header: "v0=" + _mac(key, f"v0:{int(now)}:".encode() + body).hex(), stamp: str(int(now))}

    return made


def _docusign(key: bytes, body: bytes, _: float) -> Signed:
    good, stale = (base64.b64encode(_mac(one, body)).decode() for one in (key, b"an older key"))
    return {"X-DocuSign-Signature-1": stale, "X-DocuSign-Signature-2": good}


def _pagerduty(key: bytes, body: bytes, _: float) -> Signed:
    stale, good = (f"v1={_mac(one, body).hex()}" for one in (b"an older key", key))
    return {"X-PagerDuty-Signature": f"{stale},{good}"}


URL = "https://hooks.example.com/hooks?a=1&b=%3A"  # what the provider was given
DECODED = "https://hooks.example.com/hooks?a=1&b=:"  # what HubSpot signs of it


def _over(header: str, name: str, *parts: str) -> Callable[[bytes, bytes, float], Signed]:
    """Base64 of what URL, method, body and time in ms are put together to, in this order."""

    def made(key: bytes, body: bytes, now: float) -> Signed:
        said = {
            "url": URL.encode(),
            "decoded": DECODED.encode(),
            "method": b"POST",
            "body": body,
            "ms": str(int(now * 1000)).encode(),
        }
        message = b"".join(said[part] for part in parts)
        stamp = {"X-HubSpot-Request-Timestamp": str(int(now * 1000))} if "ms" in parts else {}
        return {header: base64.b64encode(_mac(key, message, name)).decode(), **stamp}

    return made


def _twitch(key: bytes, body: bytes, now: float) -> Signed:
    at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000626Z")
    signature = "sha256=" + _mac(key, f"e76c6bd4{at}".encode() + body).hex()
    return {
        "Twitch-Eventsub-Message-Id": "e76c6bd4",
        "Twitch-Eventsub-Message-Timestamp": at,
        "Twitch-Eventsub-Message-Signature": signature,
    }


def _ed25519(key: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(key).digest())


def _p256(key: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(key).digest()[:31]), ec.SECP256R1())


def _discord(key: bytes, body: bytes, now: float) -> Signed:
    at = str(int(now))
    return {
        "X-Signature-Ed25519": _ed25519(key).sign(at.encode() + body).hex(),
        "X-Signature-Timestamp": at,
    }


def _sendgrid(key: bytes, body: bytes, now: float) -> Signed:
    at = str(int(now))
    signature = _p256(key).sign(at.encode() + body, ec.ECDSA(SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": at,
    }


def _standard_public(key: bytes, body: bytes, now: float) -> Signed:
    signature = _ed25519(key).sign(f"msg_2.{int(now)}.".encode() + body)
    spelled = f"v1,AAAA v1a,{base64.b64encode(signature).decode()}"
    return {"webhook-id": "msg_2", "webhook-timestamp": str(int(now)), "webhook-signature": spelled}


HOW = {
    "AdyenPlatforms": _base64("HmacSignature"),
    "Airtable": _hex("X-Airtable-Content-MAC", "hmac-sha256="),
    "Asana": _hex("X-Hook-Signature"),
    "Bitbucket": _hex("X-Hub-Signature", "sha256="),
    "Box": _box,
    "Calendly": _timed_item("Calendly-Webhook-Signature", "t=", ",", "v1=", "."),
    "Discord": _discord,
    "DocuSign": _docusign,
    "Dropbox": _hex("X-Dropbox-Signature"),
    "GitHub": _hex("X-Hub-Signature-256", "sha256="),
    "GitLab": _gitlab,
    "HubSpot": _over("X-HubSpot-Signature-v3", "sha256", "method", "decoded", "body", "ms"),
    "Intercom": _hex("X-Hub-Signature", "sha1=", "sha1"),
    "Jira": _hex("X-Hub-Signature", "sha256="),
    "LINE": _base64("X-Line-Signature"),
    "Linear": _hex("Linear-Signature"),
    "Meta": _hex("X-Hub-Signature-256", "sha256="),
    "Notion": _hex("X-Notion-Signature", "sha256="),
    "Paddle": _timed_item("Paddle-Signature", "ts=", ";", "h1=", ":"),
    "PagerDuty": _pagerduty,
    "QuickBooks": _base64("intuit-signature"),
    "Razorpay": _hex("X-Razorpay-Signature"),
    "SendGrid": _sendgrid,
    "Sentry": _hex("Sentry-Hook-Signature"),
    "Shopify": _base64("X-Shopify-Hmac-SHA256"),
    "Slack": _v0("X-Slack-Signature", "X-Slack-Request-Timestamp"),
    "Square": _over("x-square-hmacsha256-signature", "sha256", "url", "body"),
    "StandardWebhooksPublicKey": _standard_public,
    "Stripe": _timed_item("Stripe-Signature", "t=", ",", "v1=", "."),
    "Trello": _over("X-Trello-Webhook", "sha1", "body", "url"),
    "Twitch": _twitch,
    "Typeform": _base64("Typeform-Signature", "sha256="),
    "WebSub": _hex("X-Hub-Signature", "sha256="),
    "X": _base64("x-twitter-webhooks-signature", "sha256="),
    "Xero": _base64("x-xero-signature"),
    "YouTube": _hex("X-Hub-Signature", "sha1=", "sha1"),
    "Zendesk": _zendesk,
    "Zoom": _v0("x-zm-signature", "x-zm-request-timestamp"),
}
SEVERAL = {
    "Box",
    "DocuSign",
    "PagerDuty",
    "StandardWebhooksPublicKey",
}  # they are asked above to send a signature that is not ours, too
# How a key of bytes is written in the Secret, where it is not written as it is.
SPELLED: dict[str, Callable[[bytes], bytes]] = {
    "AdyenPlatforms": lambda key: key.hex().upper().encode(),
    "Airtable": base64.b64encode,
    "Discord": lambda key: _ed25519(key).public_key().public_bytes_raw().hex().encode(),
    "GitLab": lambda key: b"whsec_" + base64.b64encode(key),
    "StandardWebhooksPublicKey": lambda key: b"whpk_" + base64.b64encode(_ed25519(key).public_key().public_bytes_raw()),
    "SendGrid": lambda key: base64.b64encode(
        _p256(key).public_key().public_bytes(Spelling.DER, PublicFormat.SubjectPublicKeyInfo)
    ),
}
# What these prove is not the body: tests/verifying/test_tokens.py.
PROOFS = {
    "Adyen", "ApiKey", "BasicAuth", "Bearer", "CloudEvents", "EventGrid", "GitLabToken", "Mailgun", "MicrosoftGraph", "Monday", "Okta",
}  # fmt: skip
# Whose keys are published: tests/verifying/test_published_keys.py.
FETCHED = {"SNS", "PayPal", "JWT", "GooglePubSub", "EventGridEntra", "MicrosoftGraphTokens"}
TIMED = sorted(
    {
        "Box": 600,
        "Twitch": 600,
        "SendGrid": 86400,
        "Discord": 300,
        "HubSpot": 300,
        **dict.fromkeys(
            ["Calendly", "GitLab", "Paddle", "Slack", "StandardWebhooksPublicKey", "Stripe", "Zendesk", "Zoom"], 300
        ),
    }.items()
)

every_provider = pytest.mark.parametrize("name", sorted(HOW))


def secret(name: str, key: bytes) -> bytes:
    return SPELLED.get(name, bytes)(key)


def request(name: str, key: bytes = KEY, body: bytes = BODY, now: float = NOW) -> RawHeaders:
    return raw([("Host", "hooks.example.com"), *HOW[name](key, body, now).items(), ("User-Agent", "somebody")])


def answer(name: str, headers: RawHeaders, body: bytes = BODY, now: float = NOW) -> int | Reason | None:
    line = Line("POST", URL)
    return verdict(preset(name).scheme, (secret(name, OTHER), secret(name, KEY)), headers, body, now, line)


def test_every_provider_is_here_but_those_with_tests_of_their_own() -> None:
    assert set(presets()) - set(HOW) == {
        "HMAC", "None", "StandardWebhooks", "Twilio", *PROOFS, *FETCHED,
    }  # fmt: skip


@every_provider
def test_what_the_provider_signs_is_let_in_and_so_is_the_second_secrets(name: str) -> None:
    assert answer(name, request(name)) == 1
    assert answer(name, request(name, OTHER)) == 0
    assert answer(name, request(name, body=b""), b"") == 1
    assert answer(name, request(name, body=bytes(range(256))), bytes(range(256))) == 1


@every_provider
def test_another_body_secret_or_a_byte_changed_is_refused(name: str) -> None:
    assert answer(name, request(name), BODY.replace(b"created", b"deleted")) is Reason.BAD_SIGNATURE
    assert answer(name, request(name, b"whose key is this?")) is Reason.BAD_SIGNATURE
    for index, (header, value) in enumerate(request(name)):
        if header in (b"Host", b"User-Agent"):
            continue
        for i in range(len(value)):
            other = (header, value[:i] + bytes([value[i] ^ 1]) + value[i + 1 :])
            headers = (*request(name)[:index], other, *request(name)[index + 1 :])
            # Beside a good signature another one may be anything.
            assert isinstance(answer(name, headers), Reason) or name in SEVERAL


@every_provider
def test_a_header_that_is_missing_doubled_huge_or_strange_is_refused(name: str) -> None:
    good = request(name)
    for header, value in good[1:-1]:
        rest = tuple(item for item in good if item[0] != header)
        assert answer(name, (*good, (header.upper(), value))) is Reason.DUPLICATE_HEADER
        for strange in (b"", b"\xff\xfe", b"x" * 100_000, b"=,;" * 100, value + b"\0", value[:-1], b" " + value):
            assert isinstance(answer(name, (*rest, (header, strange))), Reason | int)
    assert answer(name, ()) is Reason.MISSING_SIGNATURE
    only = tuple((header, b"x" * 100_000) for header, _ in good[1:-1])
    assert isinstance(answer(name, only), Reason)


@every_provider
def test_the_case_of_a_signature_counts_and_that_of_header_names_does_not(name: str) -> None:
    lower = tuple((header.lower(), value) for header, value in request(name))
    assert answer(name, lower) == 1
    signatures = {header.lower().encode() for header in preset(name).scheme.signature_headers}
    swapped = tuple((h, value.swapcase() if h.lower() in signatures else value) for h, value in request(name))
    assert isinstance(answer(name, swapped), Reason)


@pytest.mark.parametrize(("name", "tolerance"), TIMED)
def test_a_request_is_as_old_as_the_provider_says_at_most(name: str, tolerance: int) -> None:
    for late, expected in ((tolerance, 1), (tolerance + 1, Reason.TIMESTAMP_TOO_OLD)):
        assert answer(name, request(name), now=NOW + late) == expected
    for early, expected in ((tolerance, 1), (tolerance + 1, Reason.TIMESTAMP_IN_FUTURE)):
        assert answer(name, request(name), now=NOW - early) == expected


def test_only_these_sign_a_time() -> None:
    assert {name for name, known in presets().items() if known.scheme.timestamp} == {
        *(name for name, _ in TIMED),
        "StandardWebhooks",
        "Mailgun",
        "Monday",
        "SNS",
        "PayPal",
    }


@pytest.mark.parametrize(
    "stamp", ["", "2027-01-15T08:00:00", "1800000000", "2027-13-01T00:00:00Z", "yesterday", "2" * 99, "é"]
)
def test_a_time_that_is_none_is_refused_however_it_was_signed(stamp: str) -> None:
    signature = base64.b64encode(_mac(KEY, stamp.encode("latin-1") + BODY)).decode()
    headers = [("X-Zendesk-Webhook-Signature", signature), ("X-Zendesk-Webhook-Signature-Timestamp", stamp)]
    assert answer("Zendesk", raw(headers)) is Reason.MALFORMED_TIMESTAMP


@pytest.mark.parametrize("name", sorted(set(HOW) - {"Discord", "SendGrid", "StandardWebhooksPublicKey"}))
def test_a_sample_of_ours_is_let_in(name: str) -> None:
    scheme, line = preset(name).scheme, Line("POST", URL)
    headers = raw(sign(scheme, secret(name, KEY), BODY, now=NOW, delivery_id="abc", line=line))
    assert Verifier(scheme, (secret(name, KEY),)).verify(headers, BODY, NOW, line) == Verified(0)


@pytest.mark.parametrize("name", ["Adyen", "Discord", "SendGrid", "Mailgun", "MicrosoftGraph", "EventGrid", "Monday"])
def test_where_only_the_provider_can_sign_there_is_no_sample(name: str) -> None:
    with pytest.raises(SpecError, match="let it send a test webhook"):
        sign(preset(name).scheme, b"00", BODY, now=NOW, delivery_id="abc", line=Line("POST", URL))


@pytest.mark.parametrize("name", ["HubSpot", "Square", "Trello"])
def test_another_url_or_none_is_refused(name: str) -> None:
    scheme, keys, headers = preset(name).scheme, (KEY,), request(name)
    assert verdict(scheme, keys, headers, BODY, line=Line("POST", URL)) == 0
    others = [URL.replace("%3A", ":")] if name != "HubSpot" else [URL.replace("%3A", "%20"), URL.replace("b=", "%62=")]
    for url in ("http" + URL[5:], URL.replace("hooks.", "other."), URL + "&c", *others):
        assert verdict(scheme, keys, headers, BODY, line=Line("POST", url)) is Reason.BAD_SIGNATURE
    assert verdict(scheme, keys, headers, BODY) is Reason.MISSING_HEADER
    host = (*headers[1:], (b"Host", b"other.example.com"))
    assert verdict(scheme, keys, host, BODY, line=Line("POST", URL)) == 0  # it says nothing
    method = verdict(scheme, keys, headers, BODY, line=Line("PUT", URL))
    assert method == (Reason.BAD_SIGNATURE if name == "HubSpot" else 0)


@pytest.mark.parametrize(
    ("written", "signed"),
    [
        ("%3A%2F%3F%40%21%24%27%28%29%2A%2C%3B", ":/?@!$'()*,;"),
        ("%3a%2f", ":/"),
        ("%20%26%3D%25%2B%23%5B%C3%AB", "%20%26%3D%25%2B%23%5B%C3%AB"),
        ("%253A", "%253A"),
        ("a+b", "a+b"),
    ],
)
def test_hubspot_decodes_these_signs_of_the_url_and_no_others(written: str, signed: str) -> None:
    url, stamp = "https://hooks.example.com/hooks?a=", str(int(NOW * 1000))
    mac = _mac(KEY, f"POST{url}{signed}".encode() + BODY + stamp.encode(), "sha256")
    headers = raw([("X-HubSpot-Signature-v3", base64.b64encode(mac).decode()), ("X-HubSpot-Request-Timestamp", stamp)])
    assert verdict(preset("HubSpot").scheme, (KEY,), headers, BODY, line=Line("POST", url + written)) == 0


def test_boxs_own_example_is_let_in() -> None:
    # box-python-sdk, test/unit/object/test_webhook.py: two keys, a body, and the signatures it expects.
    body = b'{"type":"webhook_event","webhook":{"id":"1234567890"},"trigger":"FILE.UPLOADED",'
    body += b'"source":{"id":"1234567890","type":"file","name":"Test.txt"}}'
    headers = raw(
        [
            ("Box-Delivery-Id", "f96bb54b-ee16-4fc5-aa65-8c2d9e5b546f"),
            ("Box-Delivery-Timestamp", "2020-01-01T00:00:00-07:00"),
            ("Box-Signature-Primary", "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI="),
            ("Box-Signature-Secondary", "v+1CD1Jdo3muIcbpv5lxxgPglOqMfsNHPV899xWYydo="),
        ]
    )
    now = datetime.fromisoformat("2020-01-01T00:00:10-07:00").timestamp()
    keys = (b"SamplePrimaryKey", b"SampleSecondaryKey")
    assert verdict(preset("Box").scheme, keys, headers, body, now) == 0


def test_each_says_where_the_secret_is_and_how_sure_we_are() -> None:
    assert all(known.setup.endswith(".") for known in presets().values())
    assert {known.confidence for known in presets().values()} == set(Confidence)
    assert [name for name, known in presets().items() if known.scheme.algorithm == "hmac-sha1"] == [
        "Intercom", "Trello", "Twilio", "YouTube",
    ]  # fmt: skip


def test_providers_can_be_verified_while_the_body_passes_if_they_do_not_look_into_it() -> None:
    streams = {name for name in presets() if preset(name).scheme.streams}
    assert {"GitHub", "Stripe", "Slack", "Shopify", "Box", "Trello", "Monday", "Bearer"} <= streams
    assert not {"Discord", "Mailgun", "MicrosoftGraph", "SendGrid", "Twilio"} & streams
