"""Where secrets come from, in which order, and how they are kept."""

import base64
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from forebay.errors import SpecError
from forebay_cli.given import Given, Secrets, find, generate, given, keep, noted, signing_keys, variable
from forebay_cli.state import Home, Notes
from tests.support.sources import manifest

KEY = ("github-webhook", "secret")


def about(tmp_path: Path, flags: Sequence[str] = (), *, secret: str | None = None, **changes: object) -> Given:
    documents = [manifest(**changes)]
    if secret is not None:
        documents.append({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "github-webhook"}, "stringData": {"secret": secret},
        })  # fmt: skip
    file = tmp_path / "source.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return given([str(file)], flags)


def value(given: Given, notes: Notes) -> bytes | None:
    return find(given, notes, [KEY]).get(KEY[0], {}).get(KEY[1])


def test_a_flag_wins_over_the_environment_over_the_manifest_over_what_was_noted_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes(tmp_path / "notes")
    assert value(about(tmp_path), notes) is None
    generate(about(tmp_path), notes, {})
    assert value(about(tmp_path), notes) == notes.secret_file(*KEY).read_bytes()
    assert value(about(tmp_path, secret="manifest"), notes) == b"manifest"
    monkeypatch.setenv("FOREBAY_SECRET_GITHUB_WEBHOOK_SECRET", "environment")
    assert value(about(tmp_path, secret="manifest"), notes) == b"environment"
    assert value(about(tmp_path, ["github-webhook/secret=flag"], secret="manifest"), notes) == b"flag"


def test_a_flag_can_name_a_file_whose_last_newline_is_an_editors(tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(b"from a file\n")
    assert value(about(tmp_path, [f"github-webhook/secret=@{tmp_path}/value"]), Notes(tmp_path)) == b"from a file"


def test_a_secret_of_the_manifest_is_read_as_the_endpoint_reads_it(tmp_path: Path) -> None:
    assert value(about(tmp_path, secret="value\n"), Notes(tmp_path)) == b"value"


@pytest.mark.parametrize("flag", ["x", "name=value", "/key=value", "name/=value", "name/key", "name/key=@/nowhere"])
def test_a_flag_that_can_not_be_used_says_how_to_write_it(tmp_path: Path, flag: str) -> None:
    with pytest.raises(SpecError, match="--secret"):
        about(tmp_path, [flag])


def test_a_secret_that_is_nowhere_is_made_up_once_and_only_we_can_read_it(tmp_path: Path) -> None:
    notes, found = Notes(tmp_path / "notes"), Secrets()
    assert generate(about(tmp_path), notes, found) == [notes.secret_file(*KEY)]
    assert len(found[KEY[0]][KEY[1]]) >= 32
    assert stat.S_IMODE(notes.secret_file(*KEY).stat().st_mode) == 0o600
    assert stat.S_IMODE(notes.secret_file(*KEY).parent.stat().st_mode) == 0o700
    assert generate(about(tmp_path), notes, find(about(tmp_path), notes, [KEY])) == []


def test_a_verify_token_that_is_nowhere_is_made_up_and_kept_too(tmp_path: Path) -> None:
    token = {"verifyTokenSecretRef": {"name": "meta", "key": "token"}}
    source = about(tmp_path, spec__ingest__verification__provider="Meta", spec__ingest__handshake=token)
    notes, found = Notes(tmp_path / "notes"), Secrets()
    assert generate(source, notes, found) == [notes.secret_file(*KEY), notes.secret_file("meta", "token")]
    assert len(found["meta"]["token"]) >= 32


def test_a_public_key_of_the_provider_can_not_be_made_up(tmp_path: Path) -> None:
    source = about(tmp_path, spec__ingest__verification__provider="Discord")
    with pytest.raises(SpecError, match="give it with --secret github-webhook/secret=@FILE"):
        generate(source, Notes(tmp_path / "notes"), Secrets())


def test_a_made_up_secret_has_the_form_of_the_providers(tmp_path: Path) -> None:
    source = about(tmp_path, spec__ingest__verification__provider="StandardWebhooks")
    found = Secrets()
    generate(source, Notes(tmp_path / "notes"), found)
    made = found[KEY[0]][KEY[1]]
    assert made.startswith(b"whsec_")
    assert len(base64.b64decode(made.removeprefix(b"whsec_"), validate=True)) == 24


def test_send_finds_the_running_source_and_its_secret_without_a_manifest(tmp_path: Path) -> None:
    home, source = Home(tmp_path / "home"), about(tmp_path, secret="shared", spec__retry__maxAge="2d")
    keep(source, home.notes("default/github"), {KEY[0]: {KEY[1]: b"shared"}})
    with pytest.raises(SpecError, match="no source runs here"):
        noted(home, [])
    found = given([str(home.notes("default/github").folder / "source.json")], [])
    assert found.source == source.source
    assert value(found, home.notes("default/github")) == b"shared"


def test_of_several_sources_one_must_be_named(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump_all([manifest(), manifest(metadata__name="stripe")]))
    with pytest.raises(SpecError, match="default/github, default/stripe; say which with --source"):
        given([str(file)], [])
    assert given([str(file)], [], "default/stripe").source.name == "stripe"
    with pytest.raises(SpecError, match="no source default/x"):
        given([str(file)], [], "default/x")


def test_variables_have_names_that_a_shell_takes() -> None:
    assert variable("my.web-hook", "signing_key.v1") == "FOREBAY_SECRET_MY_WEB_HOOK_SIGNING_KEY_V1"


def test_a_source_without_signatures_needs_no_secret(tmp_path: Path) -> None:
    source = about(tmp_path, spec__ingest__verification={"provider": "None"})
    assert signing_keys(source.source) == []
    assert generate(source, Notes(tmp_path), {}) == []
