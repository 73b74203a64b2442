"""The RabbitMQ of the stories: a pod from an image that is made here, with its data on a volume."""

from pathlib import Path

from tools.archive import Image, pack
from tools.rabbitmq_root import locked, root_of

from tests.cluster.cluster import HERE, Cluster

NAMESPACE = "rabbitmq"
USERNAME, PASSWORD = "admin", "a-login-that-only-this-cluster-knows"
URI = f"amqp://{USERNAME}:{PASSWORD}@rabbitmq.{NAMESPACE}.svc:5672/%2F"
MANAGEMENT = f"http://rabbitmq.{NAMESPACE}.svc:15672"
_SUITE = "sid"  # whose RabbitMQ is the newest
_IMAGE = Image(
    name=f"forebay.test/rabbitmq:{_SUITE}",
    command=("/usr/lib/rabbitmq/bin/rabbitmq-server",),
    environment={"PATH": "/usr/lib/rabbitmq/bin:/usr/bin:/bin"},
)


def archive() -> Path:
    """The image, for the node; made now if need be. Raises Unavailable."""
    root = root_of(_SUITE)
    target = root.with_suffix(".tar")
    with locked(root.with_suffix(".image.lock")):
        if not target.exists():
            pack(root, _IMAGE, target)
            for stale in root.parent.glob(f"rabbitmq-{_SUITE}-*.tar"):
                if stale != target:
                    stale.unlink(missing_ok=True)
    return target


def install(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("apply", f"--namespace={NAMESPACE}", "-f", str(HERE / "manifests/rabbitmq.yaml"))
    cluster.kubectl("rollout", "status", f"--namespace={NAMESPACE}", "statefulset/rabbitmq", "--timeout=120s")
