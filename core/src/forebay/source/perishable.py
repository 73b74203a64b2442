"""Where an outage buffer goes with its pod: valid, and less than its writer may think. Reads nothing, changes nothing."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from forebay.source.spec import WebhookSource

# Volumes that are made with their pod and go with it.
_OF_THE_POD = ("emptyDir", "ephemeral")


def goes_with_pod(source: WebhookSource) -> str | None:
    """What would be lost, and the remedy; None if nothing would."""
    storage, ingest = source.spec.storage, source.spec.ingest
    pod = ingest.pod_template
    if storage is None or storage.provider != "File" or ingest.outage_buffer is None or pod is None:
        return None
    volume = _volume_of(storage.bucket, pod.volumes, pod.volume_mounts)
    kind = next((kind for kind in _OF_THE_POD if kind in volume), None)
    if kind is None:
        return None
    return (
        "what waits in the outage buffer is lost when its pod is deleted, evicted, or replaced by a rollout:"
        f" {storage.bucket} is on the {kind} {volume.get('name')!r}; mount a persistentVolumeClaim there, or use S3, GCS or Azure"
    )


def _volume_of(
    folder: str, volumes: tuple[Mapping[str, Any], ...], mounts: tuple[Mapping[str, Any], ...]
) -> Mapping[str, Any]:
    """The volume that a folder is on: of those mounted at it or above it the nearest."""
    above = [mount for mount in mounts if PurePosixPath(folder).is_relative_to(str(mount.get("mountPath", "-")))]
    if not above:
        return {}
    nearest = max(above, key=lambda mount: len(PurePosixPath(mount["mountPath"]).parts))
    return next((volume for volume in volumes if volume.get("name") == nearest.get("name")), {})
