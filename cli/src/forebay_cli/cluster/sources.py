"""Sources on a cluster: find the one that a person means, or say which ones there are. Reads, changes nothing."""

import difflib

from forebay.errors import SpecError
from forebay_cli.cluster.api import SOURCES, Api, NotFound, Object
from forebay_cli.where import KUBECTL

_MOST = 20  # names in an error


def split(api: Api, name: str) -> tuple[str, str]:
    """Namespace and name of NAME or NAMESPACE/NAME. Raises SpecError for anything else."""
    namespace, slash, rest = name.rpartition("/")
    if not rest or (slash and not namespace) or "/" in namespace:
        raise SpecError(f"{name!r} is no source; write NAME, with -n NAMESPACE where it is another")
    return namespace or api.namespace, rest


async def find(api: Api, name: str) -> Object:
    """The source called NAME or NAMESPACE/NAME. Raises NotFound that lists what there is."""
    namespace, name = split(api, name)
    try:
        return await api.get(SOURCES, name, namespace)
    except NotFound as error:
        raise NotFound(await _not_found(api, namespace, name)) from error


async def _not_found(api: Api, namespace: str, name: str) -> str:
    try:
        there = sorted(item["metadata"]["name"] for item in await api.list(SOURCES, namespace))
    except NotFound:
        return f"this cluster has no WebhookSources; install Forebay's chart, or check with {KUBECTL} doctor"
    if not there:
        return f"there is no source {name} in namespace {namespace}, nor any other; {KUBECTL} status -A lists all there are"
    near = difflib.get_close_matches(name, there, n=1)
    listed = ", ".join(there[:_MOST]) + (f" and {len(there) - _MOST} more" if len(there) > _MOST else "")
    hint = f"did you mean {near[0]}? " if near else ""
    return f"there is no source {name} in namespace {namespace}; {hint}there are {listed}"
