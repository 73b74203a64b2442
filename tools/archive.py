"""Container images from root file systems, without a container engine: a folder becomes an archive for `docker load`.

The format is Docker's (https://github.com/moby/docker-image-spec), which containerd reads too. One layer, one image.
"""

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a container of it runs, unless told otherwise."""

    name: str  # with a tag
    command: Sequence[str]
    entrypoint: Sequence[str] = ()  # stands before the command, also where a pod says `args`
    environment: Mapping[str, str] = field(default_factory=dict)

    def described(self, layer: str) -> dict[str, object]:
        """The image's configuration; `layer` is the digest of its one layer."""
        machine = os.uname().machine
        return {
            "architecture": _ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": {
                "Entrypoint": list(self.entrypoint),
                "Cmd": list(self.command),
                "Env": [f"{k}={v}" for k, v in self.environment.items()],
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
            "created": "1970-01-01T00:00:00Z",
        }


def program(binary: Path, image: Image) -> Path:
    """The archive of an image that is one program, its entrypoint, and the libraries it is linked to; it lies beside the program."""
    key = hashlib.sha256(repr(image).encode()).hexdigest()[:8]
    target = binary.with_name(f"{binary.name}-{key}.tar")
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(prefix="forebay-image-") as folder:
                Path(folder).chmod(0o755)
                _copy(binary, Path(folder) / image.command[0].lstrip("/"))
                for library in _libraries(binary):
                    _copy(library, Path(folder) / library.relative_to("/"))
                pack(Path(folder), replace(image, entrypoint=image.command, command=()), target)
    return target


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def _libraries(binary: Path) -> list[Path]:
    """This machine's, where the dynamic linker finds them; none for a static program."""
    said = subprocess.run(["ldd", str(binary)], check=False, capture_output=True, text=True).stdout  # noqa: S603, S607
    return [Path(found) for found in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", said, re.MULTILINE)]


def pack(root: Path, image: Image, target: Path) -> None:
    """Write the archive; what stands at `target` afterwards is whole. Needs to be able to read all of the root."""
    layer = target.with_suffix(".layer")
    aside = target.with_suffix(".part")
    try:
        devices = ("--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*")
        tar = [
            "tar",
            "--create",
            f"--file={layer}",
            "--numeric-owner",
            "--sort=name",
            *devices,
            f"--directory={root}",
            ".",
        ]
        subprocess.run(tar, check=True, stdin=subprocess.DEVNULL)  # noqa: S603 - our own command line
        with layer.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        config = json.dumps(image.described(digest)).encode()
        manifest = [{"Config": "config.json", "RepoTags": [image.name], "Layers": ["layer.tar"]}]
        with tarfile.open(aside, "w") as archive:
            archive.add(layer, "layer.tar")
            for name, content in (("config.json", config), ("manifest.json", json.dumps(manifest).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        aside.rename(target)
    finally:
        layer.unlink(missing_ok=True)
        aside.unlink(missing_ok=True)
