"""Other people's manifests, as they publish them, run from images that are made here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from tests.cluster.cluster import Cluster

Images = Mapping[str, str]  # Deployment → image
_USER = 65532  # the images, which are a program each, name none


def apply(cluster: Cluster, manifests: str, images: Images, arguments: Sequence[str] = ()) -> None:
    """Apply them; of the Deployments those alone that have an image here, with these arguments if there are any."""
    ours = "\n---\n".join(_ours(manifests, images, arguments))
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=ours)


def _ours(manifests: str, images: Images, arguments: Sequence[str]) -> Iterator[str]:
    """What is no Deployment stays text: to read CustomResourceDefinitions takes half a minute."""
    for document in manifests.split("\n---\n"):
        if "\nkind: Deployment\n" not in f"\n{document}\n":
            yield document
        elif image := images.get((found := yaml.safe_load(document))["metadata"]["name"]):
            pod = found["spec"]["template"]["spec"]
            _run_from(pod, image)
            if arguments:
                pod["containers"][0]["args"] = list(arguments)
            yield yaml.safe_dump(found)


def _run_from(pod: dict[str, Any], image: str) -> None:
    pod["securityContext"] = {**pod.get("securityContext", {}), "runAsUser": _USER}
    (container,) = pod["containers"]
    container |= {"image": image, "imagePullPolicy": "IfNotPresent"}
    container.get("resources", {}).pop("limits", None)  # with them a start on a busy machine takes minutes
    for probe in ("readinessProbe", "livenessProbe"):
        if probe in container:
            container[probe] |= {"initialDelaySeconds": 1, "periodSeconds": 2, "failureThreshold": 30}
