"""KEDA: its operator and its metrics server, by its own manifests. On a cluster that is not ours its owner sees to it."""

from pathlib import Path

from tools.archive import Image, program
from tools.build import built

from tests.cluster import published
from tests.cluster.cluster import Cluster

NAMESPACE = "keda"
_API = "apiservice/v1beta1.external.metrics.k8s.io"
_IMAGES = {
    "operator": Image(name="forebay.test/keda:2", command=("/keda",)),
    "adapter": Image(name="forebay.test/keda-adapter:2", command=("/keda-adapter",)),
}
_DEPLOYMENTS = {
    "keda-operator": _IMAGES["operator"].name,
    "keda-metrics-apiserver": _IMAGES["adapter"].name,
}  # and no webhook that checks: it lets pass what it does not see


def archives() -> list[Path]:
    return [program(built("keda") / name, image) for name, image in _IMAGES.items()]


def install(cluster: Cluster) -> None:
    if cluster.node is None:
        return
    for archive in archives():
        cluster.node.load(archive)
    manifests = cluster.kubectl("kustomize", str(built("keda-manifests") / "default"))
    published.apply(cluster, manifests, _DEPLOYMENTS)
    for name in _DEPLOYMENTS:
        cluster.kubectl("rollout", "status", f"--namespace={NAMESPACE}", f"deployment/{name}", "--timeout=180s")
    cluster.kubectl("wait", "--for=condition=Available", _API, "--timeout=60s")


def stop(cluster: Cluster) -> None:
    """No more of it runs, where it is ours. The API goes first: one that nobody serves makes every listing of APIs fail."""
    if cluster.node is None:
        return
    cluster.kubectl("delete", _API)
    cluster.kubectl(
        "scale", f"--namespace={NAMESPACE}", "--replicas=0", *(f"deployment/{name}" for name in _DEPLOYMENTS)
    )
