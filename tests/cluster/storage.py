"""The object storage of the stories: versitygw, which speaks S3, as a pod with its objects on a volume."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.archive import Image, program
from tools.build import built

from tests.cluster.cluster import HERE, Cluster
from tests.cluster.tenant import Tenant

NAMESPACE, BUCKET = "storage", "webhooks"
_IMAGE = Image(name="forebay.test/versitygw:1", command=("/versitygw",))
_CREDENTIALS = "[default]\naws_access_key_id=stories\naws_secret_access_key=a-secret-that-only-this-cluster-knows\n"
_SECRET = {"name": "bodies", "key": "credentials"}
_DEPLOYMENT = "deployment/versitygw"


def archive() -> Path:
    """The image, for the node; made now if need be. Raises BuildError."""
    return program(built("versitygw"), _IMAGE)


@dataclass(frozen=True, slots=True)
class Storage:
    """The server, in a namespace of its own."""

    cluster: Cluster

    def install(self) -> None:
        self.cluster.kubectl("create", "namespace", NAMESPACE)
        self._kubectl("apply", "-f", str(HERE / "manifests/versitygw.yaml"))
        self._kubectl("rollout", "status", _DEPLOYMENT, "--timeout=90s")

    def given_to(self, tenant: Tenant) -> dict[str, Any]:
        """A source's `spec.storage`, after the tenant has got the credentials."""
        literal = f"--from-literal={_SECRET['key']}={_CREDENTIALS}"
        tenant.kubectl("create", "secret", "generic", _SECRET["name"], literal)
        endpoint = f"http://versitygw.{NAMESPACE}.svc:7070"
        return {"provider": "S3", "bucket": BUCKET, "endpoint": endpoint, "credentialsSecretRef": _SECRET}

    @contextmanager
    def away(self) -> Iterator[None]:
        """In this block nobody answers at its Service."""
        try:
            self._kubectl("scale", _DEPLOYMENT, "--replicas=0")
            self._kubectl("wait", "--for=delete", "pod", "--selector=app=versitygw", "--timeout=60s")
            yield
        finally:
            self._kubectl("scale", _DEPLOYMENT, "--replicas=1")
            self._kubectl("rollout", "status", _DEPLOYMENT, "--timeout=90s")

    def _kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl(f"--namespace={NAMESPACE}", *arguments)
