"""The cluster that the stories play on: a node of our own, or the one that KUBECONFIG names."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.build import built
from tools.control_plane import binaries

from tests.cluster.node.node import Node
from tests.support.helm import Helm
from tests.support.shell import Shell

Object = dict[str, Any]
HERE = Path(__file__).parent


def until(holds: Callable[[], object], what: str, within_s: float = 60.0, every_s: float = 0.4) -> float:
    """Ask again and again until it holds; how many seconds that took. Fails with what did not come."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() < began + within_s, f"not within {within_s:g} s: {what}"
        time.sleep(every_s)
    return time.monotonic() - began


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

    def shell(self, variables: Mapping[str, str]) -> Shell:
        """One in this repository, for the commands of the documentation."""
        return Shell(self.kubectl_path, self.kubeconfig, self.helm.binary, self.home, variables)

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

    @contextmanager
    def cut_off(self, pod: Object) -> Iterator[None]:
        """Within the block nothing gets into the pod, or out of it; on a node of our own alone."""
        assert self.node
        of_pod = f'labels."io.kubernetes.pod.uid"=="{pod["metadata"]["uid"]}",labels."io.cri-containerd.kind"==sandbox'
        enter = self.node.box.enter("sh", "-euc", _IPTABLES, "sh", of_pod)
        subprocess.run([*enter, "--insert"], check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run([*enter, "--delete"], check=False, capture_output=True)  # the pod may be gone


# $1: which container holds the pod's network; $2: what to do to the rules. Its own probes and threads go by lo.
_IPTABLES = """\
name=$(ctr --namespace=k8s.io containers ls --quiet "$1")
pid=$(ctr --namespace=k8s.io tasks ls | awk -v name="$name" '$1 == name {print $2}')
nsenter --target="$pid" --net iptables --wait "$2" INPUT ! --in-interface lo --jump DROP
nsenter --target="$pid" --net iptables --wait "$2" OUTPUT ! --out-interface lo --jump DROP
"""
