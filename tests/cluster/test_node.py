"""The node in a box: it comes up, runs a pod, and goes without a trace, however it is ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.node import parts
from tests.cluster.node.box import TUNED, cgroup_mounts
from tests.cluster.node.node import TREE, Node

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

POD = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: one}}
spec:
  securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: one
      image: {parts.PAUSE}
      securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "node")
    yield node
    node.down()


def test_a_node_runs_a_pod_and_leaves_nothing_also_after_a_crash(node: Node) -> None:
    before = _machine()
    node.up()
    node.kubectl("apply", "-f", "-", stdin=POD)
    node.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=30s")
    seen = _Traces.of(node)
    assert seen.left() == {"link", "cgroups", "processes", "pods"}, "it would not see what is left"

    os.kill(node.box.pid or 0, signal.SIGKILL)  # a crash
    while node.is_up:
        time.sleep(0.05)
    node.up()
    assert "processes" not in seen.left(), "the crash left something, and the next start did not end it"
    seen = _Traces.of(node)
    node.down()
    assert not node.folder.exists()
    assert not seen.left()
    assert _machine() == before


def test_a_start_that_is_given_up_leaves_nothing(node: Node) -> None:
    before = _machine()
    process = subprocess.Popen([sys.executable, "-m", "tests.cluster.node", f"--folder={node.folder}", "up"], cwd=TREE)
    while not (node.folder / "plane/etcd.log").exists():
        assert process.poll() is None
        time.sleep(0.1)
    seen = _Traces.of(node)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert not node.folder.exists()
    assert not seen.left()
    assert _machine() == before


def test_what_the_kernel_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    weak = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    up = [sys.executable, "-m", "tests.cluster.node", f"--folder={tmp_path / 'node'}", "up"]
    said = subprocess.run([*weak, *up], cwd=TREE, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert said.stderr == (
        "error: the kernel refuses namespaces of its own: unshare: unshare failed: Operation not permitted\n"
    )


@dataclass(frozen=True)
class _Traces:
    """What a node that runs could leave."""

    link: Path
    cgroup: str
    processes: int  # the inode of their namespace

    @staticmethod
    def of(node: Node) -> "_Traces":
        link = Path("/sys/class/net", node.box.link or "none")
        return _Traces(link, node.box.cgroup, Path(f"/proc/{node.box.pid}/ns/pid_for_children").stat().st_ino)

    def left(self) -> set[str]:
        found = {
            "link": self.link.exists(),
            "cgroups": any((mount / self.cgroup).exists() for mount in cgroup_mounts()),
            "processes": any(_of_each("ns/pid", lambda path: path.stat().st_ino == self.processes and _lives(path))),
            "pods": any(_of_each("cgroup", lambda path: self.cgroup in path.read_text())),
        }
        return {name for name, there in found.items() if there}


def _lives(path: Path) -> bool:
    """What is dead, and not noticed by its parent yet, holds nothing."""
    return "\nState:\tZ" not in (path.parent.parent / "status").read_text()


def _of_each(name: str, holds: Callable[[Path], bool]) -> Iterator[bool]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile
            yield holds(process / name)


def _machine() -> dict[str, object]:
    """What a node could change of the machine itself."""
    commands = (["iptables-save"], ["nft", "list", "tables"])
    rules = [subprocess.run(one, capture_output=True, text=True, check=False).stdout for one in commands]
    folders = ("/var/lib/kubelet", "/var/lib/cni", "/var/lib/containerd", "/etc/cni/net.d", "/opt/containerd")
    return {
        "rules": [line for line in "".join(rules).splitlines() if "kube" in line.lower() or "CNI" in line],
        "bridge": Path("/sys/class/net/cni0").exists(),
        "folders": [path for path in folders if Path(path).exists()],
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if "kubelet" in line],
        "tuned": [Path("/proc/sys", name).read_text() for name in TUNED],
    }
