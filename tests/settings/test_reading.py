"""Settings come back as they were written; what is wrong is said all at once, with its place."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forebay.errors import SpecError
from forebay.runtime import Runtime, runtime
from forebay.settings import IngestLimits, IngestSettings, Match, Route, Verification, WorkerSettings, dump, load, parse

INGEST = st.builds(
    IngestSettings,
    source=st.text(max_size=10),
    path=st.text(max_size=10),
    routes=st.lists(st.builds(Route, queue=st.text(max_size=5), match=st.builds(Match)), max_size=3).map(tuple),
    verification=st.builds(Verification, provider=st.text(max_size=5)),
)
WORKER = st.builds(WorkerSettings, source=st.text(max_size=10), queue=st.text(max_size=10))
# Numbers that JSON can not hold are never written.
FINITE = st.floats(allow_nan=False, allow_infinity=False)
st.register_type_strategy(float, FINITE)

SMALLEST: dict[str, Any] = {
    "source": "payments/github", "path": "/payments/github", "routes": [{"queue": "default"}],
    "verification": {"provider": "GitHub", "secret_files": ["secrets/gh/secret"]},
}  # fmt: skip


@given(INGEST)
def test_ingest_settings_come_back_as_they_were_written(original: IngestSettings) -> None:
    assert parse(IngestSettings, dump(original)) == original


@given(WORKER)
def test_worker_settings_come_back_as_they_were_written(original: WorkerSettings) -> None:
    assert parse(WorkerSettings, dump(original)) == original


def test_what_is_left_out_has_its_default() -> None:
    found = parse(IngestSettings, json.dumps(SMALLEST))
    assert found.limits == IngestLimits()
    assert found.methods == ("POST",)
    assert found.routes == (Route(queue="default"),)


def test_every_fault_is_named_at_once_with_its_place() -> None:
    wrong = {
        "path": 7, "colour": "red", "routes": [{"queue": "a", "match": {"event_types": "push"}}, 5],
        "verification": {"algorithm": "md5"}, "limits": {"body_bytes": "1Mi", "in_flight": True, "confirm_s": None},
        "answer": {"headers": [["X-A"]]},
    }  # fmt: skip
    with pytest.raises(SpecError) as caught:
        parse(IngestSettings, json.dumps(wrong), where="ingest.json")
    for part in (
        "ingest.json: ", "source is missing", "path is int, not str", "colour is not a setting",
        "routes[0].match.event_types is str, not a list", "routes[1] is int, not an object",
        "verification.provider is missing", "verification.algorithm is 'md5'; it takes sha1, sha256, sha512",
        "limits.body_bytes is str, not int", "limits.in_flight is bool, not int", "limits.confirm_s is null, not float",
        "answer.headers[0] has 1 items, not 2",
    ):  # fmt: skip
        assert part in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["source", "path", "routes", "verification", "limits", "answer", "methods", "drain_s", "suspended"]
)


@given(JSON | st.dictionaries(FIELDS, JSON, max_size=9))
def test_any_json_is_settings_or_one_sentence(data: Any) -> None:
    merged = {**SMALLEST, **data} if isinstance(data, dict) else data
    for kind in (IngestSettings, WorkerSettings):
        try:
            parse(kind, json.dumps(merged))
        except SpecError as error:
            assert str(error).startswith("settings: ")  # noqa: PT017  # it may be raised or not


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "nul", "{'a': 1}"])
def test_what_is_no_json_is_said_so(text: str) -> None:
    with pytest.raises(SpecError, match="not JSON"):
        parse(IngestSettings, text)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
def test_a_number_that_is_none_is_refused(number: str) -> None:
    with pytest.raises(SpecError, match=r"limits\.confirm_s"):
        parse(IngestSettings, json.dumps({**SMALLEST, "limits": {"confirm_s": "@"}}).replace('"@"', number))


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="FOREBAY_ROOT"):
        load(IngestSettings, tmp_path / "ingest.json")
    (tmp_path / "ingest.json").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match=r"ingest\.json"):
        load(IngestSettings, tmp_path / "ingest.json")


def test_the_environment_says_where_a_process_lives() -> None:
    found = runtime(
        {
            "FOREBAY_ROOT": "/x", "FOREBAY_LISTEN": "127.0.0.1:1", "FOREBAY_ADMIN_LISTEN": "[::1]:2",
            "FOREBAY_LOG_FORMAT": "text", "FOREBAY_LOG_LEVEL": "debug", "FOREBAY_READY_FILE": "/y", "HOME": "/root",
        }
    )  # fmt: skip
    assert found == Runtime(
        root=Path("/x"), listen="127.0.0.1:1", admin_listen="[::1]:2",
        log_format="text", log_level="debug", ready_file=Path("/y"),
    )  # fmt: skip
    assert runtime({"FOREBAY_ROOT": ""}) == Runtime()


def test_every_wrong_variable_is_named_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        runtime({"FOREBAY_LOG_FORMAT": "xml", "FOREBAY_LOG_LEVEL": "loud", "FOREBAY_LISTEN": "8080x"})
    for part in ("FOREBAY_LOG_FORMAT is 'xml'; it takes json or text", "FOREBAY_LOG_LEVEL", "FOREBAY_LISTEN"):
        assert part in str(caught.value)


@given(st.text(max_size=12) | st.from_regex(r"[a-z:.\[\]]{0,6}:[0-9]{0,6}", fullmatch=True))
def test_any_address_is_usable_or_refused(text: str) -> None:
    try:
        found = runtime({"FOREBAY_LISTEN": text})
    except SpecError:
        return
    assert 0 <= int(found.listen.rpartition(":")[2]) <= 65_535


@pytest.mark.parametrize("address", ["0.0.0.0:8080", ":80", "[::]:0", "[fe80::1]:65535", "localhost:1"])
def test_every_usual_form_of_an_address_is_taken(address: str) -> None:
    assert runtime({"FOREBAY_LISTEN": address}).listen == address


@pytest.mark.parametrize("address", ["8080", "x:65536", "x:-1", "x: 1", "a b:1", "x:1\n", "::1", "x:\u0661"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(SpecError, match="FOREBAY_LISTEN"):
        runtime({"FOREBAY_LISTEN": address})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=st.binary(max_size=20))
def test_a_secret_is_its_files_bytes_without_the_newline_of_an_editor(tmp_path: Path, secret: bytes) -> None:
    (tmp_path / "key").write_bytes(secret + b"\r\n")
    assert Runtime(root=tmp_path).read_secret("key") == secret.rstrip(b"\r\n")


def test_a_secret_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is the Secret mounted"):
        Runtime(root=tmp_path).read_secret("key")
