"""A source's defaults, its way there and back, and what stands for what."""

from pathlib import Path

import pytest

from forebay.manifest import MAX_FAULTS, ManifestError, load, parse, read_source
from forebay.source.values import duration, quantity, seconds, size
from tests.support.sources import manifest


def test_null_is_not_given() -> None:
    assert read_source(manifest(spec__retry=None, spec__suspend=None)) == read_source(manifest())


def test_what_the_api_server_adds_is_no_fault() -> None:
    added = {
        "name": "github",
        "uid": "u",
        "resourceVersion": "7",
        "managedFields": [{}],
        "creationTimestamp": "2026-01-01",
    }
    source = read_source({**manifest(metadata=added), "status": {"anything": True}})
    assert source.metadata.uid == "u"


def test_a_source_written_out_is_read_back_the_same() -> None:
    examples = Path(__file__).parents[2] / "examples"
    for source in load(*(path for path in examples.iterdir() if path.is_dir())).sources:
        for unset in (True, False):
            assert read_source(source.model_dump(by_alias=True, exclude_unset=unset, mode="json")) == source


def test_the_path_follows_from_the_name_unless_it_is_given() -> None:
    assert read_source(manifest()).path == "/default/github"
    assert read_source(manifest(spec__ingest__path="/hooks")).path == "/hooks"


@pytest.mark.parametrize(
    ("text", "value"), [("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("3d", 259200), ("0s", 0)]
)
def test_durations_are_seconds(text: str, value: float) -> None:
    assert seconds(text) == value
    assert duration(value) == text


@pytest.mark.parametrize("text", ["", "5", "s", "1.5h", "-1s", "1 s", "1w", "٣s", "1s\n"])
def test_what_is_no_duration_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        seconds(text)


@pytest.mark.parametrize(("text", "value"), [("1Mi", 1048576), ("512Ki", 524288), ("1500", 1500), ("1Gi", 1073741824)])
def test_quantities_are_bytes(text: str, value: int) -> None:
    assert size(text) == value
    assert quantity(value) == text


def test_decimal_quantities_are_thousands() -> None:
    assert size("3k") == 3000


def test_faults_of_several_files_are_all_said(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    (tmp_path / "b.yml").write_text("just text")
    (tmp_path / "c.txt").write_text("not looked at [")
    with pytest.raises(ManifestError) as raised:
        load(tmp_path, tmp_path / "missing.yaml")
    assert [Path(fault.where).name for fault in raised.value.faults] == ["a.yaml", "b.yml", "missing.yaml"]


def test_one_file_of_several_sources_gives_them_in_order() -> None:
    one, two = manifest(), manifest(metadata={"name": "other"})
    found = parse(f"{one}\n---\n{two}".replace("'", '"'))
    assert [source.key for source in found.sources] == ["default/github", "default/other"]


def test_a_flood_of_faults_is_cut_short() -> None:
    with pytest.raises(ManifestError) as raised:
        parse(
            "apiVersion: forebay.dev/v1alpha1\nkind: WebhookSource\nspec:\n"
            + "".join(f"  k{i}: x\n" for i in range(9_000))
        )
    assert len(raised.value.faults) == MAX_FAULTS + 1
    assert raised.value.faults[-1].message == "and more faults from here on"
