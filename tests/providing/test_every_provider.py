"""The manifest that `forebay init` begins for each provider takes in what that provider signs, through a real endpoint."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from forebay import manifest
from forebay.settings import IngestSettings
from forebay.signatures.key_ring import read_certificate, read_key_set
from forebay.signatures.presets import preset, presets
from forebay_operator.desired import Platform, desired
from forebay_operator.desired.ingest_settings import ingest_settings
from tests.receiving.endpoint import Endpoint, request
from tests.receiving.wire import finals
from tests.support import publishing
from tests.support.command_line import forebay
from tests.verifying import test_providers, test_tokens
from tests.verifying.signed import RawHeaders, raw

BASE = "https://hooks.example.com/hooks"  # what the signers of these modules sign
KEY = test_tokens.KEY
Sent = tuple[bytes, RawHeaders, bytes, str]  # what the Secret holds, headers, body, what follows the path


def _standard(now: float) -> Sent:
    secret, body = "whsec_" + base64.b64encode(KEY).decode(), '{"type":"a"}'
    signature = Webhook(secret).sign("msg_1", datetime.fromtimestamp(int(now), UTC), body)
    headers = [("webhook-id", "msg_1"), ("webhook-timestamp", str(int(now))), ("webhook-signature", signature)]
    return secret.encode(), raw(headers), body.encode(), ""


def _twilio(_: float) -> Sent:
    headers, body, line = test_tokens.twilio(BASE, test_tokens.FORM, signed=test_tokens.SIGNED)
    return KEY, headers, body, line.url.removeprefix(BASE)


def _bearer(audience: str, issuer: str = "https://issuer.example.com") -> Callable[[float], Sent]:
    def made(now: float) -> Sent:
        claims = {"aud": f"https://hooks.example.com/{audience}", "email": "somebody@example.com"}
        return (
            b"",
            raw([("Authorization", f"Bearer {publishing.issuer().token(now, iss=issuer, **claims)}")]),
            b"[]",
            "",
        )

    return made


def _graph(now: float) -> Sent:
    claims = {"aud": "https://hooks.example.com/microsoftgraphtokens", "appid": publishing.GRAPH}
    body = {"value": [{"changeType": "updated"}], "validationTokens": [publishing.issuer().token(now, **claims)]}
    return b"", (), json.dumps(body).encode(), ""


def _hmac(_: float) -> Sent:
    signature = test_providers._mac(KEY, b"{}").hex()
    return KEY, raw([("X-Signature", signature)]), b"{}", ""


OTHERS: dict[str, Callable[[float], Sent]] = {
    "EventGridEntra": _bearer("eventgridentra"),
    "GooglePubSub": _bearer("googlepubsub", "https://accounts.google.com"),
    "HMAC": _hmac,
    "JWT": _bearer("jwt"),
    "MicrosoftGraphTokens": _graph,
    "None": lambda _: (b"", (), b"{}", ""),
    "PayPal": lambda now: (publishing.WEBHOOK_ID, *publishing.paypal(now), ""),
    "SNS": lambda now: (publishing.TOPIC, *publishing.sns(now), ""),
    "StandardWebhooks": _standard,
    "Twilio": _twilio,
}


def sent(name: str, now: float) -> Sent:
    """A webhook of the provider's, by signers that share nothing with the engine."""
    if name in OTHERS:
        return OTHERS[name](now)
    if name in test_providers.HOW:
        headers = test_providers.request(name, test_providers.KEY, now=now)[1:-1]
        query = test_providers.URL.removeprefix(BASE) if preset(name).scheme.signs_url else ""
        return test_providers.secret(name, test_providers.KEY), headers, test_providers.BODY, query
    make: Callable[..., Any] = test_tokens.HOW[name]
    headers, body, line = make(KEY, now=now) if name in ("Mailgun", "Monday") else make(KEY)
    return KEY.hex().encode() if name == "Adyen" else KEY, headers, body, line.url.removeprefix(BASE)


def settings_of(text: str) -> IngestSettings:
    """What the endpoint is told of the manifest, with its secrets where the test puts them."""
    (source,) = manifest.parse(text).sources
    assert desired(source, Platform())
    made = ingest_settings(source, Platform())
    files = tuple("secrets/gh/secret" for _ in made.verification.secret_files)
    token = "secrets/gh/secret" if made.handshake.token_file else None
    return replace(
        made,
        verification=replace(made.verification, secret_files=files),
        handshake=replace(made.handshake, token_file=token),
        public_url=BASE if made.public_url else None,
    )


def learn(it: Endpoint, now: float) -> None:
    """Have the endpoint know the keys that are published; that it fetches them: tests/receiving/test_published_keys.py."""
    google = preset("GooglePubSub").scheme.published
    assert google is not None
    for url in (publishing.CERTIFICATE, publishing.PAYPALS):
        it.ingest._ring.keep(url, read_certificate(publishing.certificate(now=now)), now)
    for url in (google.url, "https://issuer.example.com/.well-known/jwks.json"):
        it.ingest._ring.keep(url, read_key_set(publishing.issuer().key_set()), now)


@pytest.mark.parametrize("name", presets())
async def test_what_the_provider_signs_is_queued_and_what_nobody_signed_is_not(
    name: str, endpoint: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    settings = settings_of(forebay(capsys, "init", name.lower()).out)
    secret, headers, body, query = sent(name, now)
    lines = [f"{header.decode()}: {value.decode('latin-1')}" for header, value in headers if header != b"Host"]
    changes = {
        field: getattr(settings, field) for field in ("verification", "handshake", "public_url", "path", "source")
    }
    async with endpoint(secret=secret or b"a", **changes) as it:
        learn(it, now)
        good = request(body, *lines, target=settings.path + query, secret=None)
        for data, status in (
            (good, 202),
            (request(b"{}", target=settings.path, secret=None), 202 if name == "None" else 401),
        ):
            (reply,) = finals(await it.say(data))
            assert reply.status == status, reply.body
        assert len(it.broker.published) == (2 if name == "None" else 1)
