"""What a worker says of settings it can not work with: everything at once, in one line, with the remedy."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GOOD: dict[str, Any] = {
    "source": "payments/github",
    "queue": "default",
    "destination": {"url": "http://orders.example/hook"},
}


def start(root: Path, settings: dict[str, Any] | None) -> subprocess.CompletedProcess[str]:
    if settings is not None:
        (root / "config").mkdir()
        (root / "config/worker.json").write_text(json.dumps(settings))
    environment = {**os.environ, "FOREBAY_ROOT": str(root), "FOREBAY_ADMIN_LISTEN": "127.0.0.1:0"}
    command = [sys.executable, "-m", "forebay_worker"]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=30, check=False)


def refused(root: Path, settings: dict[str, Any] | None, *, broker: bool = True) -> str:
    if broker:
        (root / "secrets/broker").mkdir(parents=True)
        (root / "secrets/broker/uri").write_text("amqp://nobody:nothing@127.0.0.1:1/")
    ended = start(root, settings)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_no_settings(tmp_path: Path) -> None:
    assert "FOREBAY_ROOT names the folder above it" in refused(tmp_path, None)


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    settings = {
        **GOOD,
        "source": "github",
        "destination": {"url": "ftp://a", "timeout_s": 0},
        "concurrency": 0,
        "retry": {"max_attempts": 0, "statuses": ["5xx"]},
        "tiers": [],
        "circuit_breaker": {"failure_percent": 101, "probes": 0},
    }
    said = refused(tmp_path, settings, broker=False)
    faults = ("source", "destination.url", "timeout_s", "concurrency", "max_attempts", "'5xx'", "tiers", "uri")
    for fault in (*faults, "failure_percent", "circuit_breaker has a number"):
        assert fault in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"destination": None}, "destination and handler are both missing"),
        ({"handler": {"target": "json:loads"}}, "destination and handler are both set"),
        ({"destination": None, "handler": {"target": "no_such_module:handle"}}, "there is no module 'no_such_module'"),
        ({"destination": {"url": "https://a/", "ca_file": "secrets/ca"}}, "destination.ca_file"),
        ({"destination": {"url": "http://a/", "auth": {"kind": "Bearer", "file": "secrets/x"}}}, "can not be read"),
        ({"destination": {"url": "http://a/", "headers": [["Content-Length", "1"]]}}, "Content-Length"),
        ({"destination": {"url": "http://a/", "method": "get it"}}, "destination.method"),
        ({"destination": {"url": "http://user:secret@a/"}}, "holds credentials"),
    ],
)
def test_a_destination_that_can_not_be(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    found = refused(tmp_path, {**GOOD, **changes})
    assert said in found
    assert "user:secret" not in found


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_it_tells_what_it_is(option: str) -> None:
    command = [sys.executable, "-m", "forebay_worker", option]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert ("FOREBAY_ROOT" in ended.stdout) == (option == "--help")


def test_what_handlers_import_is_light() -> None:
    """`from forebay_worker import Webhook` in a user's tests brings in neither the broker's client nor aiohttp."""
    code = "import sys, forebay_worker; print(sorted({'pika', 'aiohttp', 'asyncio', 'prometheus_client'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout.strip() == "[]"
