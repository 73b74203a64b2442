"""What a Deployment says about its pods, as far as a process on this machine can do the same. Reads nothing, changes nothing.

Images, resources, scheduling and security contexts have no meaning for a local process and are passed over; the preStop
pause too, because no proxy here has to learn that an address is gone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from forebay.runtime import DEFAULT_ROOT
from forebay_operator.desired import Object

DEFAULT_GRACE_S = 30.0  # Kubernetes' own


@dataclass(frozen=True, slots=True, kw_only=True)
class MountedFile:
    """One file that a pod sees below FOREBAY_ROOT, and the object that holds its content."""

    path: str  # relative to FOREBAY_ROOT
    kind: Literal["ConfigMap", "Secret"]
    name: str
    key: str
    optional: bool = False  # it is not there before its object is


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """The one container of a Deployment's pods."""

    deployment: str
    component: str  # ingest | worker
    replicas: int
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    files: tuple[MountedFile, ...]
    grace_s: float  # from SIGTERM to SIGKILL
    annotations: tuple[tuple[str, str], ...]  # pods with others are others: they tell of what is read once
    absent: tuple[str, ...]  # paths of volumes that a process on this machine does not get


def pods(objects: Iterable[Object]) -> list[Pod]:
    """The pods of all Deployments among the objects, in order."""
    return [_pod(item) for item in objects if item["kind"] == "Deployment"]


def _pod(deployment: Object) -> Pod:
    template = deployment["spec"]["template"]
    spec = template["spec"]
    container = spec["containers"][0]
    volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
    mounts = container.get("volumeMounts", ())
    ours = [mount for mount in mounts if PurePosixPath(mount["mountPath"]).is_relative_to(DEFAULT_ROOT)]
    return Pod(
        deployment=deployment["metadata"]["name"],
        component=container["name"],
        replicas=deployment["spec"].get("replicas", 1),
        command=(*container["command"], *container.get("args", ())),
        # What comes from elsewhere, a pod's name, whoever starts the process says instead.
        env=tuple(
            (item["name"], item.get("value", "")) for item in container.get("env", ()) if "valueFrom" not in item
        ),
        files=tuple(file for mount in ours for file in _files(mount, volumes[mount["name"]])),
        grace_s=float(spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_S)),
        annotations=tuple(sorted(template.get("metadata", {}).get("annotations", {}).items())),
        absent=tuple(mount["mountPath"] for mount in mounts if mount not in ours),
    )


def _files(mount: dict[str, Any], volume: dict[str, Any]) -> Iterator[MountedFile]:
    if "emptyDir" in volume:
        return  # the process makes its folder itself
    kind, name, items = _content(volume)
    folder = PurePosixPath(mount["mountPath"]).relative_to(DEFAULT_ROOT)
    optional = volume.get("secret", {}).get("optional", False)
    for item in items:
        path = str(folder / item["path"])
        yield MountedFile(path=path, kind=kind, name=name, key=item["key"], optional=optional)


def _content(volume: dict[str, Any]) -> tuple[Literal["ConfigMap", "Secret"], str, list[dict[str, str]]]:
    if "configMap" in volume:
        return "ConfigMap", volume["configMap"]["name"], volume["configMap"]["items"]
    return "Secret", volume["secret"]["secretName"], volume["secret"]["items"]
