"""Every provider's file is tried out, and a file that does not do what it promises is found out."""

from pathlib import Path

import pytest

from forebay.errors import SpecError
from forebay.signatures import presets as kept
from forebay.signatures.presets import parse_preset, presets
from forebay.signatures.trial import trials
from tests.support.command_line import forebay

FOLDER = Path(kept.__file__).parent / "providers"
# Their keys are published: tests/verifying/test_published_keys.py. None lets everybody in.
NOT_MADE_UP = {"SNS", "PayPal", "JWT", "GooglePubSub", "EventGridEntra", "MicrosoftGraphTokens", "None"}
GOOD = """
name = "Acme"
sources = ["https://acme.example"]
checked = 2026-11-28
confidence = "reported"
setup = "Somewhere."
[scheme]
algorithm = "hmac-sha256"
encoding = "hex"
signature_headers = ["X-Acme-Signature"]
separator = ","
prefix = "v1="
signed = "{timestamp}.{body}"
[scheme.timestamp]
item = "t="
tolerance = 300
"""
VECTOR = """
[[vector]]
source = "https://acme.example"
secret = "a"
headers = ["X-Acme-Signature: t=1,v1=00"]
body = "b"
now = 1
"""


@pytest.mark.parametrize("name", sorted(set(presets()) - NOT_MADE_UP))
def test_every_request_that_was_tampered_with_is_refused_and_every_good_one_let_in(name: str) -> None:
    done = trials(presets()[name])
    assert [trial for trial in done if not trial.passed] == []
    assert {trial.expected for trial in done} == {True, False}
    assert len({trial.what for trial in done}) == len(done)


def test_only_these_can_not_be_tried() -> None:
    for name in NOT_MADE_UP:
        with pytest.raises(SpecError, match=f"provider {name} can not be tried"):
            trials(presets()[name])


def test_a_trial_by_hand_says_what_was_tried(capsys: pytest.CaptureFixture[str]) -> None:
    ran = forebay(capsys, "provider", "test", str(FOLDER / "github.toml"))
    assert (ran.status, ran.out.count("\n")) == (0, 2)
    assert "1 published; all as they should" in ran.out
    everything = forebay(capsys, "provider", "test", "--all", str(FOLDER / "github.toml"))
    assert "ok     signed by somebody else: refused, bad-signature" in everything.out
    assert "ok     published in https://docs.github.com/" in everything.out


def test_a_vector_that_is_not_signed_so_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "acme.toml"
    file.write_text(GOOD)
    assert forebay(capsys, "provider", "test", str(file)).status == 0
    file.write_text(GOOD + VECTOR)
    ran = forebay(capsys, "provider", "test", str(file))
    assert ran.status == 1
    assert "WRONG  published in https://acme.example: refused, malformed-signature" in ran.out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('signed = "{timestamp}.{body}"', 'signed = "{timestamp}."', "must hold {body} exactly once"),
        ('signed = "{timestamp}.{body}"', 'signed = "{body}"', "a timestamp needs both"),
        ("tolerance = 300", "tolerance = 0", "accepts nothing"), ('name = "Acme"', "", "a preset needs 'name'"),
        ('setup = "Somewhere."', 'setup = "Somewhere."\nlogo = "a"', "logo is none of"),
        ('prefix = "v1="', 'prefix = "v1="\nprefixes = "a"', "prefixes"),
        ("name =", "name", "can not be read"),
    ],
)  # fmt: skip
def test_a_file_that_could_not_protect_anything_is_not_even_tried(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in GOOD
    file = tmp_path / "acme.toml"
    file.write_text(GOOD.replace(old, new, 1))
    ran = forebay(capsys, "provider", "test", str(file))
    assert ran.status == 2
    assert said in ran.err


def test_a_name_of_a_file_is_its_providers() -> None:
    for file in FOLDER.glob("*.toml"):
        assert parse_preset(file.read_text("utf-8")).name.lower() == file.stem
