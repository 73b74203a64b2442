"""What providers and standards publish as correctly signed is accepted, and our own signature is the same text."""

from dataclasses import replace

import pytest

from forebay.signatures.elsewhere import Line
from forebay.signatures.presets import preset, presets
from forebay.signatures.scheme import Algorithm, Encoding, KeyEncoding, Scheme, Timestamp
from forebay.signatures.sign import sign
from forebay.signatures.verify import Reason
from tests.verifying.signed import GITHUB, HMAC, STANDARD, STRIPE, raw, verdict


@pytest.mark.parametrize("name", [name for name, known in presets().items() if known.vectors])
def test_the_vectors_in_a_providers_file_are_accepted_and_say_where_they_are_from(name: str) -> None:
    known = preset(name)
    for vector in known.vectors:
        line, headers, keys = Line(vector.method, vector.url), raw(vector.pairs), (vector.secret.encode(),)
        assert verdict(known.scheme, keys, headers, vector.body.encode(), vector.now, line) == 0
        assert vector.source.startswith(("https://", "http://"))


def test_github_documents_this_signature_of_hello_world() -> None:
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    secret, body = b"It's a Secret to Everybody", b"Hello, World!"
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = [("X-Hub-Signature-256", signature)]
    assert verdict(GITHUB, (secret,), raw(headers), body) == 0
    assert headers[0] in sign(GITHUB, secret, body, now=0, delivery_id="72d3162e-cc78-11e3-81ab-4c9367dc0958")


# stripe-dotnet, src/StripeTests/Resources/event_test_signature.json and Services/Events/EventUtilityTest.cs
STRIPE_SECRET, STRIPE_TIME = b"webhook_secret", 1533204620
STRIPE_V1 = "v1=2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7"
STRIPE_V0 = "v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef"
STRIPE_BODY = b"""{
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "cus_123",
      "object": "customer",
      "created": 123456789,
      "email": "test@stripe.com",
      "livemode": false,
      "metadata": {}
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "customer.created"
}
"""


def test_the_stripe_event_of_its_own_tests_is_accepted() -> None:
    headers = raw([("Stripe-Signature", f"t={STRIPE_TIME},{STRIPE_V1},{STRIPE_V0}")])
    assert verdict(STRIPE, (STRIPE_SECRET,), headers, STRIPE_BODY, STRIPE_TIME + 100) == 0
    assert verdict(STRIPE, (STRIPE_SECRET,), headers, STRIPE_BODY, STRIPE_TIME + 400) is Reason.TIMESTAMP_TOO_OLD
    signed = sign(STRIPE, STRIPE_SECRET, STRIPE_BODY, now=STRIPE_TIME, delivery_id="evt_123")
    assert signed == [("Stripe-Signature", f"t={STRIPE_TIME},{STRIPE_V1}")]


@pytest.mark.parametrize(
    "header",
    [
        f"t=,{STRIPE_V1},{STRIPE_V0}",
        "t,v1=,v0=",
        "t,v1=,v0",
        "t,v1=,",
        "t,,",
        ",,",
        "t",
        f"t={STRIPE_TIME},{STRIPE_V0}",
        f"t={STRIPE_TIME},v0={STRIPE_V1[3:]}",
        "i'm not even a real signature header",
    ],
)
def test_the_header_that_stripes_own_tests_refuse_is_refused(header: str) -> None:
    # stripe-dotnet EventUtilityTest.cs, stripe-python tests/test_webhook.py
    answer = verdict(STRIPE, (STRIPE_SECRET,), raw([("Stripe-Signature", header)]), STRIPE_BODY, STRIPE_TIME)
    assert isinstance(answer, Reason)


# standard-webhooks, libraries/javascript/src/webhook.test.ts and the tests of its other languages
STANDARD_SECRET = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_SIGNED = [
    ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
    ("webhook-timestamp", "1614265330"),
    ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
]
STANDARD_BODY = b'{"test": 2432232314}'


def test_the_standard_webhook_of_the_reference_libraries_is_accepted() -> None:
    assert verdict(STANDARD, (STANDARD_SECRET,), raw(STANDARD_SIGNED), STANDARD_BODY, 1614265330) == 0
    ours = sign(STANDARD, STANDARD_SECRET, STANDARD_BODY, now=1614265330, delivery_id=STANDARD_SIGNED[0][1])
    assert ours == STANDARD_SIGNED


def test_a_standard_webhook_of_svix_has_its_own_header_names() -> None:
    # https://docs.svix.com/receiving/verifying-payloads/how-manual
    headers = raw((name.replace("webhook", "svix"), value) for name, value in STANDARD_SIGNED)
    assert verdict(STANDARD, (STANDARD_SECRET,), headers, STANDARD_BODY, 1614265330) == 0


def test_a_generic_scheme_can_say_what_slack_does() -> None:
    # https://docs.slack.dev/authentication/verifying-requests-from-slack
    scheme = replace(
        HMAC,
        signature_headers=("X-Slack-Signature",),
        prefix="v0=",
        signed="v0:{timestamp}:{body}",
        timestamp=Timestamp(headers=("X-Slack-Request-Timestamp",)),
    )
    headers = [
        ("X-Slack-Request-Timestamp", "1531420618"),
        ("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
    ]
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    secret = b"8f742231b10e8888abcd99yyyzzz85a5"
    assert verdict(scheme, (secret,), raw(headers), body, 1531420618) == 0
    assert sign(scheme, secret, body, now=1531420618, delivery_id="") == headers


# RFC 4231 §4.2-4.4 and §4.7 (a key longer than the block), RFC 2202 §3 for SHA-1
RFC_VECTORS = [
    (Algorithm.HMAC_SHA1, b"\x0b" * 20, b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
    (Algorithm.HMAC_SHA1, b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
    (
        Algorithm.HMAC_SHA256,
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        Algorithm.HMAC_SHA256,
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        Algorithm.HMAC_SHA256,
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        Algorithm.HMAC_SHA512,
        b"Jefe",
        b"what do ya want for nothing?",
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
    ),
]


@pytest.mark.parametrize(("algorithm", "key", "body", "digest"), RFC_VECTORS)
def test_the_rfcs_agree_with_us_about_hmac(algorithm: Algorithm, key: bytes, body: bytes, digest: str) -> None:
    scheme = Scheme(
        algorithm=algorithm, signature_headers=("X-Signature",), key_encoding=KeyEncoding.HEX, encoding=Encoding.HEX
    )
    secret = key.hex().encode()
    assert sign(scheme, secret, body, now=0, delivery_id="") == [("X-Signature", digest)]
    assert verdict(scheme, (secret,), raw([("x-signature", digest)]), body) == 0


# twilio-python, tests/unit/test_request_validator.py
TWILIO_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
TWILIO_HASH = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
TWILIO_FORM = b"CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&Caller=%2B14158675309"


@pytest.mark.parametrize(
    ("url", "kind", "body", "signature"),
    [
        (TWILIO_URL, "application/x-www-form-urlencoded", TWILIO_FORM, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        (TWILIO_URL.replace(".com", ".com:443"), "application/x-www-form-urlencoded; charset=UTF-8", TWILIO_FORM,
         "kvajT1Ptam85bY51eRf/AJRuM3w="),
        (TWILIO_URL.replace("https", "http").replace(".com", ".com:1234"), "application/x-www-form-urlencoded",
         TWILIO_FORM, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="),
        (TWILIO_URL, "application/x-www-form-urlencoded", b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234",
         "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
        (f"{TWILIO_URL}&bodySHA256={TWILIO_HASH}", "application/json", b'{"property": "value", "boolean": true}',
         "a9nBmqA0ju/hNViExpshrM61xv4="),
    ],
)  # fmt: skip
def test_what_twilios_own_tests_expect_is_accepted(url: str, kind: str, body: bytes, signature: str) -> None:
    headers, scheme = raw([("Content-Type", kind), ("X-Twilio-Signature", signature)]), preset("Twilio").scheme
    assert verdict(scheme, (b"12345",), headers, body, line=Line("POST", url)) == 0
    assert verdict(scheme, (b"12346",), headers, body, line=Line("POST", url)) is Reason.BAD_SIGNATURE
    changed = verdict(scheme, (b"12345",), headers, body + b"1", line=Line("POST", url))
    assert changed in (Reason.BAD_SIGNATURE, Reason.MISSING_HEADER)


def test_what_sendgrids_own_tests_expect_is_accepted() -> None:
    # sendgrid-python, test/unit/test_eventwebhook.py; the newline at the end is part of it
    key = b"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
    other = b"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe1OPzpA=="
    body = (
        b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
        b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
        b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
        b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
    )
    scheme = preset("SendGrid").scheme
    signature = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
    headers = raw(
        [
            ("X-Twilio-Email-Event-Webhook-Signature", signature),
            ("X-Twilio-Email-Event-Webhook-Timestamp", "1600112502"),
        ]
    )
    line = Line("POST", "")
    assert verdict(scheme, (other, key), headers, body, 1600112502, line) == 1
    assert verdict(scheme, (other,), headers, body, 1600112502, line) is Reason.BAD_SIGNATURE
    assert verdict(scheme, (key,), headers, body.rstrip(), 1600112502, line) is Reason.BAD_SIGNATURE


def test_rfc_8032s_second_test_of_ed25519_is_accepted() -> None:
    # RFC 8032 §7.1, TEST 2: a message of one byte
    key = b"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    scheme = replace(preset("Discord").scheme, signed="{body}", timestamp=None)
    assert verdict(scheme, (key,), raw([("X-Signature-Ed25519", signature)]), b"\x72") == 0
