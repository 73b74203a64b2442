"""A real Kubernetes control plane on this machine: etcd, kube-apiserver with RBAC, kube-controller-manager; no node.

    python3 -m tools.control_plane [FOLDER]     runs it until Ctrl-C and says how to use it

Its binaries are built once from Kubernetes' own Go module (tools/build.py kubernetes); KUBEBUILDER_ASSETS names a folder
with others. etcd is Debian's. Everything listens on 127.0.0.1 alone, and ends with whoever started it, even by SIGKILL.
"""

import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from tools.build import BuildError, built

from forebay_cli.ports import free_port

_KEEPER = Path(__file__).resolve().parent.parent / "cli/src/forebay_cli/keeper.py"
_GRACE_S = 5.0
START_S = 60.0
# They share one machine's cores with all that is tried on them, and it has memory to spare: the garbage collector runs a quarter
# as often. A fifth of the API server's CPU time (https://pkg.go.dev/runtime#hdr-Environment_Variables).
_GOGC = "400"
ADMIN = "admin"


class NoControlPlane(Exception):
    """It can not be had here; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """Where its programs are."""

    etcd: Path
    apiserver: Path
    controllers: Path
    kubectl: Path


def binaries() -> Binaries:
    """Find them, or build them (minutes, once). Raises NoControlPlane with the remedy."""
    etcd = shutil.which("etcd")
    given = os.environ.get("KUBEBUILDER_ASSETS")
    if etcd is None and not given:
        raise NoControlPlane("no etcd on this machine: run `tools/setup bench`, or apt-get install etcd-server")
    try:
        folder = Path(given) if given else built("kubernetes")
    except BuildError as error:
        raise NoControlPlane(str(error)) from error
    found = Binaries(
        etcd=Path(etcd) if etcd else folder / "etcd",
        apiserver=folder / "kube-apiserver",
        controllers=folder / "kube-controller-manager",
        kubectl=folder / "kubectl",
    )
    for path in (found.etcd, found.apiserver, found.controllers, found.kubectl):
        if not path.exists():
            raise NoControlPlane(f"{path} is not there: set KUBEBUILDER_ASSETS to a folder that has it, or to nothing")
    return found


# Without kubelets nodes are whatever a test says they are.
_NEVER = ("node-lifecycle-controller", "taint-eviction-controller")


@dataclass(slots=True)
class ControlPlane:
    """One control plane in one folder. `start` it, `stop` it; the API server can be killed and started in between."""

    folder: Path
    programs: Binaries = field(default_factory=binaries)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    port: int = field(default_factory=free_port)
    address: str = "127.0.0.1"  # where the API server listens, and tells pods to find it
    scheduler: Path | None = None  # kube-scheduler, where there are nodes of flesh: kubelets that are asked directly
    without: tuple[str, ...] = ()  # controllers that do not run, by their names in `kube-controller-manager --help`
    audited_group: str = ""  # whose requests are written down in `audit_log`; none: nobody's
    _etcd_ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))
    _running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    @property
    def authority(self) -> Path:
        """The certificate by which clients know the API server."""
        return self.folder / "certs" / "apiserver.crt"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Each request of the audited group, a line of JSON (https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/)."""
        return self.folder / "audit.log"

    @property
    def kubelet_client(self) -> Path:
        """The API server's certificate (.crt) for kubelets, its own authority, and its key (.key)."""
        return self.folder / "kubelet-client"

    @property
    def _front_proxy(self) -> Path:
        """The same for API servers behind this one."""
        return self.folder / "front-proxy"

    @property
    def network(self) -> Path:
        """The socket at which the API server asks for its way to pods and kubelets, by HTTP's CONNECT."""
        return self.folder / "network.sock"

    def start(self) -> None:
        """Start all parts; return when the API server is ready."""
        self._lay_out()
        self.run("etcd", self._etcd())
        self.start_api_server()
        self._write_kubeconfig(self.kubeconfig, self.token)
        self.run("controllers", self._controllers())
        if self.scheduler:
            self.run("scheduler", [str(self.scheduler), f"--kubeconfig={self.kubeconfig}", "--leader-elect=false"])

    def start_api_server(self) -> None:
        """Start the API server (again), at the same address; return when it is ready."""
        self.run("apiserver", self._apiserver())
        self._await_ready()

    def kill_api_server(self) -> None:
        """SIGKILL, as a crash."""
        os.kill(self.pids["apiserver"], signal.SIGKILL)
        self.end("apiserver")

    def stop(self) -> None:
        for name in ("scheduler", "controllers", "apiserver", "etcd"):
            self.end(name)

    def kubeconfig_of(self, token: str, path: Path) -> Path:
        """Write a kubeconfig for somebody else, by his token."""
        self._write_kubeconfig(path, token)
        return path

    def kubectl(self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None) -> str:
        """What `kubectl` printed. Raises CalledProcessError, with its words in `output`, if it failed."""
        command = [str(self.programs.kubectl), f"--kubeconfig={kubeconfig or self.kubeconfig}", *arguments]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        done = subprocess.run(  # noqa: S603 - our own command lines
            command,
            input=stdin,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.stdout

    # ------------------------------------------------------------------------------------------------ parts

    def _etcd(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{port}" for port in self._etcd_ports)
        return [
            str(self.programs.etcd),
            f"--data-dir={self.folder}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # it has to outlive its processes, not the machine
            "--log-level=warn",
        ]

    def _apiserver(self) -> list[str]:
        keys = f"{self.folder}/service-accounts"
        return [
            str(self.programs.apiserver),
            f"--etcd-servers=http://127.0.0.1:{self._etcd_ports[0]}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.port}",
            f"--cert-dir={self.folder}/certs",
            f"--token-auth-file={self.folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys}.pub",
            f"--service-account-signing-key-file={keys}.key",
            "--service-cluster-ip-range=10.0.0.0/16",
            "--allow-privileged",
            "--profiling=false",
            # As on OpenShift: an owner that blocks deletion may be set by those alone who may set its finalizers.
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            *self._audit(),
            *(self._to_kubelets() if self.scheduler else self._to_whom_tests_say()),
        ]

    def _to_whom_tests_say(self) -> list[str]:
        return ["--endpoint-reconciler-type=none", f"--egress-selector-config-file={self.folder}/network.json"]

    def _to_kubelets(self) -> list[str]:
        """By address, since nobody resolves a node's name; and to API servers in pods, such as those of metrics."""
        _certificate(self.kubelet_client, "/O=system:masters/CN=apiserver")
        _certificate(self._front_proxy, "/CN=front-proxy")
        return [
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={self.kubelet_client}.crt",
            f"--kubelet-client-key={self.kubelet_client}.key",
            f"--requestheader-client-ca-file={self._front_proxy}.crt",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={self._front_proxy}.crt",
            f"--proxy-client-key-file={self._front_proxy}.key",
        ]

    def _audit(self) -> list[str]:
        if not self.audited_group:
            return []
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata", "userGroups": [self.audited_group]}, {"level": "None"}],
        }
        (self.folder / "audit-policy.json").write_text(json.dumps(policy))
        return [f"--audit-policy-file={self.folder}/audit-policy.json", f"--audit-log-path={self.audit_log}"]

    def _controllers(self) -> list[str]:
        return [
            str(self.programs.controllers),
            f"--kubeconfig={self.kubeconfig}",
            f"--root-ca-file={self.authority}",
            f"--service-account-private-key-file={self.folder}/service-accounts.key",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",
            ",".join(
                ("--controllers=*", *(f"-{name}" for name in (*(() if self.scheduler else _NEVER), *self.without)))
            ),
            "--horizontal-pod-autoscaler-sync-period=5s",
        ]

    # ------------------------------------------------------------------------------------------------ processes

    def _lay_out(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "tokens.csv").write_text(f'{self.token},{ADMIN},{ADMIN},"system:masters"\n')
        transport = {"uds": {"udsName": str(self.network)}}
        way = {"name": "cluster", "connection": {"proxyProtocol": "HTTPConnect", "transport": transport}}
        egress = {"apiVersion": "apiserver.k8s.io/v1beta1", "kind": "EgressSelectorConfiguration"}
        (self.folder / "network.json").write_text(json.dumps({**egress, "egressSelections": [way]}))
        keys = self.folder / "service-accounts.key"
        if not keys.exists():
            _openssl("genrsa", "-out", str(keys), "2048")
            _openssl("rsa", "-in", str(keys), "-pubout", "-out", str(keys.with_suffix(".pub")))

    def run(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            keeper = subprocess.Popen(  # noqa: S603 - our own command lines
                [sys.executable, "-I", "-S", str(_KEEPER), str(_GRACE_S), *command],
                cwd=self.folder,
                env={"GOGC": _GOGC, **os.environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert keeper.stdout is not None
        self._running[name] = keeper
        self.pids[name] = int(keeper.stdout.readline() or 0)

    def end(self, name: str) -> None:
        keeper = self._running.pop(name, None)
        if keeper is None:
            return
        for stream in (keeper.stdin, keeper.stdout):
            if stream is not None:
                stream.close()
        keeper.wait()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._running["apiserver"].poll() is not None:
                raise NoControlPlane(f"kube-apiserver ended while starting; its log: {self.folder}/apiserver.log")
            if self._is_ready():
                return
            time.sleep(0.1)
        raise NoControlPlane(f"kube-apiserver is not ready after {START_S:g} s; its log: {self.folder}/apiserver.log")

    def _is_ready(self) -> bool:
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.token}"})  # noqa: S310
        try:
            trust = ssl.create_default_context(cafile=str(self.authority))
            with urllib.request.urlopen(request, timeout=2, context=trust) as answer:  # noqa: S310 - our own https URL
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _write_kubeconfig(self, path: Path, token: str) -> None:
        path.touch(mode=0o600)
        cluster = {"server": self.url, "certificate-authority": str(self.authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "forebay", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "forebay", "context": {"cluster": "forebay", "user": "user"}}],
            "current-context": "forebay",
        }
        path.write_text(json.dumps(config))


def _certificate(path: Path, subject: str) -> None:
    """A client's, that is its own authority: PATH.crt and PATH.key."""
    files = ("-keyout", f"{path}.key", "-out", f"{path}.crt")
    purpose = ("-addext", "extendedKeyUsage=clientAuth")
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365", "-subj", subject, *purpose, *files)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)  # noqa: S603, S607


def main() -> int:
    """Run one until Ctrl-C."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="forebay-control-plane-"))
    try:
        plane = ControlPlane(folder)
        plane.start()
    except NoControlPlane as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"export KUBECONFIG={plane.kubeconfig}\nexport PATH={plane.programs.kubectl.parent}:$PATH\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        plane.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
