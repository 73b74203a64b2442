"""Where the source of a command lives: on this machine or on a cluster. The one rule for it, and nothing else.

`kubectl forebay` speaks of the cluster and `forebay` of this machine, unless an option says otherwise: -n, -A, --context and
--kubeconfig say the cluster; -f and --broker say what they name.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from forebay.errors import SpecError

KUBECTL = "kubectl forebay"  # how kubectl's user calls this program

RULE = "kubectl forebay speaks of the cluster, forebay of this machine; -n, --context or --kubeconfig turn forebay to the cluster."


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster and a namespace, as a person named them. What is None, the kubeconfig says."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    everywhere: bool = False  # all namespaces

    @property
    def flags(self) -> tuple[str, ...]:
        """Those that name the cluster, for a command that a person is to run next."""
        given = (("--context", self.context), ("--kubeconfig", self.kubeconfig))
        return tuple(word for flag, value in given if value for word in (flag, value))


def where(cluster: Cluster, *, kubectl: bool, machine: Iterable[str]) -> Cluster | None:
    """The cluster, or None for this machine; `machine` are the given options that say the latter. Raises SpecError."""
    said = [
        flag
        for flag, value in (
            ("-n", cluster.namespace), ("-A", cluster.everywhere), ("--context", cluster.context),
            ("--kubeconfig", cluster.kubeconfig),
        )
        if value
    ]  # fmt: skip
    local = list(machine)
    if said and local:
        raise SpecError(f"{said[0]} speaks of a cluster and {local[0]} does not; leave out one of them")
    return cluster if said or (kubectl and not local) else None
