"""The manifests in docs/how-to/verify-signatures.md are valid, and verify what they say they do."""

import json
import re
import shlex
import textwrap
from pathlib import Path

import pytest
import yaml

from forebay import manifest
from forebay.signatures.configured import scheme_of
from forebay.signatures.elsewhere import Line
from forebay.signatures.presets import parse_preset, presets
from forebay.signatures.scheme import Scheme
from forebay_operator.desired.ingest_settings import ingest_settings
from forebay_operator.desired.platform import Platform
from tests.support.command_line import forebay
from tests.verifying.signed import GITHUB, STANDARD, STRIPE, signed, verdict

PAGE = (Path(__file__).parents[2] / "docs/how-to/verify-signatures.md").read_text(encoding="utf-8")
ADDING = (Path(__file__).parents[2] / "docs/how-to/add-a-provider.md").read_text(encoding="utf-8")
BLOCKS = [
    yaml.safe_load(textwrap.dedent(block))
    for block in re.findall(r"^ *```yaml\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
]
WHOLE, *PARTS = BLOCKS


def scheme(part: dict[str, object]) -> Scheme:
    ingest = {**WHOLE["spec"]["ingest"], **part}
    source = manifest.read_source({**WHOLE, "spec": {**WHOLE["spec"], "ingest": ingest}})
    return scheme_of(ingest_settings(source, Platform()).verification)


SCHEMES = [scheme(part) for part in (WHOLE["spec"]["ingest"], *PARTS)]
SIGNABLE = [scheme for scheme in SCHEMES if not scheme.algorithm.fetched]


def test_the_page_shows_every_provider() -> None:
    assert SCHEMES[:3] == [GITHUB, STRIPE, STANDARD]
    assert SCHEMES[4].signature_headers == ("X-Gitlab-Token",)
    assert [part["verification"]["provider"] for part in PARTS[2:]] == [
        "Square", "ApiKey", "ApiKey", "SNS", "JWT", "HMAC", "Meta", "Asana", "GitHub",
    ]  # fmt: skip


def test_the_file_that_the_page_shows_is_a_preset() -> None:
    text, vector = re.findall(r"^```toml\n(.*?)^```", ADDING, re.DOTALL | re.MULTILINE)
    assert parse_preset(text).name == "Acme"
    assert parse_preset(text + vector).vectors


def test_what_the_page_shows_of_a_trial_is_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    ((command, answer),) = re.findall(r"```sh\n(forebay provider test [^`]*)```\n```\n([^`]*)```", ADDING)
    ran = forebay(capsys, *shlex.split(command)[1:])
    assert (ran.status, ran.out) == (0, answer)


def test_the_page_counts_the_providers() -> None:
    assert f"{len(set(presets()) - {'HMAC', 'None'})} are known by name" in PAGE


@pytest.mark.parametrize("scheme", SIGNABLE, ids=lambda scheme: scheme.signature_headers[0])
def test_a_request_signed_as_the_page_says_is_let_in(scheme: Scheme) -> None:
    line = Line("POST", "https://hooks.example.com/square")
    headers = signed(scheme, b"c2VjcmV0", b"body", line=line)
    assert verdict(scheme, (b"c2VjcmV0",), headers, b"body", line=line) == 0


def test_what_the_page_says_of_slacks_challenge_is_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    (command, answer), *_ = re.findall(r"```sh\n(forebay verify [^`]*challenge[^`]*)```\n```json\n([^`]*)```", PAGE)
    ran = forebay(capsys, *shlex.split(command)[1:])
    assert (ran.status, json.loads(ran.out)) == (0, json.loads(answer))
