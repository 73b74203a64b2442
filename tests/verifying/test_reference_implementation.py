"""The `standardwebhooks` package and we accept what the other signs, and refuse what the other refuses."""

import base64
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from forebay.signatures.sign import sign
from tests.verifying.signed import STANDARD, raw, verdict

keys = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())
ids = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)
bodies = st.text().map(str.encode)


@given(keys, ids, bodies)
def test_it_accepts_what_we_sign(key: str, delivery_id: str, body: bytes) -> None:
    headers = dict(sign(STANDARD, key.encode(), body, now=time.time(), delivery_id=delivery_id))
    Webhook(key).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(key).verify(body + b" ", headers, json_parse=False)


@given(keys, ids, bodies, st.integers(0, 4_000_000_000))
def test_we_accept_what_it_signs(key: str, delivery_id: str, body: bytes, now: int) -> None:
    signature = Webhook(key).sign(delivery_id, datetime.fromtimestamp(now, tz=UTC), body.decode())
    headers = raw(
        [("webhook-id", delivery_id), ("webhook-timestamp", str(now)), ("webhook-signature", f"v2,x {signature}")]
    )
    assert verdict(STANDARD, (key.encode(),), headers, body, now) == 0
