# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "adyen==16.0.0", "discord-interactions==0.4.0", "hubspot-api-client==12.0.0", "line-bot-sdk", "paddle-python-sdk", "pyjwt[crypto]",
#     "razorpay", "sendgrid", "slack-sdk", "squareup", "stripe", "svix", "twilio",
# ]
# ///
"""Signs and verifies as the providers' own SDKs do, in an environment of its own: nothing of Forebay's is here.

Reads from standard input what we have signed, and prints what they signed, and whom of ours they let in.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

Asked = dict[str, Any]  # secret, body, headers, url, now
KEY = "c2VjcmV0IG9mIDMyIGJ5dGVzLCBhcyB0aGV5IGFyZSE="
BODY = '{"type":"order.created","name":"Zoë"}'


def stripe(now: int) -> Asked:
    from stripe import WebhookSignature

    secret = "whsec_test"
    signature = WebhookSignature._compute_signature(f"{now}.{BODY}", secret)
    return {"secret": secret, "headers": {"Stripe-Signature": f"t={now},v1={signature}"}, "body": BODY}


def slack(now: int) -> Asked:
    from slack_sdk.signature import SignatureVerifier

    signature = SignatureVerifier(KEY).generate_signature(timestamp=str(now), body=BODY)
    headers = {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": str(now)}
    return {"secret": KEY, "headers": headers, "body": BODY}


def twilio(_: int) -> Asked:
    from urllib.parse import urlencode

    from twilio.request_validator import RequestValidator

    url, fields = "https://hooks.example.com/in?a=1", {"From": "+14158675309", "Body": "Zoë says", "Empty": ""}
    signature = RequestValidator(KEY).compute_signature(url, fields)
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
    return {"secret": KEY, "headers": headers, "body": urlencode(fields), "url": url}


def svix(now: int) -> Asked:
    from svix.webhooks import Webhook

    signature = Webhook(f"whsec_{KEY}").sign("msg_1", datetime.fromtimestamp(now, UTC), BODY)
    headers = {"svix-id": "msg_1", "svix-timestamp": str(now), "svix-signature": signature}
    return {"secret": f"whsec_{KEY}", "headers": headers, "body": BODY}


def adyen(_: int) -> Asked:
    from Adyen.util import generate_notification_sig

    key = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
    item: dict[str, Any] = {
        "pspReference": "7914073381342284", "merchantReference": "a:b\\c", "merchantAccountCode": "Zoë",
        "amount": {"currency": "EUR", "value": 1130}, "eventCode": "AUTHORISATION", "success": "true",
    }  # fmt: skip
    signature = generate_notification_sig(dict(item), key).decode()
    item["additionalData"] = {"hmacSignature": signature}
    return {
        "secret": key,
        "headers": {},
        "body": json.dumps({"notificationItems": [{"NotificationRequestItem": item}]}),
    }


def adyen_platforms(_: int) -> Asked:
    from Adyen.util import generate_payload_sig

    key = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
    signature = generate_payload_sig(BODY.encode(), key)
    text = signature.decode() if isinstance(signature, bytes) else signature
    return {"secret": key, "headers": {"HmacSignature": text}, "body": BODY}


def hubspot(now: int) -> Asked:
    from hubspot.utils.signature import Signature

    url = "https://hooks.example.com/in"
    signature = Signature.get_signature(KEY, BODY, "v3", http_uri=url, http_method="POST", timestamp=str(now * 1000))
    headers = {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": str(now * 1000)}
    return {"secret": KEY, "headers": headers, "body": BODY, "url": url}


def tokens(now: int) -> Asked:
    import jwt
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    made = {
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "ES384": ec.generate_private_key(ec.SECP384R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    made["PS512"] = made["RS256"]
    keys, sent = [], {}
    claims = {"iss": "https://issuer.example.com", "aud": ["us"], "iat": now, "exp": now + 60}
    for name, key in made.items():
        one = jwt.algorithms.get_default_algorithms()[name].to_jwk(key.public_key(), as_dict=True)
        keys.append({**one, "kid": name})
        sent[name] = jwt.encode(claims, key, algorithm=name, headers={"kid": name})
    return {"key_set": {"keys": keys}, "tokens": sent}


SIGN: dict[str, Callable[[int], Asked]] = {
    "Adyen": adyen, "AdyenPlatforms": adyen_platforms, "HubSpot": hubspot, "JWT": tokens, "Slack": slack,
    "StandardWebhooks": svix, "Stripe": stripe, "Twilio": twilio,
}  # fmt: skip


# ---------------------------------------------------------------------------------- what we have signed, and they verify


def line(asked: Asked) -> bool:
    from linebot.v3.webhook import SignatureValidator

    return bool(SignatureValidator(asked["secret"]).validate(asked["body"], asked["headers"]["x-line-signature"]))


def square(asked: Asked) -> bool:
    from square.utils.webhooks_helper import verify_signature

    signature = asked["headers"]["x-square-hmacsha256-signature"]
    return bool(
        verify_signature(
            request_body=asked["body"],
            signature_header=signature,
            signature_key=asked["secret"],
            notification_url=asked["url"],
        )
    )


def razorpay(asked: Asked) -> bool:
    from razorpay import Client

    utility = Client(auth=("a", "b")).utility
    return bool(
        utility.verify_webhook_signature(asked["body"], asked["headers"]["x-razorpay-signature"], asked["secret"])
    )


def discord(asked: Asked) -> bool:
    from discord_interactions import verify_key

    headers = asked["headers"]
    return verify_key(
        asked["body"].encode(), headers["x-signature-ed25519"], headers["x-signature-timestamp"], asked["secret"]
    )


def sendgrid(asked: Asked) -> bool:
    from sendgrid.helpers.eventwebhook import EventWebhook

    prefix, headers = "x-twilio-email-event-webhook-", asked["headers"]
    check = EventWebhook(asked["secret"])
    return bool(check.verify_signature(asked["body"], headers[prefix + "signature"], headers[prefix + "timestamp"]))


def paddle(asked: Asked) -> bool:
    from paddle_billing.Notifications import Secret, Verifier

    headers = {"Paddle-Signature": asked["headers"]["paddle-signature"]}
    request: Any = SimpleNamespace(body=asked["body"].encode(), content=None, data=None, headers=headers)
    return bool(Verifier(maximum_variance=600).verify(request, Secret(asked["secret"])))


VERIFY: dict[str, Callable[[Asked], bool]] = {
    "Discord": discord, "LINE": line, "Paddle": paddle, "Razorpay": razorpay, "SendGrid": sendgrid, "Square": square,
}  # fmt: skip


def main() -> None:
    asked = json.load(sys.stdin)
    said = {name: _verdict(name, one) for name, one in asked["ours"].items()}
    json.dump({"theirs": {name: sign(asked["now"]) for name, sign in SIGN.items()}, "let_in": said}, sys.stdout)


def _verdict(name: str, one: Asked) -> str:
    try:
        return "yes" if VERIFY[name](one) else "no"
    except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
