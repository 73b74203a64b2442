"""`forebay storage buffer`: what a source has left in the outage buffer is told, and goes only when nobody works on it."""

import json
import os
import time
from pathlib import Path

import pytest
import yaml

from forebay.identity import IdSource
from forebay_ingest.segments import LEASE, folder, segment
from tests.support.command_line import forebay
from tests.support.sources import manifest

Capture = pytest.CaptureFixture[str]
HOUR_S = 3600.0
IDS = IdSource()


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    return tmp_path / "bucket"


@pytest.fixture
def source(tmp_path: Path, bucket: Path) -> str:
    """The manifest of payments/github, whose buffer is in the bucket."""
    data = manifest(
        metadata={"name": "github", "namespace": "payments"},
        spec__ingest__outageBuffer={},
        spec__storage={"provider": "File", "bucket": str(bucket)},
    )
    file = tmp_path / "source.yaml"
    file.write_text(yaml.safe_dump(data))
    return str(file)


def put(bucket: Path, key: str, age_s: float, content: bytes = b"x" * 1000) -> Path:
    path = bucket / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def left(bucket: Path, replica: str, webhooks: int, age_s: float, source: str = "payments/github") -> Path:
    """A segment that was stored so long ago."""
    content = b"x" * 1000
    made = segment(source, replica, IDS.next(int((time.time() - age_s) * 1000)), content, webhooks)
    return put(bucket, made.key, age_s, content)


def test_it_tells_how_many_webhooks_wait_and_changes_nothing(capsys: Capture, source: str, bucket: Path) -> None:
    paths = [left(bucket, "pod-1", 3, 9 * HOUR_S), left(bucket, "pod-1", 4, 8 * HOUR_S), left(bucket, "pod-2", 5, 60)]
    ran = forebay(capsys, "storage", "buffer", "-f", source)
    assert ran.status == 0
    assert "pod-1: 7 webhooks, 0.0 MiB, the oldest of 20" in ran.out
    assert ran.out.endswith("12 webhooks that were answered 2xx wait for a broker\n")
    told = json.loads(forebay(capsys, "storage", "buffer", "-f", source, "-o", "json").out)
    assert [(one["name"], one["webhooks"], one["bytes"]) for one in told["replicas"]] == [
        ("pod-1", 7, 2000),
        ("pod-2", 5, 1000),
    ]
    assert all(path.exists() for path in paths)


def test_what_a_source_that_is_gone_has_left_is_given_up(capsys: Capture, source: str, bucket: Path) -> None:
    gone = [
        left(bucket, "pod-1", 3, 9 * HOUR_S),
        put(bucket, folder("payments/github", "pod-1") + LEASE, 9 * HOUR_S),
        put(bucket, folder("payments/github", "pod-1") + ".half", 9 * HOUR_S),
    ]
    others = left(bucket, "pod-1", 1, 9 * HOUR_S, source="payments/git")
    ran = forebay(capsys, "storage", "buffer", "-f", source, "--delete")
    assert (ran.status, "3 webhooks that were answered 2xx are given up" in ran.out) == (0, True)
    assert [path.exists() for path in (*gone, others)] == [False, False, False, True]


@pytest.mark.parametrize("touched", ["segment", "lease"])
def test_what_an_endpoint_works_on_stays(capsys: Capture, source: str, bucket: Path, touched: str) -> None:
    path = left(bucket, "pod-1", 3, 9 * HOUR_S)
    if touched == "lease":
        put(bucket, folder("payments/github", "pod-1") + LEASE, 5)
    else:
        left(bucket, "pod-2", 3, 60)
    ran = forebay(capsys, "storage", "buffer", "-f", source, "--delete")
    assert (ran.status, path.exists()) == (1, True)
    assert f"works on the buffer of {'pod-1' if touched == 'lease' else 'pod-2'}" in ran.err


def test_clocks_of_two_machines_are_not_trusted_by_the_minute(capsys: Capture, source: str) -> None:
    ran = forebay(capsys, "storage", "buffer", "-f", source, "--delete", "--untouched-for", "1m")
    assert (ran.status, "ten minutes" in ran.err) == (2, True)


def test_an_empty_buffer_is_told(capsys: Capture, source: str) -> None:
    assert (
        forebay(capsys, "storage", "buffer", "-f", source).out
        == "0 webhooks that were answered 2xx wait for a broker\n"
    )
