"""The chart's own pods as processes: the operator's, and that of `helm test`.

Each runs in a mount namespace of its own, with what a kubelet gives it: its account's token where a pod finds it, the names of
Services, and a root file system that can not be written to. In place of a network each pod has an address below 127.
"""

import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.control_plane import ControlPlane

from forebay_cli.local.command import READY_FILE, Launch, resolve
from tests.support.apiserver import Api, Object

_TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_PORT = 9090
_GRACE_S = 30.0  # Kubernetes' own
_UNSHARE = ("unshare", "--mount", *(("--map-root-user",) if os.geteuid() else ()))

# $1: the pod's folder, $2: its address; then the command. Only what is written before the last mount can be written.
_ENTER = f"""\
set -e
mount -t tmpfs -o mode=755 none /run
mkdir -p {_TOKEN_MOUNT}
[ ! -d "$1/account" ] || cp "$1"/account/* {_TOKEN_MOUNT}/
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/passwd" /etc/passwd
printf '{{"admin": "%s:{_PORT}"}}' "$2" >"$1/{READY_FILE}"
mount -o remount,bind,ro /
shift 2
exec "$@"
"""


def why_not() -> str | None:
    """What keeps such pods from running on this machine."""
    if shutil.which("unshare") is None:
        return "no unshare on this machine: apt-get install util-linux"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip() or None if tried.returncode else None


@dataclass(frozen=True, slots=True)
class ChartPods:
    """Prepares the pods of one namespace (a `tests.support.node.Prepare`)."""

    plane: ControlPlane
    api: Api
    folder: Path

    async def __call__(self, pod: Object) -> Launch:
        (container,) = pod["spec"]["containers"]
        root = self.folder / pod["metadata"]["uid"]
        root.mkdir(parents=True)
        address = _address(pod)
        (root / "hosts").write_text(await self._hosts(pod))
        (root / "passwd").touch()  # in an image the user is a number, without a name
        if any(mount["mountPath"] == _TOKEN_MOUNT for mount in container.get("volumeMounts", ())):
            await self._mount_token(pod, root / "account")
        probe = container.get("readinessProbe", {}).get("httpGet", {})
        assert probe.get("path", "/readyz") == "/readyz", "this node asks /readyz and nothing else"
        command = resolve((*container["command"], *container.get("args", ())))
        return Launch(
            name=pod["metadata"]["name"],
            argv=(*_UNSHARE, "sh", "-c", _ENTER, "sh", str(root), address, *command),
            env=self._variables(pod, container, address),
            root=root,
            cwd=root,
            log=root / "log",
            grace_s=float(pod["spec"].get("terminationGracePeriodSeconds", _GRACE_S)),
        )

    def _variables(self, pod: Object, container: Object, address: str) -> dict[str, str]:
        """Nothing of our own shell but where programs are."""
        return {
            "PATH": os.environ["PATH"],
            "HOSTNAME": pod["metadata"]["name"],
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.plane.port),
            "FOREBAY_OPERATOR_ADMIN_ADDRESS": f"{address}:{_PORT}",
            **{one["name"]: one.get("value", "") for one in container.get("env", ())},
        }

    async def _mount_token(self, pod: Object, folder: Path) -> None:
        """The token that the kubelet asks for: of the pod's account, and good only as long as the pod lives."""
        namespace, account = self.api.namespace, pod["spec"]["serviceAccountName"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        request = {"spec": {"audiences": [], "expirationSeconds": 3607, "boundObjectRef": bound}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        answer = await self.api.call("POST", path, request)
        files = {"token": answer["status"]["token"], "ca.crt": self.plane.authority.read_text(), "namespace": namespace}
        _write(folder, files)

    async def _hosts(self, own: Object) -> str:
        """Each Service's name, with the address of a pod behind it; without one, an address where nobody is."""
        pods = [pod for pod in await self.api.all("Pod") if "deletionTimestamp" not in pod["metadata"]]
        lines = ["127.0.0.1 localhost", f"{_address(own)} {own['metadata']['name']}"]
        for service in await self.api.all("Service"):
            wanted = service["spec"].get("selector", {}).items()
            behind = [pod for pod in pods if wanted <= pod["metadata"].get("labels", {}).items()]
            name = f"{service['metadata']['name']}.{self.api.namespace}"
            lines.append(f"{_address(behind[0]) if behind else '127.0.0.2'} {name} {name}.svc")
        return "\n".join([*lines, ""])


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(mode=0o700)
    for name, text in files.items():
        (folder / name).write_text(text)


_SALT = secrets.token_bytes(4)  # of this run: several may run on one machine


def _address(pod: Object) -> str:
    """The pod's own address."""
    octets = bytes(a ^ b for a, b in zip(bytes.fromhex(pod["metadata"]["uid"][:8]), _SALT, strict=True))
    return f"127.{octets[0]}.{octets[1]}.{octets[2] % 250 + 3}"
