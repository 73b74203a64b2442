"""An outage buffer that goes with its pod is warned of by the operator and by `forebay validate`, and refused by neither."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from forebay.manifest import read_source
from forebay.source.perishable import goes_with_pod
from forebay_operator.conditions import Observed, conditions
from tests.support.command_line import forebay
from tests.support.sources import manifest

BUCKET = "/var/lib/forebay/bodies"
NOTHING: dict[str, Any] = {"emptyDir": {}}
CLAIM: dict[str, Any] = {"persistentVolumeClaim": {"claimName": "buffer"}}


def buffered(*places: tuple[str, dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A source with an outage buffer in a folder, and volumes at these paths."""
    volumes = [{"name": f"v{number}", **kind} for number, (_, kind) in enumerate(places)]
    mounts = [{"name": f"v{number}", "mountPath": path} for number, (path, _) in enumerate(places)]
    pod = {"volumes": volumes, "volumeMounts": mounts}
    given = {"spec__ingest__outageBuffer": {}, "spec__storage": {"provider": "File", "bucket": BUCKET}, **changes}
    return manifest(metadata={"name": "github", "namespace": "payments"}, spec__ingest__podTemplate=pod, **given)


def warned(data: dict[str, Any]) -> bool:
    return goes_with_pod(read_source(data)) is not None


@pytest.mark.parametrize(
    "places",
    [
        [(BUCKET, NOTHING)],
        [("/var", NOTHING)],
        [("/var/lib/forebay/", {"ephemeral": {"volumeClaimTemplate": {}}})],
        [("/", CLAIM), ("/var/lib/forebay", NOTHING)],
    ],
)
def test_a_buffer_on_a_volume_that_goes_with_its_pod_is_warned_of(places: list[tuple[str, dict[str, Any]]]) -> None:
    assert warned(buffered(*places))


@pytest.mark.parametrize(
    "places", [[], [(BUCKET, CLAIM)], [("/var", NOTHING), (BUCKET, CLAIM)], [("/var/lib/forebay/bod", NOTHING)]]
)
def test_one_on_a_volume_that_stays_or_elsewhere_is_not(places: list[tuple[str, dict[str, Any]]]) -> None:
    assert not warned(buffered(*places))


def test_without_a_buffer_or_with_object_storage_nothing_is_said() -> None:
    place = (BUCKET, NOTHING)
    assert not warned(buffered(place, spec__storage={"provider": "S3", "bucket": "webhooks"}))
    data = buffered(place)
    del data["spec"]["ingest"]["outageBuffer"]
    assert not warned(data)


def test_the_source_is_accepted_and_the_condition_says_what_is_lost_when() -> None:
    accepted = conditions(read_source(buffered((BUCKET, NOTHING))), Observed())["Accepted"]
    assert accepted[:2] == ("True", "OutageBufferGoesWithPod")
    assert f"{BUCKET} is on the emptyDir 'v0'" in accepted.message
    assert "deleted, evicted, or replaced" in accepted.message


def test_validate_notes_it_and_finds_no_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "source.yaml"
    file.write_text(yaml.safe_dump(buffered((BUCKET, NOTHING))))
    ran = forebay(capsys, "validate", "-f", str(file))
    assert (ran.status, ran.out) == (0, "payments/github is valid\n")
    assert ran.err.startswith("note: payments/github: what waits in the outage buffer is lost")
    told = json.loads(forebay(capsys, "validate", "-f", str(file), "-o", "json").out)
    assert told["valid"]
    assert len(told["notes"]) == 1
