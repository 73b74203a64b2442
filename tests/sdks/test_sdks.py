"""What the providers' own SDKs sign is let in, and they let in what we sign. They live in an environment of their own."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from forebay.settings import Jwt, Verification
from forebay.signatures.configured import verifier_of
from forebay.signatures.elsewhere import Line
from forebay.signatures.key_ring import KeyRing, read_key_set
from forebay.signatures.presets import preset
from forebay.signatures.specimen import signer, specimen
from forebay.signatures.verify import Verified, Verifier
from tests.verifying.signed import raw

SCRIPT = Path(__file__).parent / "theirs.py"
VERIFYING = ("Discord", "LINE", "Paddle", "Razorpay", "SendGrid", "Square")
SIGNING = ("Adyen", "AdyenPlatforms", "HubSpot", "Slack", "StandardWebhooks", "Stripe", "Twilio")


def ours(name: str, now: int) -> dict[str, Any]:
    """A request that we have signed."""
    scheme = preset(name).scheme
    whose = signer(scheme, b"a1" * 16)
    made = specimen(scheme, whose, now)
    headers = {header.decode().lower(): value.decode() for header, value in made.headers}
    return {"secret": whose.secret.decode(), "headers": headers, "body": made.body.decode(), "url": made.line.url}


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    uv = os.environ.get("UV") or shutil.which("uv")
    assert uv, "the tests run by uv"
    now = int(time.time())  # not the module's: a cold machine builds for longer than an SDK lets a signature age
    asked = {"now": now, "ours": {name: ours(name, now) for name in VERIFYING}}
    ran = subprocess.run(
        [uv, "run", "--quiet", "--locked", "--script", str(SCRIPT)],
        input=json.dumps(asked), capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    if ran.returncode and "error sending request" in ran.stderr + ran.stdout:
        pytest.skip("the registry of the SDKs can not be reached")
    assert ran.returncode == 0, ran.stderr
    return {"now": now, **json.loads(ran.stdout)}


@pytest.mark.parametrize("name", SIGNING)
def test_what_the_sdk_signs_is_let_in(said: dict[str, Any], name: str) -> None:
    sent = said["theirs"][name]
    verifier = Verifier(preset(name).scheme, (sent["secret"].encode(),))
    line = Line("POST", sent.get("url", ""))
    assert verifier.verify(raw(sent["headers"].items()), sent["body"].encode(), said["now"], line) == Verified(0)


@pytest.mark.parametrize("name", VERIFYING)
def test_the_sdk_lets_in_what_we_sign(said: dict[str, Any], name: str) -> None:
    assert said["let_in"][name] == "yes"


@pytest.mark.parametrize("alg", ["RS256", "PS512", "ES256", "ES384", "EdDSA"])
def test_a_token_by_pyjwt_is_let_in(said: dict[str, Any], alg: str) -> None:
    sent, ring, url = said["theirs"]["JWT"], KeyRing(), "https://issuer.example.com/keys"
    ring.keep(url, read_key_set(json.dumps(sent["key_set"]).encode()), said["now"])
    jwt = Jwt(audience="us", keys_url=url, issuers=("https://issuer.example.com",))
    verifier = verifier_of(Verification(provider="JWT", jwt=jwt), (), ring)
    headers = raw([("Authorization", f"Bearer {sent['tokens'][alg]}")])
    assert verifier.verify(headers, b"", said["now"]) == Verified(None)
