"""A WebhookSource: the one resource a team writes, as a frozen, validated value. Reads nothing, changes nothing."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import override

from forebay.source.cluster import LabelKey, LabelValue, Monitoring
from forebay.source.ingest import Ingest
from forebay.source.model import Part, Problem, cel, contradictions, list_map, several
from forebay.source.queues import (
    QUEUE_RULES,
    DeadLetter,
    Queue,
    Retry,
    routing_faults,
    scaling_of_queues_faults,
)
from forebay.source.references import Broker
from forebay.source.storage import STORAGE_RULES, Storage, storage_faults
from forebay.source.values import Namespace, Shape, SourceName
from forebay.source.worker import Worker
from forebay.suspend import Suspend

GROUP = "forebay.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "WebhookSource"

# What the API server adds to metadata and nobody here needs.
_SERVERS_OWN = frozenset(
    {
        "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName",
        "managedFields", "ownerReferences", "resourceVersion", "selfLink",
    }
)  # fmt: skip

# As long as the API server takes them: kubectl apply writes the whole manifest into one.
Annotation = Annotated[str, Shape(r"[\s\S]*", "text", 256 * 1024, shortest=0)]


class Metadata(Part):
    """Who a source is."""

    name: SourceName = Field(description="Name of the source; part of the names of all that belongs to it.")
    namespace: Namespace = Field(default="default", description="Namespace of the source and all that belongs to it.")
    labels: dict[LabelKey, LabelValue] | None = Field(default=None, description="Labels.")
    annotations: dict[LabelKey, Annotation] | None = Field(default=None, description="Annotations.")
    uid: str | None = Field(default=None, description="Given by the API server.")
    generation: int | None = Field(default=None, description="Given by the API server; counts changes of the spec.")

    @override
    def faults(self) -> Iterator[Problem]:
        if self.name.endswith("-worker") or "-worker-" in self.name:
            message = "-worker at the end or within would give two sources' workers the same name"
            yield Problem(("name",), message, f"write {self.name.replace('-worker', '-work')} or the like")

    @model_validator(mode="before")
    @classmethod
    def _without_the_servers_own(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if key not in _SERVERS_OWN}


class Spec(Part):
    """What becomes of the webhooks of one provider."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "has(self.broker) == has(oldSelf.broker) && (!has(self.broker) || self.broker == oldSelf.broker)",
                "broker can not be changed: webhooks wait on the old one; make a second source and delete this one",
            ),
            *STORAGE_RULES,
            *QUEUE_RULES,
        )
    )

    broker: Broker = Field(
        default_factory=Broker, description="Where the queues are. Default: the operator's default broker."
    )
    ingest: Ingest = Field(description="The endpoint that takes the webhooks in.")
    queues: tuple[Queue, ...] = Field(
        default=(),
        max_length=16,
        json_schema_extra=list_map("name"),
        description="Queues of their own for some webhooks. What none matches goes to queue default, which is always there.",
    )
    storage: Storage | None = Field(
        default=None,
        description="Where large bodies go, and webhooks in an outage of the broker. Default: nowhere, and maxBodyBytes is at most 16Mi.",
    )
    retry: Retry = Field(
        default_factory=Retry, description="When a failed delivery is tried again and when it is given up."
    )
    dead_letter: DeadLetter = Field(
        default_factory=DeadLetter, description="What becomes of webhooks that were given up."
    )
    worker: Worker = Field(description="The processes that deliver.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="How the source is watched.")
    suspend: Suspend = Field(
        default="None",
        description="What rests: Ingest answers 503 to everything, Workers deliver nothing while webhooks queue up.",
    )
    deletion_policy: Literal["Retain", "Delete"] = Field(
        default="Retain", description="What becomes of queues that still hold webhooks when the source is deleted."
    )

    @override
    def faults(self) -> Iterator[Problem]:
        scaled = scaling_of_queues_faults(self.queues, autoscaled=self.worker.autoscaling is not None)
        found = (*routing_faults(self.queues), *scaled)
        yield from (Problem(("queues", *path), text, remedy) for path, text, remedy in found)
        yield from storage_faults(self.storage, self.ingest, self.queues, self.worker)


class WebhookSource(Part):
    """Webhooks of one provider: taken in, queued, and delivered at a pace the destination can bear."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!self.metadata.name.matches('-worker(-|$)')",
                "-worker at the end of the name or within would give two sources' workers the same name",
            )
        )
    )

    api_version: Literal["forebay.dev/v1alpha1"] = Field(description="Version of this schema.")
    kind: Literal["WebhookSource"] = Field(description="The kind of this object.")
    metadata: Metadata = Field(description="Who the source is.")
    spec: Spec = Field(description="What becomes of its webhooks.")

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def key(self) -> str:
        """Namespace and name as "namespace/name", as the settings, envelopes and metrics have it."""
        return f"{self.namespace}/{self.name}"

    @property
    def path(self) -> str:
        """The path of its endpoint."""
        return self.spec.ingest.path or f"/{self.namespace}/{self.name}"

    @model_validator(mode="after")
    def _without_contradictions(self) -> Self:
        problems = tuple(contradictions(self))
        if problems:
            raise several(problems)
        return self

    @model_validator(mode="before")
    @classmethod
    def _without_status(cls, data: Any) -> Any:
        """The status is the operator's to say, never read from here, and may be of another version."""
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if key != "status"}
