"""The proxy before the endpoints: Contour and Envoy in one pod. It keeps what Ingresses and HTTPRoutes ask for, with TLS."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.archive import Image, program
from tools.build import built

from tests.cluster.cluster import HERE, Cluster
from tests.support.certificates import Pair, authority, issued

NAMESPACE = "gateways"
ADDRESS = f"envoy.{NAMESPACE}.svc:443"
BY_INGRESS, BY_ROUTE = "ingress.example.test", "route.example.test"
IN_DOCS = "hooks.example.com"
CERTIFICATE = "hooks-tls"  # the Secret that holds it, in the gateway's namespace and in each tenant's
_IMAGES = {
    "contour": Image(name="forebay.test/contour:1", command=("/contour",)),
    "envoy": Image(name="forebay.test/envoy:1", command=("/envoy",)),
}


def archives() -> Iterator[Path]:
    """The images, for the node; made now if need be. Raises BuildError."""
    for name, image in _IMAGES.items():
        yield program(built(name), image)


@dataclass(frozen=True, slots=True)
class Front:
    """The proxy, with a certificate of an authority of our own for its two hosts."""

    cluster: Cluster
    ca: Pair
    certificate: Pair

    def door(self, host: str) -> dict[str, str]:
        """How a provider comes in: by this host name, trusting our authority and no other."""
        return {"address": ADDRESS, "host": host, "trust": self.ca.certificate.read_text()}

    def give_certificate(self, namespace: str) -> None:
        pair = (f"--cert={self.certificate.certificate}", f"--key={self.certificate.key}")
        self.cluster.kubectl("create", "secret", "tls", CERTIFICATE, f"--namespace={namespace}", *pair)

    def install(self) -> None:
        """What a cluster's owner does before anybody exposes anything."""
        self.cluster.kubectl("create", "namespace", NAMESPACE)
        self.give_certificate(NAMESPACE)
        for crds in ("crds-gateway", "crds-contour"):
            self.cluster.kubectl("apply", "--server-side", "-f", str(built(crds)))
        self.cluster.kubectl("apply", "-f", str(HERE / "manifests/contour.yaml"))
        self.cluster.kubectl("rollout", "status", f"--namespace={NAMESPACE}", "deployment/envoy", "--timeout=90s")


def front(cluster: Cluster, folder: Path) -> Front:
    """One that is not installed yet; its certificate is in the folder."""
    ca = authority(folder)
    names = ",".join(f"DNS:{host}" for host in (BY_INGRESS, BY_ROUTE, IN_DOCS))
    return Front(cluster, ca, issued(ca, folder, "hooks", names=names))
