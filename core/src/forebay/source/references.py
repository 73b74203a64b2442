"""References to other objects of the source's namespace, and the broker a source lives on."""

from collections.abc import Iterator
from typing import Any

from pydantic import ConfigDict, Field
from typing_extensions import override

from forebay.source.model import Part, Problem, cel
from forebay.source.values import DataKey, Namespace, ObjectName

# Its folder is where a pod finds the address of the broker.
RESERVED_SECRET = "broker"  # noqa: S105 - the name of a folder


class SecretKeyRef(Part):
    """One key of a Secret in the source's namespace."""

    model_config = ConfigDict(
        json_schema_extra=cel((f"self.name != '{RESERVED_SECRET}'", "the name 'broker' is Forebay's own here"))
    )

    name: ObjectName = Field(description="Name of the Secret, in the source's namespace.")
    key: DataKey = Field(description="Key of the Secret whose value is meant.")

    @override
    def faults(self) -> Iterator[Problem]:
        yield from _reserved(self.name)


class CertificateRef(Part):
    """A certificate and its key: a Secret of type kubernetes.io/tls in the source's namespace."""

    model_config = ConfigDict(
        json_schema_extra=cel((f"self.name != '{RESERVED_SECRET}'", "the name 'broker' is Forebay's own here"))
    )

    name: ObjectName = Field(description="Name of the Secret: keys tls.crt and tls.key, in PEM.")

    @property
    def certificate(self) -> SecretKeyRef:
        return SecretKeyRef.model_construct(name=self.name, key="tls.crt")

    @property
    def key(self) -> SecretKeyRef:
        return SecretKeyRef.model_construct(name=self.name, key="tls.key")

    @override
    def faults(self) -> Iterator[Problem]:
        yield from _reserved(self.name)


class BrokerSecretRef(Part):
    """A Secret that says how to reach RabbitMQ."""

    name: ObjectName = Field(
        description="Name of the Secret: key uri (amqp://user:password@host/vhost), or keys host, username, password."
    )
    namespace: Namespace | None = Field(
        default=None,
        description="Namespace of the Secret, where it allows this one by annotation. Default: the source's own.",
    )


class ClusterRef(Part):
    """A RabbitmqCluster of RabbitMQ's cluster operator."""

    name: ObjectName = Field(description="Name of the RabbitmqCluster.")
    namespace: Namespace | None = Field(
        default=None, description="Its namespace, where it allows this one by annotation. Default: the source's own."
    )


class Broker(Part):
    """Where the queues of a source are. Empty: the operator's default broker."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("!(has(self.secretRef) && has(self.clusterRef))", "give secretRef or clusterRef, not both")
        )
    )

    secret_ref: BrokerSecretRef | None = Field(default=None, description="A Secret that says how to reach RabbitMQ.")
    cluster_ref: ClusterRef | None = Field(
        default=None, description="A RabbitmqCluster of RabbitMQ's cluster operator."
    )

    @override
    def faults(self) -> Iterator[Problem]:
        if self.secret_ref and self.cluster_ref:
            yield Problem(("clusterRef",), "give secretRef or clusterRef, not both", "keep one of them")


def _reserved(name: str) -> Iterator[Problem]:
    if name == RESERVED_SECRET:
        yield Problem(("name",), f"{name!r} is Forebay's own name for the broker's address", "rename the Secret")


def one_of(part: Part, *names: str) -> Iterator[Problem]:
    """The fault of a union of which exactly one member must be given; names as in the manifest."""
    members: dict[str, Any] = {field.alias or "": name for name, field in type(part).model_fields.items()}
    given = [name for name in names if getattr(part, members[name]) is not None]
    listed = " or ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} or {names[-1]}"
    if not given:
        yield Problem((), f"{listed} is missing", f"give one of {', '.join(names)}")
    elif len(given) > 1:
        yield Problem(
            (given[-1],), f"give {listed}, not {'both' if len(given) == 2 else 'several'}", "keep one of them"
        )
