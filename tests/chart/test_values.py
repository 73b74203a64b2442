"""Values: what is wrong is refused with its name, what is right reaches the operator as it was meant."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from tools import chart_reference

from forebay_operator.desired import Platform
from forebay_operator.options import Options, options
from tests.support.helm import CHART, TREE, Helm, HelmError

WRONG = {
    "replica: 2": "at '': additional properties 'replica' not allowed",
    "replicas: two": "at '/replicas': got string, want integer",
    "replicas: -1": "at '/replicas': minimum: got -1, want 0",
    "watchNamespaces: payments": "at '/watchNamespaces': got string, want array",
    "watchNamespaces: [My_Team]": "at '/watchNamespaces/0': 'My_Team' does not match pattern",
    "image: {tag: 1.0}": "at '/image/tag': got number, want string",
    "image: {digest: abc}": "at '/image/digest': 'abc' does not match pattern",
    "image: {repository: 'registry.example/operator@sha256:0'}": "at '/image/repository'",
    "ingest: {image: {pullPolicy: Always}}": "at '/ingest/image': additional properties 'pullPolicy' not allowed",
    "log: {level: loud}": "at '/log/level': value must be one of 'debug', 'info', 'warning', 'error'",
    "imagePullSecrets: [registry]": "at '/imagePullSecrets/0': got string, want object",
    "podLabels: {version: 2}": "at '/podLabels/version': got number, want string",
    "dashboards: {labelValue: 1}": "at '/dashboards/labelValue': got number, want string",
    "networkPolicy: {egressPorts: [70000]}": "at '/networkPolicy/egressPorts/0': maximum: got 70,000, want 65,535",
    "defaultBroker: {uri: 'amqp://user:password@host'}": "at '/defaultBroker': additional properties 'uri' not allowed",
    "defaultBroker: {name: rabbitmq}": "defaultBroker needs both namespace and name",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_value_is_refused_by_name(text: str, helm: Helm) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render(yaml.safe_load(text))
    assert WRONG[text] in str(refused.value)


def test_a_release_name_that_leaves_no_room_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match="take one of at most 44 characters"):
        helm.render({}, release="r" * 45)


def test_chart_images_and_distributions_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    version = tomllib.loads((TREE / "operator" / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert chart["version"] == chart["appVersion"] == version


def test_helm_finds_no_fault(helm: Helm) -> None:
    said = helm.run("lint", "--strict", str(CHART), "--kube-version", "1.34.4")
    assert "0 chart(s) failed" in said
    assert "WARNING" not in said


def test_the_schema_knows_every_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    known = set(_leaves(schema, schema))
    given = {one.path for one in chart_reference.values()}
    # For charts that depend on this one: Helm itself passes them on.
    assert known - given == {"global", "enabled"}
    assert given <= known


def _leaves(part: Mapping[str, Any], root: Mapping[str, Any], path: str = "") -> Iterator[str]:
    name = part.get("$ref", "").removeprefix("#/definitions/")
    part = root["definitions"][name] if name else part
    if "properties" not in part:
        yield path
        return
    assert part["additionalProperties"] is False, f"{path} lets anything in"
    for key, below in part["properties"].items():
        yield from _leaves(below, root, f"{path}.{key}" if path else key)


def test_every_value_has_a_meaning() -> None:
    for one in chart_reference.values():
        assert one.meaning.endswith("."), f"{one.path} has no comment in values.yaml, or no full sentence"


def test_the_page_of_values_is_that_of_the_chart() -> None:
    assert chart_reference.FILE.read_text("utf-8") == chart_reference.page(), "run `make reference`"


def test_every_value_is_rendered() -> None:
    """What is in values.yaml and in no template would be a promise that nobody keeps."""
    templates = "".join(path.read_text("utf-8") for path in (CHART / "templates").iterdir())
    for one in chart_reference.values():
        *parents, last = one.path.split(".")
        assert last in templates, one.path
        assert all(parent in templates for parent in parents), one.path


# ------------------------------------------------------------------------------------------------ the operator's flags


def test_by_default_the_operator_runs_as_its_own_defaults_say(helm: Helm) -> None:
    assert _options(helm, {}) == Options(
        leader_election=True, lease_namespace="forebay-system", lease_name="forebay", identity="pod"
    )


def test_values_reach_the_operator(helm: Helm) -> None:
    everything = TREE / "tests" / "chart" / "cases" / "everything.yaml"
    digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    assert _options(helm, yaml.safe_load(everything.read_text("utf-8"))) == Options(
        namespaces=("payments",),
        default_broker=("payments", "rabbitmq"),
        log_format="text",
        log_level="debug",
        workers=4,
        resync_s=60,
        leader_election=True,
        lease_namespace="forebay-system",
        lease_name="forebay",
        identity="pod",
        platform=Platform(
            ingest_image="registry.example/ingest:2.0",
            worker_image=f"registry.example/worker@{digest}",
            image_pull_secrets=("registry", "mirror"),
            allow_private=False,
            allow_loopback=True,
            dashboard_label="dashboards",
            dashboard_label_value="platform",
            dashboard_folder_annotation="folder",
            network_policies=False,
            ingress_namespaces=("gateways",),
            monitoring_namespaces=("monitoring",),
            broker_ports=(5673,),
        ),
    )


def _options(helm: Helm, values: Mapping[str, Any]) -> Options:
    """What the operator's own parser makes of the rendered arguments."""
    (deployment,) = (one for one in helm.objects(values) if one["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return options(container["args"], {"HOSTNAME": "pod"})


# ------------------------------------------------------------------------------------------------ rights


def test_an_operator_for_the_whole_cluster_may_do_what_one_for_a_namespace_may(helm: Helm) -> None:
    """The tests of reconciling judge the rules of a namespace; these are the same."""
    name = "forebay"
    rules = {
        one["kind"]: one["rules"] for one in helm.objects({}) if one["metadata"]["name"] == name and "rules" in one
    }
    narrow = [one for one in helm.objects({"watchNamespaces": ["a", "b"]}) if one["metadata"]["name"] == name]
    assert list(rules) == ["ClusterRole"]
    assert [one["metadata"]["namespace"] for one in narrow if one["kind"] == "Role"] == ["a", "b"]
    assert all(one["rules"] == rules["ClusterRole"] for one in narrow if one["kind"] == "Role")
    assert not [one for one in narrow if one["kind"] in ("ClusterRole", "ClusterRoleBinding")]


# ------------------------------------------------------------------------------------------------ the CRD


def test_the_chart_has_the_crd_of_the_model() -> None:
    ours = {path.name: path.read_bytes() for path in (CHART / "files" / "crds").iterdir()}
    assert ours == {path.name: path.read_bytes() for path in (TREE / "crds").glob("*.yaml")}, "run `make crds`"


@pytest.mark.parametrize("keep", [True, False])
def test_the_rendered_crd_is_that_of_the_model_and_outlives_the_release_if_asked(keep: bool, helm: Helm) -> None:
    (crd,) = (one for one in helm.objects({"crds": {"keep": keep}}) if one["kind"] == "CustomResourceDefinition")
    assert (crd["metadata"].get("annotations") == {"helm.sh/resource-policy": "keep"}) is keep
    (file,) = (TREE / "crds").glob("*.yaml")
    model = yaml.safe_load(file.read_text("utf-8"))
    assert {**crd, "metadata": {"name": crd["metadata"]["name"]}} == model
