"""Builds Forebay's three images with this tree's Dockerfile, and says how large they are.

    uv run python -m tools.images               all three, as archives for `docker load` and `tests/cluster/node load`
    uv run python -m tools.images --list        what there would be, and where

With BASE_IMAGE set the Docker of this machine builds on that image (and keeps the result, too). Without it nothing is pulled
from anywhere: the base is a small Debian that debootstrap makes from this machine's own mirror, and a Docker daemon of
our own builds, which needs root, listens nowhere but on a socket in the cache, and is gone afterwards. Base, layers and archives are
kept in ${FOREBAY_CACHE:-~/.cache/forebay}/images; deleting that costs nothing but time.
"""

import argparse
import datetime as dt
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.archive import Image, pack
from tools.rabbitmq_root import NOT_NEEDED, as_root, cache, debootstrap, locked

from forebay.errors import ForebayError, Unavailable

TREE = Path(__file__).resolve().parent.parent
COMPONENTS = ("operator", "ingest", "worker")
REPOSITORY = "ghcr.io/forebay/forebay-"
RELEASE = "0.1.0"  # the tag that the chart asks for
BASE = "forebay.test/base:trixie"
_SUITE = "trixie"
_PACKAGES = ("python3", "python3-venv", "ca-certificates")
_RECIPE = "1"  # change it when the base is made in another way
_AUTHORITIES = Path("etc/ssl/certs/ca-certificates.crt")
_KEEPER = TREE / "cli/src/forebay_cli/keeper.py"
# Docker writes there whatever it is told: what it writes stays in its mount namespace.
_OWN = ("/run/docker", "/etc/docker")
_ENTER = f'for d in {" ".join(_OWN)}; do mount -t tmpfs none $d; done; exec "$@"'
_START_S = 60.0
_KEPT = 3


@dataclass(frozen=True, slots=True)
class Docker:
    """A Docker daemon that can be spoken to."""

    host: str  # empty: the machine's own

    def __call__(self, *arguments: str, quiet: bool = True) -> str:
        """What `docker …` printed. Raises Unavailable with its last words if it failed."""
        environment = {**os.environ, **({"DOCKER_HOST": self.host} if self.host else {}), "DOCKER_BUILDKIT": "0"}
        done = subprocess.run(  # noqa: S603 - our own command lines
            ["docker", *arguments],  # noqa: S607 - whichever the machine has
            env=environment, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        if done.returncode or not quiet:
            sys.stderr.write(done.stdout[-6000:])
        if done.returncode:
            raise Unavailable(f"`docker {' '.join(arguments[:2])}` failed (its output is above)")
        return done.stdout.strip()


def archives() -> dict[str, Path]:
    """Forebay's images as this tree describes them, by component; built now if need be. Raises Unavailable."""
    folder = _folder()
    found = {component: folder / f"forebay-{component}-{sources(component)}.tar" for component in COMPONENTS}
    with locked(folder / "images.lock"):
        if missing := {component: path for component, path in found.items() if not path.exists()}:
            with _docker() as docker:
                base = os.environ.get("BASE_IMAGE") or _loaded_base(docker)
                for component, path in missing.items():
                    _build(docker, component, base, path)
            _prune(folder, set(found.values()))
    return found


def base() -> Path:
    """A Debian with Python, as an archive; its image is called BASE. Made now if need be."""
    place = _folder() / f"base-{_base_key()}.tar"
    if not place.exists():
        _say(f"makes the base from Debian {_SUITE} (about 40 s)")
        root = place.with_suffix(".root")
        try:
            as_root("rm", "-rf", "--one-file-system", str(root))
            debootstrap(_SUITE, root, _PACKAGES)
            as_root("rm", "-rf", *(str(root / folder) for folder in NOT_NEEDED))
            # As behind any company's proxy: what this machine trusts, builds on it have to trust.
            as_root("cp", str(Path("/") / _AUTHORITIES), str(root / _AUTHORITIES))
            # The second is what a pod's sandbox runs.
            pack(root, Image(name=BASE, command=("/usr/bin/sleep", "infinity")), place)
        finally:
            as_root("rm", "-rf", "--one-file-system", str(root))
        for stale in _folder().glob("base-*.tar"):
            if stale != place:
                stale.unlink(missing_ok=True)
    return place


def sources(component: str) -> str:
    """A hash of all that goes into the component's image."""
    inputs = (*_INPUTS, *(f"{package}/src" for package in ("core", component)))
    files = _git("ls-files", "-co", "--exclude-standard", "--", *inputs).splitlines()
    digest = hashlib.sha256((os.environ.get("BASE_IMAGE") or _base_key()).encode())
    for name in sorted(files):
        if (path := TREE / name).is_file():  # not one that is deleted and not committed yet
            digest.update(f"{name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


# Of each image. What the others' packages say of themselves decides what uv.lock has.
_INPUTS = (
    "Dockerfile",
    ".dockerignore",
    "uv.lock",
    "tools/without_symbols.py",
    *(f"{folder}pyproject.toml" for folder in ("", *(f"{one}/" for one in ("core", *COMPONENTS)))),
)


def tag() -> str:
    """What this tree's images are called beside RELEASE: the commit, and `dirty` if it is not quite that."""
    return _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def built_as(archive: Path) -> str:
    """What the image in an archive is tagged beside RELEASE: by the commit that it was built at, which may be an earlier one."""
    with tarfile.open(archive) as content:
        manifest = content.extractfile("manifest.json")
        assert manifest is not None
        names = json.load(manifest)[0]["RepoTags"]
    (other,) = (name.rpartition(":")[2] for name in names if not name.endswith(f":{RELEASE}"))
    return str(other)


def _build(docker: Docker, component: str, base_image: str, target: Path) -> None:
    began, name = time.monotonic(), f"{REPOSITORY}{component}"
    stamp = dt.datetime.fromtimestamp(int(_git("log", "-1", "--format=%ct")), dt.UTC)
    values = {
        "BASE_IMAGE": base_image,
        "COMPONENT": component,
        "VERSION": RELEASE,
        "REVISION": _git("rev-parse", "HEAD"),
        "CREATED": stamp.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    given = (f"--build-arg={key}={value}" for key, value in values.items())
    names = [f"{name}:{RELEASE}", f"{name}:{tag()}"]
    docker("build", "--network=host", *given, *(f"--tag={one}" for one in names), str(TREE))
    aside = target.with_suffix(".part")
    docker("save", f"--output={aside}", *names)
    aside.rename(target)
    size, below = (int(docker("image", "inspect", "--format={{.Size}}", one)) for one in (names[0], base_image))
    target.with_suffix(".json").write_text(json.dumps({"size": size, "base": below}))
    _say(f"built {names[1]} in {time.monotonic() - began:.0f} s")


def _loaded_base(docker: Docker) -> str:
    docker("load", "--input", str(base()))
    return BASE


@contextmanager
def _docker() -> Iterator[Docker]:
    """The machine's own where a base is given, since that has to be pulled; else one that is ours alone."""
    if shutil.which("docker") is None:
        raise Unavailable("no docker on this machine: run `tools/setup cluster`, or apt-get install docker.io")
    if os.environ.get("BASE_IMAGE"):
        yield Docker("")
        return
    with _daemon(_folder() / "docker") as docker:
        yield docker


@contextmanager
def _daemon(folder: Path) -> Iterator[Docker]:
    """A Docker daemon in namespaces of its own: its mounts and processes go with it, however we end."""
    if os.geteuid() != 0:
        raise Unavailable(
            "a Docker daemon of our own needs root: run this by sudo, or set BASE_IMAGE to use the machine's"
        )
    folder.mkdir(parents=True, exist_ok=True)
    socket, log, before = folder / "socket", folder / "log", _cgroups()
    command = [
        "dockerd", f"--host=unix://{socket}", f"--data-root={folder}/data", f"--exec-root={folder}/exec",
        f"--pidfile={folder}/pid", "--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false",
    ]  # fmt: skip
    for leftover in (socket, folder / "pid"):
        leftover.unlink(missing_ok=True)
    made = [path for path in map(Path, _OWN) if not path.exists()]
    for path in made:
        path.mkdir()
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", _ENTER, "sh"]
    with log.open("wb") as out:
        keeper = subprocess.Popen(  # noqa: S603 - our own command line
            [sys.executable, "-I", "-S", str(_KEEPER), "1", *apart, *command],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=out, start_new_session=True,
        )  # fmt: skip
    assert keeper.stdin is not None
    try:
        yield _answering(keeper, Docker(f"unix://{socket}"), log)
    finally:
        keeper.stdin.close()
        keeper.wait()
        shutil.rmtree(folder / "exec", ignore_errors=True)
        for path in made:
            path.rmdir()
        for left in _cgroups() - before:
            _remove_cgroup(left)


def _answering(keeper: "subprocess.Popen[bytes]", docker: Docker, log: Path) -> Docker:
    deadline = time.monotonic() + _START_S
    while keeper.poll() is None and time.monotonic() < deadline:
        asked = subprocess.run(  # noqa: S603 - our own command line
            ["docker", "--host", docker.host, "version"],  # noqa: S607 - whichever the machine has
            check=False, stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
        if asked.returncode == 0:
            return docker
        time.sleep(0.2)
    last = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    raise Unavailable(f"dockerd does not start here: {last[-300:]} (all of it: {log}); set BASE_IMAGE to use another")


def _cgroups() -> set[Path]:
    """Where Docker keeps the containers' processes together, in either layout of control groups."""
    return {path for pattern in ("docker", "*/docker") for path in Path("/sys/fs/cgroup").glob(pattern)}


def _remove_cgroup(folder: Path) -> None:
    for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        inner.rmdir()
    folder.rmdir()


def _prune(folder: Path, newest: set[Path]) -> None:
    for component in COMPONENTS:
        found = [path for path in folder.glob(f"forebay-{component}-*.tar") if path not in newest]
        for stale in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT - 1 :]:
            stale.unlink(missing_ok=True)
            stale.with_suffix(".json").unlink(missing_ok=True)


def _base_key() -> str:
    trusted = Path("/") / _AUTHORITIES
    digest = hashlib.sha256("\n".join((_RECIPE, _SUITE, os.uname().machine, *_PACKAGES)).encode())
    digest.update(trusted.read_bytes() if trusted.exists() else b"")
    return digest.hexdigest()[:12]


def _folder() -> Path:
    folder = cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _git(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own command line
        ["git", *arguments],  # noqa: S607 - whichever the machine has
        cwd=TREE, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def _say(text: str) -> None:
    sys.stderr.write(f"images: {text}\n")


def _told(component: str, archive: Path) -> str:
    sizes = json.loads(archive.with_suffix(".json").read_text())
    own, whole = (round(size / 2**20) for size in (sizes["size"] - sizes["base"], sizes["size"]))
    return f"{REPOSITORY}{component}:{built_as(archive)}  {own:3} MiB + base = {whole} MiB  {archive}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit status 1: an image could not be built."""
    parser = argparse.ArgumentParser(description="Build Forebay's images with this tree's Dockerfile.")
    parser.add_argument("--list", action="store_true", help="tell their names, and build nothing")
    if parser.parse_args(arguments).list:
        sys.stdout.writelines(f"{REPOSITORY}{component}:{tag()}\n" for component in COMPONENTS)
        return 0
    try:
        sys.stdout.writelines(_told(component, path) for component, path in archives().items())
    except ForebayError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
