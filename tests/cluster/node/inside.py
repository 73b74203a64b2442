"""The first process in the box: starts the node's parts in their order, says when the node is ready, and waits for its end.

python -m tests.cluster.node.inside CGROUP IMAGE …      (by tests/cluster/node/box.py alone)
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tools.build import built
from tools.control_plane import ControlPlane

from tests.cluster.node import parts
from tests.cluster.node.box import INSIDE

PORT = 6443
READY, FAILED = "ready", "failed"  # files that say so in the box's folder
_PART_S = 60.0
_VOLUMES = 8


def main(cgroup: str, images: list[str]) -> None:
    """Until we are killed: all else in the box is killed with us."""
    plane = ControlPlane(
        INSIDE / "plane",
        address=os.environ["FOREBAY_NODE_ADDRESS"],
        port=PORT,
        scheduler=built("kubernetes-node") / "kube-scheduler",
    )
    plane.folder.mkdir(parents=True)
    try:
        _start_runtime(plane, images)
        plane.start()
        _start_node(plane, cgroup)
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(parts.storage(_folders())))
        plane.kubectl("apply", "-f", str(Path(__file__).parent / "dns.yaml"))
        plane.kubectl("wait", "--for=condition=Ready", f"node/{parts.NAME}", f"--timeout={_PART_S:g}s")
        plane.kubectl("rollout", "status", "--namespace=kube-system", "deployment/coredns", f"--timeout={_PART_S:g}s")
    except Exception as error:
        (INSIDE / FAILED).write_text(_told(error))
        raise
    (INSIDE / READY).write_text(json.dumps({"url": plane.url, "token": plane.token}))
    while True:
        signal.pause()


def _start_runtime(plane: ControlPlane, images: list[str]) -> None:
    config = plane.folder / "containerd.toml"
    config.write_text(parts.CONTAINERD_CONFIG)
    parts.write(Path("/etc/cni/net.d/00-pods.conflist"), parts.NETWORK)
    plane.run("containerd", ["containerd", "--config", str(config)])
    _until("containerd", lambda: _succeeds("ctr", "version"))
    for image in images:
        subprocess.run(["ctr", "-n", "k8s.io", "images", "import", image], check=True, capture_output=True)


def _start_node(plane: ControlPlane, cgroup: str) -> None:
    programs = built("kubernetes-node")
    resolver = plane.folder / "resolv.conf"
    resolver.write_text(f"nameserver {parts.DNS_ADDRESS}\n")
    own = parts.kubelet(cgroup=cgroup, authority=plane.kubelet_client.with_suffix(".crt"), resolver=resolver)
    plane.run("kubelet", [
        str(programs / "kubelet"), f"--config={parts.write(plane.folder / 'kubelet.json', own)}",
        f"--kubeconfig={plane.kubeconfig}", f"--hostname-override={parts.NAME}", f"--node-ip={plane.address}",
    ])  # fmt: skip
    _until("kubelet", lambda: bool(plane.kubectl("get", "nodes", "-o", "name").strip()))
    config = parts.write(plane.folder / "proxy.json", parts.proxy(kubeconfig=plane.kubeconfig))
    plane.run("proxy", [str(programs / "kube-proxy"), f"--config={config}"])
    plane.run("policies", [str(built("kube-router")), *parts.policies(kubeconfig=plane.kubeconfig)])


def _folders() -> list[Path]:
    """For volumes; any user may write there, as nobody changes their owner for him."""
    made = [INSIDE / "volumes" / str(number) for number in range(1, 1 + _VOLUMES)]
    for folder in made:
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    return made


def _until(part: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PART_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{part} does not answer after {_PART_S:g} s")
        time.sleep(0.1)


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _told(error: Exception) -> str:
    said = getattr(error, "output", None) or getattr(error, "stderr", None) or b""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return " ".join(f"{error} {text}".split())[-500:]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
