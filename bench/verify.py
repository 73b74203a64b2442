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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench import verdict
from bench.verdict import Bar
from forebay.signatures.elsewhere import Line
from forebay.signatures.presets import Preset, presets
from forebay.signatures.sign import sign
from forebay.signatures.verify import Verified, Verifier

# Their keys are fetched; to verify is then the arithmetic of `cryptography`.
FETCHED = ("EventGridEntra", "GooglePubSub", "JWT", "PayPal", "SNS")
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
    "us_refused": "the same for a request whose body was changed (where the body is signed)",
}

PARSED = {"Adyen", "EventGrid", "Mailgun", "MicrosoftGraph", "Monday", "Twilio"}

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that passes under a secret."""

    secret: bytes
    headers: Headers
    body: bytes
    line: Line = LINE


def main(options: verdict.Options) -> int:
    rounds, calls = (5, 500) if options.quick else (15, 2000)
    results = verdict.circumstances(quick=options.quick, rabbitmq="none")
    known = [item for item in presets().values() if item.name not in ("HMAC", "None", *FETCHED)]
    requests = {item.name: (item, REQUESTS.get(item.name, _usual)(item)) for item in known}
    good = {name: _timed(item, request, rounds, calls) for name, (item, request) in requests.items()}
    bad = {
        name: _timed(item, request, rounds, calls, good=False)
        for name, (item, request) in requests.items()
        if not item.scheme.body_is_free
    }
    results |= {
        "definitions": DEFINITIONS,
        "body_bytes": SIZE,
        "rounds": rounds,
        "calls": calls,
        "us": good,
        "us_refused": bad,
    }
    return verdict.conclude(results, _bars(known), options.output / "verify.json")


def _bars(known: Sequence[Preset]) -> list[Bar]:
    """Ten microseconds where headers and body are hashed, fifty where a form, JSON or a token has to be read for it.

    A public key's arithmetic is not ours to make faster: shown, without a bar.
    """
    return [
        Bar(
            figure=f"{item.name} ({item.scheme.algorithm})",
            key=f"us.{item.name}",
            sign="≤",
            bar=None if item.scheme.algorithm.public else 50.0 if item.name in PARSED else 10.0,
            unit=" µs",
        )
        for item in known
    ]


def _timed(item: Preset, request: Request, rounds: int, calls: int, *, good: bool = True) -> float:
    verifier = Verifier(item.scheme, (request.secret,))
    headers = tuple((name.encode(), value.encode()) for name, value in [*USUAL, *request.headers])
    body = request.body if good else request.body[:-1] + b" "
    line = request.line if verifier.looks_at_line else None
    assert isinstance(verifier.verify(headers, body, NOW, line), Verified) == good, item.name

    def once() -> float:
        verify = verifier.verify
        begun = time.perf_counter()
        for _ in range(calls):
            verify(headers, body, NOW, line)
        return (time.perf_counter() - begun) / calls * 1e6

    return round(min(once() for _ in range(rounds)), 3)


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
    headers = [("X-Signature-Ed25519", key.sign(at.encode() + body).hex()), ("X-Signature-Timestamp", at)]
    return Request(key.public_key().public_bytes_raw().hex().encode(), headers, body)


def _sendgrid(_: Preset) -> Request:
    key, body, at = ec.generate_private_key(ec.SECP256R1()), _json(), str(int(NOW))
    signature = base64.b64encode(key.sign(at.encode() + body, ec.ECDSA(SHA256()))).decode()
    prefix = "X-Twilio-Email-Event-Webhook-"
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Request(base64.b64encode(public), [(prefix + "Signature", signature), (prefix + "Timestamp", at)], body)


def _standard_public(_: Preset) -> Request:
    key, body, at = Ed25519PrivateKey.generate(), _json(), str(int(NOW))
    signature = base64.b64encode(key.sign(f"0191e3c2.{at}.".encode() + body)).decode()
    headers = [("webhook-id", "0191e3c2"), ("webhook-timestamp", at), ("webhook-signature", f"v1a,{signature}")]
    return Request(base64.b64encode(key.public_key().public_bytes_raw()), headers, body)


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
    "Mailgun": _mailgun,
    "MicrosoftGraph": _graph,
    "Monday": _monday,
    "SendGrid": _sendgrid,
    "StandardWebhooksPublicKey": _standard_public,
}


if __name__ == "__main__":
    sys.exit(main(verdict.options(__doc__ or "")))
