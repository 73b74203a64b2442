"""What holds for the objects of every source, whatever it says."""

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay import manifest as manifests
from forebay import settings
from forebay.manifest import ManifestError, read_source
from forebay.source import WebhookSource
from forebay.topology import Names, SourceTopology
from forebay_operator.desired import Platform, broker_secret, desired, source_topology
from tests.support.sources import manifest

CASES = Path(__file__).parent / "cases"
SOURCES = [
    source
    for path in sorted(CASES.glob("*.yaml"))
    if not path.name.endswith(".golden.yaml")
    for source in manifests.load(path).sources
]
EVERY_SOURCE = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)


def deployments(source: WebhookSource) -> list[dict[str, Any]]:
    return [item for item in desired(source, Platform()) if item["kind"] == "Deployment"]


def pods(source: WebhookSource) -> list[dict[str, Any]]:
    return [item["spec"]["template"]["spec"] for item in deployments(source)]


def settings_of(source: WebhookSource) -> dict[str, str]:
    (config, *_) = (item for item in desired(source, Platform()) if item["kind"] == "ConfigMap")
    return dict(config["data"])


@EVERY_SOURCE
def test_the_same_source_becomes_the_same_objects(source: WebhookSource) -> None:
    assert json.dumps(desired(source, Platform())) == json.dumps(desired(source, Platform()))


@EVERY_SOURCE
def test_pods_meet_the_restricted_pod_security_standard(source: WebhookSource) -> None:
    for pod in pods(source):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(pod)
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }


@EVERY_SOURCE
def test_no_pod_has_a_token_of_the_api_server_unless_it_brings_its_own_account(source: WebhookSource) -> None:
    for pod in pods(source):
        assert pod["automountServiceAccountToken"] == (not pod["serviceAccountName"].startswith(f"{source.name}-"))


@EVERY_SOURCE
def test_a_process_finds_every_file_its_settings_name(source: WebhookSource) -> None:
    for pod in pods(source):
        files = set(_mounted(pod))
        component = pod["containers"][0]["name"]
        assert f"/etc/forebay/config/{component}.json" in files
        assert "/etc/forebay/secrets/broker/uri" in files
        text = settings_of(source)[_settings_key(pod)]
        for named in re.findall(r'"(secrets/[^"]+)"', text):
            assert f"/etc/forebay/{named}" in files


def _mounted(pod: dict[str, Any]) -> Iterator[str]:
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in pod["containers"][0]["volumeMounts"]:
        volume = volumes[mount["name"]]
        for item in (volume.get("configMap") or volume.get("secret") or {}).get("items", ()):
            yield str(PurePosixPath(mount["mountPath"]) / item["path"])


def _settings_key(pod: dict[str, Any]) -> str:
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "settings")
    return str(volume["configMap"]["items"][0]["key"])


@EVERY_SOURCE
def test_only_the_keys_that_are_needed_are_mounted(source: WebhookSource) -> None:
    for pod in pods(source):
        for volume in pod["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["items"]


@EVERY_SOURCE
def test_the_settings_are_read_back_without_a_fault(source: WebhookSource) -> None:
    texts = settings_of(source)
    ingest = settings.parse(settings.IngestSettings, texts.pop("ingest.json"))
    workers = [settings.parse(settings.WorkerSettings, text) for text in texts.values()]
    assert {ingest.source, *(worker.source for worker in workers)} == {source.key}
    assert {route.queue for route in ingest.routes} == {worker.queue for worker in workers}


@EVERY_SOURCE
def test_a_process_has_time_to_end_before_it_is_killed(source: WebhookSource) -> None:
    texts = settings_of(source)
    endpoint, *workers = pods(source)
    linger = endpoint["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    ingest = settings.parse(settings.IngestSettings, texts["ingest.json"])
    assert endpoint["terminationGracePeriodSeconds"] > linger + ingest.drain_s
    for pod in workers:
        worker = settings.parse(settings.WorkerSettings, texts[_settings_key(pod)])
        longest = worker.destination.timeout_s if worker.destination else worker.handler.timeout_s  # type: ignore[union-attr]
        assert pod["terminationGracePeriodSeconds"] > worker.drain_s > longest


@EVERY_SOURCE
def test_selectors_choose_the_pods_of_their_deployment_and_no_others(source: WebhookSource) -> None:
    selectors = [item["spec"]["selector"]["matchLabels"] for item in deployments(source)]
    labels = [item["spec"]["template"]["metadata"]["labels"] for item in deployments(source)]
    chosen = [[selector.items() <= pod.items() for pod in labels] for selector in selectors]
    assert chosen == [[row == column for column in range(len(labels))] for row in range(len(selectors))]


def test_other_settings_need_other_pods() -> None:
    def hashes(source: WebhookSource) -> list[str]:
        return [
            d["spec"]["template"]["metadata"]["annotations"]["forebay.dev/settings-sha256"] for d in deployments(source)
        ]

    before = hashes(read_source(manifest()))
    after = hashes(read_source(manifest(spec__retry__maxAttempts=3)))
    assert before[0] == after[0]  # the endpoint knows nothing of retries
    assert before[1] != after[1]


def test_workers_that_are_to_rest_are_told_and_not_replaced() -> None:
    awake, resting = read_source(manifest()), read_source(manifest(spec__suspend="Workers"))
    assert settings_of(awake) != settings_of(resting)
    assert deployments(awake) == deployments(resting)


def test_children_are_owned_by_a_source_that_lives_on_an_api_server() -> None:
    metadata = {"name": "github", "uid": "u-1"}
    for item in desired(read_source(manifest(metadata=metadata)), Platform()):
        (owner,) = item["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == ("u-1", True)


NAMES = st.from_regex(r"\A[a-z](-?(worker|ingest|broker|settings|a|b))*\Z").filter(lambda name: len(name) <= 40)
QUEUES = st.from_regex(r"\A[a-z](-?(worker|ingest|a|b))*\Z").filter(lambda name: len(name) <= 15)


@given(NAMES, NAMES, QUEUES, QUEUES)
def test_no_two_sources_share_a_child(one: str, other: str, queue: str, another: str) -> None:
    try:
        children = [_children(name, queue_name) for name, queue_name in ((one, queue), (other, another))]
    except ManifestError:
        return  # refused names share nothing
    assert one == other or not children[0] & children[1]


def _children(name: str, queue: str) -> set[tuple[str, str]]:
    queues = [{"name": queue, "match": {"eventTypes": ["push"]}}]
    source = read_source(manifest(metadata={"name": name}, spec__queues=queues))
    made = {(item["kind"], item["metadata"]["name"]) for item in desired(source, Platform())}
    return made | {("Secret", broker_secret(source, "ingest")), ("Secret", broker_secret(source, "worker"))}


def test_names_fit_even_where_they_are_longest() -> None:
    queues = [{"name": "q" * 15, "match": {"eventTypes": ["push"]}}]
    source = read_source(manifest(metadata={"name": "s" * 40}, spec__queues=queues))
    for item in desired(source, Platform()):
        assert len(item["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in item["metadata"]["labels"].values())


def test_default_is_the_last_queue_wherever_it_is_named() -> None:
    queues = [{"name": "default", "concurrency": 3}, {"name": "a", "match": {"eventTypes": ["push"]}}]
    source = read_source(manifest(spec__queues=queues))
    assert source_topology(source) == SourceTopology(names=Names("default", "github"), queues=("a", "default"))
    ingest = settings.parse(settings.IngestSettings, settings_of(source)["ingest.json"])
    assert [route.queue for route in ingest.routes] == ["a", "default"]
    assert settings.parse(settings.WorkerSettings, settings_of(source)["worker-default.json"]).concurrency == 3
