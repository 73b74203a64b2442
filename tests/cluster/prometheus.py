"""prometheus-operator by its own manifests, and a Prometheus that it runs. On a cluster that is not ours its owner sees to it."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tools.archive import Image, program
from tools.build import built

from tests.cluster import published
from tests.cluster.cluster import HERE, Cluster

NAMESPACE = "monitoring"
_OPERATOR = "prometheus-operator"
_OPERATOR_NAMESPACE = "default"  # by its manifests
_IMAGE = Image(name="forebay.test/prometheus:3", command=("/bin/prometheus",))
_OPERATORS = {
    "operator": Image(name="forebay.test/prometheus-operator:0.85", command=("/operator",)),
    "prometheus-config-reloader": Image(
        name="forebay.test/prometheus-config-reloader:0.85", command=("/bin/prometheus-config-reloader",)
    ),
}


def archives() -> list[Path]:
    operators = [program(built(_OPERATOR) / name, image) for name, image in _OPERATORS.items()]
    return [program(built("prometheus-3"), _IMAGE), *operators]


def install(cluster: Cluster) -> None:
    if cluster.node is None:
        return
    for archive in archives():
        cluster.node.load(archive)
    manifests = built(f"{_OPERATOR}-manifests").read_text()
    arguments = (
        f"--prometheus-config-reloader={_OPERATORS['prometheus-config-reloader'].name}",
        "--config-reloader-cpu-limit=0",  # of its own accord it gives it a hundredth of a CPU
    )
    published.apply(cluster, manifests, {_OPERATOR: _OPERATORS["operator"].name}, arguments)
    cluster.kubectl(
        "rollout", "status", f"--namespace={_OPERATOR_NAMESPACE}", f"deployment/{_OPERATOR}", "--timeout=120s"
    )
    cluster.kubectl("apply", "-f", str(HERE / "manifests/prometheus.yaml"))
    cluster.kubectl(
        "wait", f"--namespace={NAMESPACE}", "--for=condition=Available", "prometheus/stories", "--timeout=180s"
    )


def stop(cluster: Cluster) -> None:
    """No more of it runs, where it is ours."""
    if cluster.node is None:
        return
    cluster.kubectl("delete", f"--namespace={NAMESPACE}", "prometheus/stories")
    cluster.kubectl("scale", f"--namespace={_OPERATOR_NAMESPACE}", f"deployment/{_OPERATOR}", "--replicas=0")


def alerts(cluster: Cluster, namespace: str) -> dict[str, str]:
    """Of the sources of this namespace: alert → pending or firing. One that is neither is not there."""
    found = _asked(cluster, "alerts")["alerts"]
    return {one["labels"]["alertname"]: one["state"] for one in found if one["labels"].get("namespace") == namespace}


def rules(cluster: Cluster) -> set[str]:
    """The groups of rules that it goes by."""
    return {group["name"] for group in _asked(cluster, "rules")["groups"]}


def value(cluster: Cluster, expression: str) -> float | None:
    """What an expression with one result is now; None: it has none."""
    result = _asked(cluster, f"query?query={quote(expression)}")["result"]
    return float(result[0]["value"][1]) if result else None


def _asked(cluster: Cluster, what: str) -> dict[str, Any]:
    path = f"/api/v1/namespaces/{NAMESPACE}/services/prometheus-operated:web/proxy/api/v1/{what}"
    answer: dict[str, Any] = json.loads(cluster.kubectl("get", "--raw", path))["data"]
    return answer
