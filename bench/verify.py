"""What it costs to verify one webhook, for each provider: a body of 1 KiB among ten headers, by the endpoint's own engine.

One process, one thread, no I/O. Each figure is the best of some rounds, of which each is the mean of many calls: others' work on
the machine only ever makes a round slower.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench import verdict
from bench.verdict import Bar
from forebay.settings import Jwt, Verification
from forebay.signatures.configured import verifier_of
from forebay.signatures.elsewhere import Line
from forebay.signatures.key_ring import KeyRing, read_certificate, read_key_set
from forebay.signatures.presets import Preset, presets
from forebay.signatures.sign import sign
from forebay.signatures.verify import Verified, Verifier, Verifies
from tests.support import publishing

# Tokens by a published key are all verified as JWT's are.
LIKE_JWT = ("EventGridEntra", "GooglePubSub")
NOW = 1_800_000_000.0
URL = "https://hooks.example.com/in"
LINE = Line("POST", URL)
SIZE = 1024
KEY = "c2VjcmV0IG9mIDMyIGJ5dGVzLCBhcyB0aGV5IGFyZSE="  # text, base64 and, in hex, bytes
USUAL = [
    ("Host", "hooks.example.com"), ("User-Agent", "somebody/1.0"), ("Accept", "*/*"), ("Connection", "keep-alive"),
    ("Content-Length", str(SIZE)), ("X-Request-Id", "0191e3c2-7c8e-7a54"), ("X-Event", "order.created"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
]  # fmt: skip
DEFINITIONS = {
    "us": "microseconds of one Verifier.verify of a good request: best of `rounds`, each the mean of `calls` calls",
    "us_raw": "the same of the one call of cryptography's that verifies it, of those that are signed with a private key",
    "us_refused": "the same for a request whose body was changed (where the body is signed)",
}

PARSED = {"Adyen", "JWT", "SNS", "EventGrid", "Mailgun", "MicrosoftGraph", "MicrosoftGraphTokens", "Monday", "Twilio"}

Headers = list[tuple[str, str]]
Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that passes under a secret."""

    secret: bytes
    headers: Headers
    body: bytes
    line: Line = LINE
    raw: Call | None = None  # what the library alone does for it
    verifier: Verifies | None = None  # where it needs more than the secret


def main(options: verdict.Options) -> int:
    rounds, calls = (5, 500) if options.quick else (15, 2000)
    results = verdict.circumstances(quick=options.quick, rabbitmq="none")
    known = measured()
    requests = {item.name: (item, request_of(item)) for item in known}
    good = {name: _verifying(item, request) for name, (item, request) in requests.items()}
    bad = {
        name: _verifying(item, request, good=False)
        for name, (item, request) in requests.items()
        if not item.scheme.body_is_free
    }
    raw = {name: request.raw for name, (_, request) in requests.items() if request.raw}
    us, us_refused, us_raw = _best([good, bad, raw], rounds, calls)
    results |= {
        "definitions": DEFINITIONS,
        "body_bytes": SIZE,
        "rounds": rounds,
        "calls": calls,
        "us": us,
        "us_raw": us_raw,
        "us_refused": us_refused,
    }
    return verdict.conclude(results, _bars(known, us_raw), options.output / "verify.json")


def measured() -> list[Preset]:
    """The presets that cost something of their own."""
    return [item for item in presets().values() if item.name not in ("HMAC", "None", *LIKE_JWT)]


def request_of(item: Preset) -> Request:
    """One that is let in."""
    return REQUESTS.get(item.name, _usual)(item)


def _bars(known: Sequence[Preset], raw: Mapping[str, float]) -> list[Bar]:
    """Ten microseconds where headers and body are hashed, fifty where a form, JSON or a token has to be read for it.

    A public key's arithmetic is not ours to make faster: a fifth and 5 µs more than the library's own call, and JSON's share.
    """
    return [
        Bar(
            figure=f"{item.name} ({item.scheme.algorithm})",
            key=f"us.{item.name}",
            sign="≤",
            bar=_bar(item, raw),
            unit=" µs",
        )
        for item in known
    ]


def _bar(item: Preset, raw: Mapping[str, float]) -> float:
    read = 50.0 if item.name in PARSED else 10.0
    return round(1.2 * raw[item.name] + (read if item.name in PARSED else 5.0), 1) if item.name in raw else read


def _verifying(item: Preset, request: Request, *, good: bool = True) -> Call:
    verifier = request.verifier or Verifier(item.scheme, (request.secret,))
    headers = tuple((name.encode(), value.encode()) for name, value in [*USUAL, *request.headers])
    body = request.body if good else request.body[:-1] + b" "
    line = request.line if verifier.looks_at_line else None
    assert isinstance(verifier.verify(headers, body, NOW, line), Verified) == good, item.name

    verify = verifier.verify
    return lambda: verify(headers, body, NOW, line)


def _best(groups: Sequence[Mapping[str, Call]], rounds: int, calls: int) -> list[dict[str, float]]:
    """Microseconds of one call, of each."""
    means = {(at, name): partial(_mean, call, calls) for at, group in enumerate(groups) for name, call in group.items()}
    told = verdict.best(means, rounds)
    return [{name: round(told[at, name], 3) for name in group} for at, group in enumerate(groups)]


def _mean(call: Call, calls: int) -> float:
    begun = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begun) / calls * 1e6


# -------------------------------------------------------------------------------------------------------- the requests


def _json(**more: Any) -> bytes:
    body = json.dumps({"type": "order.created", **more, "data": {"text": ""}})
    return body.replace('"text": ""', f'"text": "{"x" * (SIZE - len(body))}"').encode()


def _usual(item: Preset) -> Request:
    body = _json()
    if item.scheme.content_type == "application/x-www-form-urlencoded":
        # As many fields as a message of Twilio's has, two of which have signs in them that are written otherwise.
        fields = {f"MessageField{number}": "x" * 30 for number in range(22)} | {"From": "+14158675309", "Body": "to be"}
        body = urlencode(fields).encode()[:SIZE]
    headers = [("Content-Type", item.scheme.content_type)]
    secret = KEY.encode().hex().encode() if item.scheme.key_encoding == "hex" else KEY.encode()
    signed = sign(item.scheme, secret, body, now=NOW, delivery_id="0191e3c2", headers=headers, line=LINE)
    return Request(secret, [*headers, *signed], body)


def _discord(_: Preset) -> Request:
    key, body, at = Ed25519PrivateKey.generate(), _json(), str(int(NOW))
    public, message = key.public_key(), at.encode() + body
    made = key.sign(message)
    headers = [("X-Signature-Ed25519", made.hex()), ("X-Signature-Timestamp", at)]
    raw = lambda: public.verify(made, message)  # noqa: E731 - one call, by itself
    return Request(public.public_bytes_raw().hex().encode(), headers, body, raw=raw)


def _sendgrid(_: Preset) -> Request:
    key, body, at = ec.generate_private_key(ec.SECP256R1()), _json(), str(int(NOW))
    message, how, checks = at.encode() + body, ec.ECDSA(SHA256()), key.public_key()
    made, prefix = key.sign(message, how), "X-Twilio-Email-Event-Webhook-"
    public = checks.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    headers = [(prefix + "Signature", base64.b64encode(made).decode()), (prefix + "Timestamp", at)]
    return Request(base64.b64encode(public), headers, body, raw=lambda: checks.verify(made, message, how))


def _standard_public(_: Preset) -> Request:
    key, body, at = Ed25519PrivateKey.generate(), _json(), str(int(NOW))
    message, public = f"0191e3c2.{at}.".encode() + body, key.public_key()
    made = key.sign(message)
    spelled = f"v1a,{base64.b64encode(made).decode()}"
    headers = [("webhook-id", "0191e3c2"), ("webhook-timestamp", at), ("webhook-signature", spelled)]
    raw = lambda: public.verify(made, message)  # noqa: E731 - one call, by itself
    return Request(base64.b64encode(public.public_bytes_raw()), headers, body, raw=raw)


def _published(item: Preset, request: publishing.Request, url: str, secret: bytes) -> Request:
    """Signed by the one RSA key, whose certificate or set is at the URL."""
    ring, public, message = KeyRing(), publishing.key().public_key(), b"x" * SIZE
    read = read_certificate(publishing.certificate()) if secret else read_key_set(publishing.issuer().key_set())
    ring.keep(url, read, NOW)
    made = publishing.key().sign(message, PKCS1v15(), SHA256())
    jwt = Jwt(audience="us", keys_url=url, issuers=("https://issuer.example.com",))
    verifier = verifier_of(Verification(provider=item.name, jwt=jwt), (secret,) if secret else (), ring)
    headers = [(name.decode(), value.decode()) for name, value in request[0]]
    raw = lambda: public.verify(made, message, PKCS1v15(), SHA256())  # noqa: E731 - one call, by itself
    return Request(secret, headers, request[1], raw=raw, verifier=verifier)


def _sns(item: Preset) -> Request:
    return _published(item, publishing.sns(Message="x" * SIZE), publishing.CERTIFICATE, publishing.TOPIC)


def _paypal(item: Preset) -> Request:
    return _published(item, publishing.paypal(body=_json()), publishing.PAYPALS, publishing.WEBHOOK_ID)


def _token(item: Preset) -> Request:
    headers = ((b"Authorization", f"Bearer {publishing.issuer().token()}".encode()),)
    return _published(item, (headers, _json()), publishing.KEYS, b"")


def _graph_tokens(item: Preset) -> Request:
    token = publishing.issuer().token(appid=publishing.GRAPH)
    body = _json(value=[{"changeType": "updated"}], validationTokens=[token])
    return _published(item, ((), body), publishing.KEYS, b"")


def _adyen(_: Preset) -> Request:
    item: dict[str, Any] = {"pspReference": "851513", "merchantAccountCode": "Acme", "merchantReference": "order"}
    item |= {"amount": {"value": 1000, "currency": "EUR"}, "eventCode": "AUTHORISATION", "success": "true"}
    signature = hmac.digest(KEY.encode(), b"851513::Acme:order:1000:EUR:AUTHORISATION:true", "sha256")
    item["additionalData"] = {"hmacSignature": base64.b64encode(signature).decode()}
    return Request(KEY.encode().hex().encode(), [], _json(notificationItems=[{"NotificationRequestItem": item}]))


def _mailgun(_: Preset) -> Request:
    at, token = str(int(NOW)), "a" * 50
    signature = hmac.new(KEY.encode(), (at + token).encode(), hashlib.sha256).hexdigest()
    return Request(KEY.encode(), [], _json(signature={"timestamp": at, "token": token, "signature": signature}))


def _graph(_: Preset) -> Request:
    return Request(KEY.encode(), [], _json(value=[{"clientState": KEY}]))


def _event_grid(_: Preset) -> Request:
    return Request(b"secret", [], _json(), Line("POST", f"{URL}?code=secret"))


def _monday(_: Preset) -> Request:
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, {"iat": int(NOW), "aud": URL})]
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts]
    signature = hmac.digest(KEY.encode(), b".".join(parts), "sha256")
    token = b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()
    return Request(KEY.encode(), [("Authorization", token)], _json())


REQUESTS: dict[str, Callable[[Preset], Request]] = {
    "Adyen": _adyen,
    "Discord": _discord,
    "EventGrid": _event_grid,
    "JWT": _token,
    "Mailgun": _mailgun,
    "MicrosoftGraph": _graph,
    "MicrosoftGraphTokens": _graph_tokens,
    "Monday": _monday,
    "PayPal": _paypal,
    "SNS": _sns,
    "SendGrid": _sendgrid,
    "StandardWebhooksPublicKey": _standard_public,
}


if __name__ == "__main__":
    sys.exit(main(verdict.options(__doc__ or "")))
