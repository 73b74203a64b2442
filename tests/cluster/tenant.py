"""A namespace with a source in it, and a witness (witness.py) that sends to it and takes what is delivered."""

import base64
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from bench.faults import webhooks
from forebay.topology import Names
from tests.cluster.broker import ONE, PASSWORD, USERNAME, Broker
from tests.cluster.cluster import HERE, Cluster, Object, Refused, is_ready
from tests.support.helm import TREE

SOURCE = "ledger"
# Half of what pods ask for by default: several sources, their successors in a rollout, and all else share a node of two cores.
RESOURCES = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
_CODE = ("account", "dead_letters", "destination", "ledger", "sender", "webhooks")


@contextmanager
def moved_in(cluster: Cluster) -> Iterator["Tenant"]:
    """Somebody with a namespace of his own, for as long as the block takes."""
    tenant = Tenant(cluster, f"story-{secrets.token_hex(3)}")
    try:
        tenant.move_in()
        yield tenant
    finally:
        tenant.move_out()


@dataclass(frozen=True, slots=True)
class Tenant:
    """Somebody who has webhooks delivered."""

    cluster: Cluster
    namespace: str
    broker: Broker = ONE

    def move_in(self) -> None:
        """Have the namespace, the witness, and the secret by which it signs."""
        self.cluster.kubectl("create", "namespace", self.namespace)
        self.kubectl("create", "secret", "generic", "github", f"--from-literal=secret={webhooks.SECRET.decode()}")
        files = [HERE / "witness.py", *(TREE / f"bench/faults/{name}.py" for name in _CODE)]
        self.kubectl("create", "configmap", "witness", *(f"--from-file={path}" for path in files))
        self.kubectl("apply", "-f", str(HERE / "manifests/witness.yaml"))
        self.kubectl("rollout", "status", "deployment/witness", "--timeout=90s")

    def move_out(self) -> None:
        """Sources first: the operator cleans up after them on the broker. A node of our own is thrown away soon anyway."""
        ours = self.cluster.node is not None
        self.kubectl("delete", "deployment/witness", "--wait=false")
        self.kubectl("delete", "whs", "--all", "--wait=false" if ours else "--timeout=90s")
        if not ours:
            self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin)

    def secret(self, name: str) -> dict[str, str]:
        """What is in a Secret of the namespace."""
        data = json.loads(self.kubectl("get", "secret", name, "-o", "json"))["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def pods(self, component: str) -> list[Object]:
        """Of the source's endpoint or workers: those that run."""
        selector = f"--selector=app.kubernetes.io/component={component},forebay.dev/source={SOURCE}"
        found = self.cluster.objects("pods", f"--namespace={self.namespace}", selector)
        return [
            pod for pod in found if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    @contextmanager
    def replaced(self, component: str) -> Iterator[None]:
        """After the block, wait until all the component's pods are others than before it, and ready."""
        before = {pod["metadata"]["uid"] for pod in self.pods(component)}
        yield
        deadline = time.monotonic() + 90
        while not self._renewed(component, before):
            assert time.monotonic() < deadline, f"the pods of {component} are the same as before"
            time.sleep(0.5)

    def _renewed(self, component: str, before: set[str]) -> bool:
        label = f"--selector=app.kubernetes.io/component={component}"
        pods = self.cluster.objects("pods", f"--namespace={self.namespace}", label)
        return bool(pods) and all(map(is_ready, pods)) and not before & {pod["metadata"]["uid"] for pod in pods}

    def unreached(self, component: str, host: str, port: int) -> str:
        """What keeps a pod of the component from connecting there: an error's name; empty: nothing does."""
        code = f"import socket; socket.create_connection(({host!r}, {port}), 3)"
        try:
            self.kubectl("exec", self.pods(component)[0]["metadata"]["name"], "--", "python", "-c", code)
        except Refused as error:
            return next((word for word in str(error).replace(":", " ").split() if word.endswith("Error")), str(error))
        return ""

    # ------------------------------------------------------------------------------------------- the source

    def apply(self, **changes: Any) -> None:
        """The source, with these parts of its spec in the place of the usual."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(self.source(**changes)))

    def source(self, **changes: Any) -> Object:
        spec = {
            "ingest": {
                "verification": {"provider": "GitHub", "secretRefs": [{"name": "github", "key": "secret"}]},
                "resources": RESOURCES,
            },
            # Long enough for every outage here: what is dead-lettered is what the destination refuses for good.
            "retry": {"schedule": ["1s", "1s", "2s", "3s", "5s"], "maxAttempts": 100},
            "worker": {
                "concurrency": 20,
                "resources": RESOURCES,
                "destination": {"url": f"http://orders.{self.namespace}.svc/webhooks", "timeout": "4s"},
            },
        }
        return {
            "apiVersion": "forebay.dev/v1alpha1",
            "kind": "WebhookSource",
            "metadata": {"name": SOURCE},
            "spec": {**spec, **changes},
        }

    def wait_ready(self, within_s: float = 120.0) -> float:
        """`kubectl wait`; how many seconds it took."""
        began = time.monotonic()
        self.kubectl("wait", "--for=condition=Ready", f"whs/{SOURCE}", f"--timeout={within_s:g}s")
        return time.monotonic() - began

    # ------------------------------------------------------------------------------------------- the witness

    def tell(self, act: str, **told: Any) -> dict[str, Any]:
        """Have the witness do something (its methods say what); what it answers."""
        path = f"/api/v1/namespaces/{self.namespace}/services/orders:control/proxy/{act}"
        answer: dict[str, Any] = json.loads(self.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(told)))
        return answer

    @property
    def ledger(self) -> dict[str, Any]:
        path = f"/api/v1/namespaces/{self.namespace}/services/orders:control/proxy/ledger"
        answer: dict[str, Any] = json.loads(self.kubectl("get", "--raw", path))
        return answer

    def load(
        self, rate: float, connections: int = 10, door: Mapping[str, str] | None = None, *, large: bool = False
    ) -> None:
        """Begin to send: to the source's Service, or through another door (`Front.door`); some `large` bodies, if that is asked for."""
        way = door or {"address": f"{SOURCE}-ingest.{self.namespace}.svc:80"}
        self.tell("load", path=f"/{self.namespace}/{SOURCE}", rate=rate, connections=connections, large=large, **way)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What is sent in this block carries its name in the account."""
        self.tell("phase", phase=name)
        try:
            yield
        finally:
            self.tell("phase", phase="between")

    def account(self, *retained: str, within_s: float = 90.0) -> dict[str, Any]:
        """Send no more, let all come out, and draw up the account; what lies in `retained` queues counts as kept."""
        self.tell("stop")
        names = Names(self.namespace, SOURCE)
        kept = [names.queue(queue) for queue in retained]
        return self.ask_broker("drain", dead=names.dead, retained=kept, within_s=within_s)

    def ask_broker(self, act: str, **told: Any) -> dict[str, Any]:
        """Have the witness do something for which it needs the administrator's login at the broker."""
        login = {"management": self.broker.management, "username": USERNAME, "password": PASSWORD}
        return self.tell(act, vhost="/", **login, **told)
