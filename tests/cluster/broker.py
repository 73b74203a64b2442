"""The RabbitMQ of the stories: pods from an image that is made here, with their data on volumes; one node, or three."""

from dataclasses import dataclass
from pathlib import Path

from tools.archive import Image, pack
from tools.rabbitmq_root import locked, root_of

from tests.cluster.cluster import HERE, Cluster

USERNAME, PASSWORD = "admin", "a-login-that-only-this-cluster-knows"
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


@dataclass(frozen=True, slots=True)
class Broker:
    """A RabbitMQ in a namespace of its own, which is called as its manifest is."""

    namespace: str

    @property
    def uri(self) -> str:
        return f"amqp://{USERNAME}:{PASSWORD}@rabbitmq.{self.namespace}.svc:5672/%2F"

    @property
    def management(self) -> str:
        return f"http://rabbitmq.{self.namespace}.svc:15672"

    def install(self, cluster: Cluster) -> None:
        cluster.kubectl("create", "namespace", self.namespace)
        manifest = HERE / f"manifests/{self.namespace}.yaml"
        cluster.kubectl("apply", f"--namespace={self.namespace}", "-f", str(manifest))
        cluster.kubectl("rollout", "status", f"--namespace={self.namespace}", "statefulset/rabbitmq", "--timeout=400s")


ONE, THREE = Broker("rabbitmq"), Broker("rabbitmq-three")
