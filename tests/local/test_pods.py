"""What a Deployment says about a pod becomes files and a command of this machine."""

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from forebay import manifest as manifests
from forebay.errors import SpecError
from forebay_cli.local.command import launch, resolve
from forebay_cli.local.files import check, contents, mount
from forebay_cli.local.pod import Pod, pods
from forebay_operator.desired import Object, Platform, desired
from tests.support.sources import manifest

SECRETS = {
    "github-webhook": {"secret": b"sig"},
    "token": {"value": b"bearer"},
    "github-broker-ingest": {"uri": b"amqp://i"},
    "github-broker-worker": {"uri": b"amqp://w"},
}


def objects(**changes: Any) -> list[Object]:
    auth = {"bearer": {"secretRef": {"name": "token", "key": "value"}}}
    source = manifest(spec__worker__destination__auth=auth, spec__worker__replicas=3, **changes)
    return desired(manifests.read_source(source), Platform())


def pod(component: str, **changes: Any) -> Pod:
    return next(pod for pod in pods(objects(**changes)) if pod.component == component)


def files_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_each_deployment_is_a_pod_with_its_replicas_and_grace_period() -> None:
    queues = [{"name": "releases", "match": {"eventTypes": ["release"]}}]
    found = [(pod.deployment, pod.replicas) for pod in pods(objects(spec__queues=queues))]
    assert found == [("github-ingest", 2), ("github-worker-releases", 3), ("github-worker-default", 3)]
    assert pod("worker").grace_s > 30


def test_a_process_finds_its_own_settings_and_secrets_and_no_others(tmp_path: Path) -> None:
    held = contents(objects(), SECRETS)
    mount(tmp_path / "ingest", pod("ingest").files, held)
    mount(tmp_path / "worker", pod("worker").files, held)
    ingest, worker = files_below(tmp_path / "ingest"), files_below(tmp_path / "worker")
    assert ingest.keys() == {"config/ingest.json", "secrets/broker/uri", "secrets/github-webhook/secret"}
    assert ingest["secrets/broker/uri"] == b"amqp://i"
    assert worker.keys() == {"config/worker.json", "secrets/broker/uri", "secrets/token/value"}
    assert worker["secrets/token/value"] == b"bearer"


def test_nobody_else_can_read_what_a_process_is_given(tmp_path: Path) -> None:
    mount(tmp_path / "root", pod("ingest").files, contents(objects(), SECRETS))
    for path in (tmp_path / "root").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_mounting_again_replaces_what_was_there(tmp_path: Path) -> None:
    mount(tmp_path, pod("worker").files, contents(objects(), SECRETS))
    mount(tmp_path, pod("ingest").files, contents(objects(), SECRETS))
    assert "secrets/token/value" not in files_below(tmp_path)


def test_every_secret_that_nobody_gave_is_named_at_once() -> None:
    files = [file for pod in pods(objects()) for file in pod.files]
    with pytest.raises(SpecError, match=r"github-webhook/secret, token/value are not given; .*--secret"):
        check(files, contents(objects(), {name: SECRETS[name] for name in SECRETS if "broker" in name}))


def test_secrets_can_stand_among_the_objects_too() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "a"}, "data": {"k": "aGk="}}
    assert contents([secret], {})["Secret", "a", "k"] == b"hi"


def test_what_a_machine_can_not_mount_is_told() -> None:
    template = {
        "volumes": [{"name": "cache", "emptyDir": {}}], "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
    }  # fmt: skip
    assert pod("worker", spec__worker__podTemplate=template).absent == ("/cache",)


def test_the_containers_command_is_the_module_that_is_installed_beside_us() -> None:
    assert resolve(("forebay-worker", "--x")) == (sys.executable, "-P", "-m", "forebay_worker", "--x")
    assert resolve(("sh", "-c", ":"))[0].endswith("/sh")
    with pytest.raises(SpecError, match="no-such-part is not installed here; "):
        resolve(("no-such-part",))


def test_addresses_and_paths_of_a_pod_become_those_of_this_machine(tmp_path: Path) -> None:
    shell = {"PATH": "/bin", "FOREBAY_ROOT": "/elsewhere", "FOREBAY_BROKER": "amqp://secret", "PYTHONPATH": "/mine"}
    plan = launch(
        pod("worker", spec__worker__podTemplate={"env": [{"name": "MODE", "value": "test"}]}), 1,
        folder=tmp_path, port=4000, handlers=Path("/handlers"), environ=shell, extra={"FOREBAY_LOG_LEVEL": "debug"},
    )  # fmt: skip
    assert plan.name == "github-worker-default-1"
    assert plan.env == {
        "PATH": "/bin",
        "MODE": "test",
        "PYTHONPATH": "/handlers:/mine",
        "PYTHONUNBUFFERED": "1",
        "FOREBAY_ROOT": str(tmp_path / plan.name),
        "FOREBAY_LISTEN": "127.0.0.1:4000",
        "FOREBAY_ADMIN_LISTEN": "127.0.0.1:0",
        "FOREBAY_READY_FILE": str(tmp_path / plan.name / "ready.json"),
        "FOREBAY_REPLICA": plan.name,
        "FOREBAY_LOG_LEVEL": "debug",
    }
    assert plan.cwd == Path("/handlers")
