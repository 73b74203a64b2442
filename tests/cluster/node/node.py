"""A Kubernetes node of one's own on this machine: up, images into it, down."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tools.build import BuildError, built
from tools.control_plane import NoControlPlane, binaries

from tests.cluster.node import inside
from tests.cluster.node.box import Box
from tests.cluster.node.images import archives

TREE = Path(__file__).resolve().parents[3]
_START_S = 180.0
_NEEDED = ("containerd", "ctr", "runc", "iptables", "nft", "ipset", "ip", "unshare", "nsenter", "ps", "openssl")
_PLUGINS = Path("/usr/lib/cni")
_OVERLAY = (
    "mount -t tmpfs n /mnt && cd /mnt && mkdir u w m && mount -t overlay -o lowerdir=/etc,upperdir=u,workdir=w n m"
)
# What the box does first, so that what the kernel refuses is told by its name.
_TRIAL = (
    ("namespaces of its own", "unshare --net --mount --pid --fork --mount-proc true"),
    ("an overlay file system", f"unshare --mount sh -c '{_OVERLAY}'"),
    ("a pair of interfaces", "unshare --net ip link add one type veth peer name other"),
    ("a bridge", "unshare --net ip link add one type bridge"),
    ("iptables' address translation", "unshare --net iptables -t nat -A POSTROUTING -m comment --comment x -j MASQUERADE"),
    ("sets of addresses", "unshare --net ipset create x hash:ip"),
)  # fmt: skip


class NoNode(Exception):
    """A node can not be had here; the text says in one line what is missing."""


@dataclass(frozen=True, slots=True)
class Node:
    """The node that is kept in a folder."""

    folder: Path

    @property
    def box(self) -> Box:
        return Box(self.folder)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's; it works on all of this machine."""
        return self.folder / "kubeconfig"

    @property
    def address(self) -> str:
        """Where this machine reaches it, and the ports of it that pods hold."""
        server = json.loads(self.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        return str(urlsplit(server).hostname)

    @property
    def is_up(self) -> bool:
        return self.box.pid is not None and self.kubeconfig.exists()

    def up(self) -> None:
        """Bring it up, a new one unless it is up already. Raises NoNode, and then leaves nothing behind."""
        _check()
        images = build()
        with self._locked():
            if self.is_up:
                return
            self.box.remove()
            try:
                self.box.start(
                    [sys.executable, "-m", inside.__name__, self.box.cgroup, *images], self.folder / "log", TREE
                )
                self._await()
            except BaseException:
                self.box.remove()
                raise

    def load(self, archive: Path) -> str:
        """Put an image into it: an archive as `docker save` makes it. What ctr said."""
        self._must_be_up()
        with archive.open("rb") as file:
            return _said(self.box.enter("ctr", "-n", "k8s.io", "images", "import", "-"), stdin=file.fileno())

    def entered(self, *command: str) -> list[str]:
        """The command line of this command in the node's network, where Services and pods have their addresses."""
        self._must_be_up()
        return self.box.enter(*command, network_alone=True)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What `kubectl` printed. Raises CalledProcessError, with its words in `output`."""
        self._must_be_up()
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "KUBECONFIG": str(self.kubeconfig)}
        return subprocess.run(
            [str(binaries().kubectl), *arguments],
            input=stdin, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ).stdout  # fmt: skip

    def down(self) -> None:
        """End it, or what a crash left of it."""
        with self._locked():
            self.box.remove()
        self._lock.unlink(missing_ok=True)

    def _must_be_up(self) -> None:
        if not self.is_up:
            raise NoNode(f"no node is up in {self.folder}: `python -m tests.cluster.node up`")

    def _await(self) -> None:
        deadline = time.monotonic() + _START_S
        ready, failed = self.folder / inside.READY, self.folder / inside.FAILED
        while not ready.exists():
            if self.box.pid is None or time.monotonic() > deadline:
                why = failed.read_text() if failed.exists() else _last_line(self.folder / "log")
                raise NoNode(f"the node does not start here: {why}")
            time.sleep(0.1)
        self._write_kubeconfig(**json.loads(ready.read_text()))

    def _write_kubeconfig(self, url: str, token: str) -> None:
        authority = self.folder / "kubeconfig-authority.crt"
        shutil.copy(self.folder / "plane/certs/apiserver.crt", authority)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "node", "cluster": {"server": url, "certificate-authority": str(authority)}}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "node", "context": {"cluster": "node", "user": "admin"}}],
            "current-context": "node",
        }
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(json.dumps(config))

    @property
    def _lock(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.lock")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def build() -> list[str]:
    """All that comes from elsewhere: in the box there is no way there. The paths of the node's own images."""
    try:
        binaries()
        for name in ("kubernetes-node", "kube-router"):
            built(name)
        return [str(archive) for archive in archives()]
    except (BuildError, NoControlPlane) as error:
        raise NoNode(str(error)) from error


def _check() -> None:
    if os.geteuid() != 0:
        raise NoNode("a node needs root: it makes namespaces, mounts and interfaces; run this by sudo")
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing or not _PLUGINS.is_dir():
        raise NoNode(f"{', '.join(missing) or _PLUGINS} is not on this machine: run `tools/setup cluster`")
    for what, command in _TRIAL:
        tried = subprocess.run(["sh", "-c", command], check=False, capture_output=True, text=True)
        if tried.returncode:
            raise NoNode(f"the kernel refuses {what}: {' '.join(tried.stderr.split())[:300]}")


def _said(command: list[str], stdin: int) -> str:
    done = subprocess.run(
        command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise NoNode(f"`{' '.join(command[-5:])}` failed: {' '.join(done.stdout.split())[-300:]}")
    return done.stdout.strip()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return (lines or ["it said nothing"])[-1]
