"""The operators on a cluster: which there are, and whether one of them is alive."""

import time
from dataclasses import dataclass, field
from typing import Any

from forebay.errors import ForebayError
from forebay_cli.cluster.api import DEPLOYMENTS, LEASES, Api, Object
from forebay_cli.cluster.standing import age_s

SELECTOR = "app.kubernetes.io/name=forebay,app.kubernetes.io/component=operator"
_LEASE_S = 60.0  # clocks of two machines differ; a leader renews every two seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """An operator's Deployment, and the Lease of the replica that acts."""

    deployment: Object
    lease: Object | ForebayError | None = None
    now: float = field(default_factory=time.time)

    @property
    def shown(self) -> str:
        metadata = self.deployment["metadata"]
        return f"{metadata['name']} in namespace {metadata['namespace']}"

    @property
    def version(self) -> str:
        return str(self.deployment["metadata"].get("labels", {}).get("app.kubernetes.io/version", ""))

    @property
    def ready(self) -> int:
        return int(self.deployment.get("status", {}).get("readyReplicas", 0))

    @property
    def renewed_s(self) -> float | None:
        """Seconds since its Lease was renewed; None if that can not be told."""
        if self.lease is None or isinstance(self.lease, ForebayError):
            return None
        spec: dict[str, Any] = self.lease.get("spec") or {}
        return age_s(spec.get("renewTime"), self.now)

    @property
    def leads(self) -> bool | None:
        """Whether a replica of it acts; None if that can not be told."""
        return None if self.renewed_s is None else self.renewed_s < _LEASE_S

    @property
    def flags(self) -> dict[str, str]:
        """What it was started with, as far as it is --NAME=VALUE."""
        containers = self.deployment["spec"]["template"]["spec"]["containers"]
        words = [word for container in containers for word in container.get("args", ())]
        return {name: value for name, equals, value in (word.partition("=") for word in words) if equals}


async def seen(api: Api) -> "list[Operator] | ForebayError":
    """The operators of the cluster, or why they can not be seen."""
    try:
        deployments = await api.list(DEPLOYMENTS, selector=SELECTOR)
    except ForebayError as error:
        return error
    return [Operator(deployment=one, lease=await _lease(api, one)) for one in deployments]


def alive(operators: "list[Operator] | ForebayError") -> str | None:
    """What to say to somebody who thinks that there is no operator; None if it looks so."""
    if isinstance(operators, ForebayError):
        return f"whether an operator is alive can not be seen: {operators}"
    living = [one for one in operators if one.ready and one.leads is not False]
    return f"operator {living[0].shown} is alive and may clean up by itself" if living else None


async def _lease(api: Api, deployment: Object) -> Object | ForebayError | None:
    metadata = deployment["metadata"]
    flags = Operator(deployment=deployment).flags
    try:
        return await api.get(
            LEASES, flags.get("--lease-name", metadata["name"]), flags.get("--lease-namespace", metadata["namespace"])
        )
    except ForebayError as error:
        return error
