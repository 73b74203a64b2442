"""The manifests in docs/how-to/verify-signatures.md are valid, and verify what they say they do."""

import re
import textwrap
from pathlib import Path

import pytest
import yaml

from forebay import manifest
from forebay.signatures.configured import scheme_of
from forebay.signatures.presets import parse_preset, presets
from forebay.signatures.scheme import Scheme
from forebay_operator.desired.settings import ingest_settings
from tests.verifying.signed import GITHUB, STANDARD, STRIPE, raw, signed, verdict

PAGE = (Path(__file__).parents[2] / "docs/how-to/verify-signatures.md").read_text(encoding="utf-8")
BLOCKS = [
    yaml.safe_load(textwrap.dedent(block))
    for block in re.findall(r"^ *```yaml\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
]
WHOLE, *PARTS = BLOCKS


def scheme(verification: object) -> Scheme:
    ingest = {**WHOLE["spec"]["ingest"], "verification": verification}
    source = manifest.read_source({**WHOLE, "spec": {**WHOLE["spec"], "ingest": ingest}})
    return scheme_of(ingest_settings(source).verification)


SCHEMES = [scheme(WHOLE["spec"]["ingest"]["verification"]), *(scheme(part["verification"]) for part in PARTS)]


def test_the_page_shows_every_provider() -> None:
    assert SCHEMES[:3] == [GITHUB, STRIPE, STANDARD]
    assert [part["verification"]["provider"] for part in PARTS[2:]] == ["HMAC", "GitHub"]


def test_the_file_that_the_page_shows_is_a_preset() -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert parse_preset(text).name == "Acme"


def test_the_page_counts_the_providers() -> None:
    assert len(set(presets()) - {"HMAC", "None"}) == 22
    assert "Twenty-two are known" in PAGE


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.signature_headers[0])
def test_a_request_signed_as_the_page_says_is_let_in(scheme: Scheme) -> None:
    assert verdict(scheme, (b"c2VjcmV0",), signed(scheme, b"c2VjcmV0", b"body"), b"body") == 0


def test_slacks_own_example_passes_with_the_manifest_of_the_page() -> None:
    # https://docs.slack.dev/authentication/verifying-requests-from-slack
    headers = raw(
        [
            ("X-Slack-Request-Timestamp", "1531420618"),
            ("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
        ]
    )
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    assert verdict(SCHEMES[3], (b"8f742231b10e8888abcd99yyyzzz85a5",), headers, body, 1531420618) == 0
