"""ConfigMaps and Secrets as files below a process's FOREBAY_ROOT, as a kubelet mounts them; readable for us alone."""

import base64
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from forebay.errors import SpecError
from forebay_cli.local.pod import MountedFile
from forebay_cli.private import write_private
from forebay_operator.desired import Object

Contents = Mapping[tuple[str, str, str], bytes]  # (kind, name, key) -> what stands in it
Secrets = Mapping[str, Mapping[str, bytes]]  # name -> key -> value, all of the source's namespace


def contents(objects: Iterable[Object], secrets: Secrets) -> dict[tuple[str, str, str], bytes]:
    """Everything that can be mounted: the ConfigMaps and Secrets among the objects, and Secrets from elsewhere."""
    found = {("Secret", name, key): value for name, data in secrets.items() for key, value in data.items()}
    for item in objects:
        name = item["metadata"]["name"]
        if item["kind"] == "ConfigMap":
            found |= {("ConfigMap", name, key): text.encode() for key, text in item.get("data", {}).items()}
        elif item["kind"] == "Secret":
            found |= {("Secret", name, key): base64.b64decode(text) for key, text in item.get("data", {}).items()}
    return found


def missing(files: Iterable[MountedFile], held: Contents) -> list[MountedFile]:
    """The files that have to be there and whose content nobody gave, each once."""
    wanted = {(file.kind, file.name, file.key): file for file in files if not file.optional}
    return [file for place, file in wanted.items() if place not in held]


def check(files: Iterable[MountedFile], held: Contents) -> None:
    """Raises SpecError that names every key of a Secret that is needed and not there."""
    lost = missing(files, held)
    if lost:
        places = ", ".join(f"{file.name}/{file.key}" for file in lost)
        raise SpecError(
            f"{places} {'is' if len(lost) == 1 else 'are'} not given; add the Secret with -f, or --secret NAME/KEY=@FILE"
        )


def mount(root: Path, files: Iterable[MountedFile], held: Contents) -> None:
    """Write a process's files, in place of whatever was there."""
    for folder in ("config", "secrets"):
        shutil.rmtree(root / folder, ignore_errors=True)
    for file in files:
        if not file.optional or (file.kind, file.name, file.key) in held:
            write_private(root / file.path, held[file.kind, file.name, file.key])


def update(root: Path, files: Iterable[MountedFile], held: Contents) -> None:
    """Write some of a running process's files anew, each at once: it may read it at any moment."""
    for file in files:
        partial = (root / file.path).with_suffix(".partial")
        write_private(partial, held[file.kind, file.name, file.key])
        partial.replace(root / file.path)
