"""The cluster that the stories play on: a node of our own, or the one that KUBECONFIG names."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.build import built
from tools.control_plane import binaries

from tests.cluster.node.node import Node
from tests.support.helm import Helm

Object = dict[str, Any]
HERE = Path(__file__).parent


class Refused(Exception):
    """kubectl said no; the text is what it said."""


def is_ready(pod: Object) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))


@dataclass(frozen=True, slots=True)
class Cluster:
    """Spoken to by kubectl and Helm, as a person does."""

    kubeconfig: Path
    home: Path  # for files of theirs
    node: Node | None = None  # None: it is somebody else's

    @property
    def kubectl_path(self) -> Path:
        return binaries().kubectl

    @property
    def helm(self) -> Helm:
        return Helm(built("helm-3"), self.home, self.kubeconfig)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What `kubectl` printed. Raises Refused."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            [str(self.kubectl_path), *arguments],
            input=stdin, env=environment, check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise Refused(f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def objects(self, *arguments: str) -> list[Object]:
        """What `kubectl get …` finds."""
        found: list[Object] = json.loads(self.kubectl("get", *arguments, "-o", "json"))["items"]
        return found

    def kill(self, namespace: str, pod: Object) -> None:
        """SIGKILL of all that runs in a pod's containers. On a cluster that is not ours: delete it without grace."""
        name = pod["metadata"]["name"]
        if self.node is None:
            self.kubectl("delete", "pod", name, f"--namespace={namespace}", "--grace-period=0", "--force")
            return
        for container in pod["status"].get("containerStatuses", ()):
            if identity := container.get("containerID", "").removeprefix("containerd://"):
                command = self.node.box.enter(
                    "ctr", "-n", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", "--all", identity
                )
                subprocess.run(command, check=False, capture_output=True)  # it may have ended by itself
