"""What of a source only a cluster can give: resources, pods, scaling, routes, monitoring."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from typing_extensions import override

from forebay.source.model import Part, Problem, cel, list_map
from forebay.source.values import Namespace, ObjectName, Shape, Span, Text, duration

# Seconds between two looks of KEDA at a queue.
KEDA_LOOKS_S = 10

LabelKey = Annotated[
    str,
    Shape(
        r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?",
        "a label's key such as team or example.com/team",
        317,
    ),
]
LabelValue = Annotated[
    str,
    Shape(
        r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?",
        "a label's value of letters, digits, -, _ and dots",
        63,
        shortest=0,
    ),
]
Amount = Annotated[
    str, Shape(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?", "a quantity such as 250m or 64Mi", 20, or_number=True)
]
EnvName = Annotated[str, Shape(r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name: letters, digits and _", 128)]
AlertLabel = Annotated[
    str, Shape(r"[A-Za-z_][A-Za-z0-9_]*", "a label of Prometheus such as team: letters, digits and _", 128)
]
# Grafana's sidecar makes a path of it.
Folder = Annotated[
    str,
    Shape(
        r"[A-Za-z0-9]([A-Za-z0-9 _-]*[A-Za-z0-9])?",
        "a folder's name such as Payments: letters, digits, spaces, - and _",
        63,
    ),
]
# No braces: Prometheus takes what stands between {{ and }} for a program.
Url = Annotated[str, Shape(r"https?://[^\x00-\x20{}\x7f]+", "a URL such as https://wiki.example.com/runbooks", 256)]
# Kubernetes' own types, which its API server checks where they arrive: in the pods.
KubernetesObject = dict[str, Any]


class Resources(Part):
    """CPU and memory of a container."""

    requests: dict[LabelKey, Amount] | None = Field(
        default=None, max_length=16, description="What is set aside: cpu, memory, ephemeral-storage."
    )
    limits: dict[LabelKey, Amount] | None = Field(default=None, max_length=16, description="What is not exceeded.")


class EnvVar(Part):
    """One environment variable of a container; never a secret."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("!self.name.startsWith('FOREBAY_')", "variables that begin with FOREBAY_ are Forebay's own")
        )
    )

    name: EnvName = Field(description="Name of the variable. Those that begin with FOREBAY_ are Forebay's own.")
    value: Text = Field(default="", description="Its value.")

    @override
    def faults(self) -> Iterator[Problem]:
        if self.name.startswith("FOREBAY_"):
            yield Problem(("name",), f"{self.name} is one of Forebay's own", "set what it stands for in the spec")


class PodTemplate(Part):
    """What is added to pods. What keeps them safe (user, capabilities, file system) is not for changing."""

    labels: dict[LabelKey, LabelValue] | None = Field(default=None, max_length=32, description="Labels of the pods.")
    annotations: dict[LabelKey, Text] | None = Field(
        default=None, max_length=32, description="Annotations of the pods."
    )
    node_selector: dict[LabelKey, LabelValue] | None = Field(
        default=None, max_length=32, description="Labels of nodes to run on."
    )
    tolerations: tuple[KubernetesObject, ...] = Field(
        default=(), max_length=32, description="Taints that are tolerated."
    )
    affinity: KubernetesObject | None = Field(default=None, description="Where pods go, in Kubernetes' own terms.")
    topology_spread_constraints: tuple[KubernetesObject, ...] = Field(
        default=(),
        max_length=8,
        description="How pods are spread; without a labelSelector those of the same Deployment. "
        "Default: over nodes and zones, as far as that can be had.",
    )
    priority_class_name: ObjectName | None = Field(default=None, description="Name of a PriorityClass.")
    runtime_class_name: ObjectName | None = Field(default=None, description="Name of a RuntimeClass.")
    service_account_name: ObjectName | None = Field(
        default=None, description="A ServiceAccount of your own, for a handler that needs rights. Its token is mounted."
    )
    image_pull_secrets: tuple[ObjectName, ...] = Field(
        default=(), max_length=8, description="Names of Secrets to pull images with, besides the operator's."
    )
    env: tuple[EnvVar, ...] = Field(
        default=(), max_length=64, json_schema_extra=list_map("name"), description="Environment variables."
    )
    volumes: tuple[KubernetesObject, ...] = Field(
        default=(), max_length=16, description="Volumes, in Kubernetes' own terms."
    )
    volume_mounts: tuple[KubernetesObject, ...] = Field(
        default=(), max_length=16, description="Where these volumes appear."
    )


_ORDER = cel(("self.minReplicas <= self.maxReplicas", "minReplicas is more than maxReplicas"))
Percent = Annotated[int, Field(ge=1, le=1000)]  # of what is requested, which a pod may exceed


class Autoscaling(Part):
    """How many processes run, by load."""

    model_config = ConfigDict(json_schema_extra=_ORDER)

    min_replicas: int = Field(default=1, ge=0, le=100, description="Never fewer than these.")
    max_replicas: int = Field(default=10, ge=1, le=1000, description="Never more than these.")
    target_cpu_percent: Percent | None = Field(
        default=None, description="CPU to aim for, in percent of what is requested."
    )
    cooldown: Annotated[float, Span("0s", "1h")] = Field(
        default=300.0, description="How long load stays low before processes go."
    )

    @override
    def faults(self) -> Iterator[Problem]:
        if self.min_replicas > self.max_replicas:
            yield Problem(("minReplicas",), "more than maxReplicas", "lower it, or raise maxReplicas")


class IngestAutoscaling(Autoscaling):
    """How many endpoint processes run, by load: a HorizontalPodAutoscaler."""

    min_replicas: int = Field(
        default=2, ge=1, le=100, description="Never fewer than these: a provider does not wait for a process to start."
    )
    target_cpu_percent: Percent | None = Field(
        default=None,
        description="CPU to aim for, in percent of what is requested. Default: 70, unless targetRequestsPerSecond is given.",
    )
    target_requests_per_second: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Accepted webhooks a second and process to aim for. Needs pod metrics, as prometheus-adapter serves them.",
    )


class WorkerAutoscaling(Autoscaling):
    """How many worker processes run, by load: a ScaledObject of KEDA; where KEDA is not, a HorizontalPodAutoscaler by CPU."""

    min_replicas: int = Field(
        default=1,
        ge=0,
        le=100,
        description="Never fewer than these of each queue. 0 needs KEDA; without it, it means 1.",
    )
    target_cpu_percent: Percent | None = Field(
        default=None,
        description="CPU to aim for, in percent of what is requested. Default: none with KEDA, 70 without it.",
    )
    target_queue_length: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Webhooks a process to aim for, in delivery and waiting, with KEDA. Default: ten times concurrency.",
    )

    @property
    def unrest(self) -> str | None:
        """Why processes would come and go all the time, and the remedy; None if they would not."""
        if self.cooldown > KEDA_LOOKS_S:
            return None
        return (
            f"worker.autoscaling.cooldown is {duration(self.cooldown)}, and KEDA looks at the queue every {KEDA_LOOKS_S} s: one look "
            "at an empty queue ends workers that the next one starts again; make it longer, such as 1m"
        )


# Of the parts that run processes, ingest and worker.
SCALING_RULES = (
    ("!(has(self.replicas) && has(self.autoscaling))", "give replicas or autoscaling, not both"),
    (
        (
            "!has(self.autoscaling) || !has(self.resources)"
            " || (has(self.resources.requests) && 'cpu' in self.resources.requests)"
            " || (has(self.resources.limits) && 'cpu' in self.resources.limits)"
        ),
        "autoscaling needs a request of cpu in resources",
    ),
)


def scaling_faults(
    replicas: int | None, autoscaling: Autoscaling | None, resources: Resources | None
) -> Iterator[Problem]:
    """What SCALING_RULES say."""
    if autoscaling is None:
        return
    if replicas is not None:
        yield Problem(("replicas",), "give replicas or autoscaling, not both", "keep one of them")
    if resources is not None and "cpu" not in {**(resources.requests or {}), **(resources.limits or {})}:
        message = "autoscaling measures CPU in percent of what is requested, and none is"
        yield Problem(("resources",), message, "add requests: {cpu: 100m} or the like")


class ParentRef(Part):
    """A Gateway or ListenerSet that takes the traffic in."""

    name: ObjectName = Field(description="Its name.")
    namespace: Namespace | None = Field(default=None, description="Its namespace. Default: the source's own.")
    kind: Literal["Gateway", "ListenerSet"] = Field(default="Gateway", description="Its kind.")
    section_name: ObjectName | None = Field(default=None, description="Name of one of its listeners. Default: all.")


class HttpRoute(Part):
    """An HTTPRoute of Gateway API."""

    parent_refs: tuple[ParentRef, ...] = Field(min_length=1, max_length=8, description="Gateways to attach to.")
    hostnames: tuple[ObjectName, ...] = Field(
        default=(), max_length=16, description="Host names. Default: the gateway's."
    )
    annotations: dict[LabelKey, Text] | None = Field(
        default=None, max_length=32, description="Annotations of the HTTPRoute."
    )


class IngressTls(Part):
    """TLS of an Ingress."""

    secret_name: ObjectName | None = Field(
        default=None, description="Name of the Secret with the certificate. Default: the controller's own certificate."
    )


class IngressRoute(Part):
    """A Kubernetes Ingress."""

    class_name: ObjectName | None = Field(default=None, description="Name of the IngressClass. Default: the cluster's.")
    host: ObjectName = Field(description="Host name.")
    tls: IngressTls | None = Field(default=None, description="TLS. None: plain HTTP.")
    annotations: dict[LabelKey, Text] | None = Field(
        default=None, max_length=32, description="Annotations of the Ingress."
    )


class Expose(Part):
    """How the endpoint is reached from outside the cluster. Empty: not at all, only by its Service."""

    model_config = ConfigDict(
        json_schema_extra=cel(("!(has(self.httpRoute) && has(self.ingress))", "give httpRoute or ingress, not both"))
    )

    http_route: HttpRoute | None = Field(default=None, description="By an HTTPRoute of Gateway API.")
    ingress: IngressRoute | None = Field(default=None, description="By a Kubernetes Ingress.")

    @override
    def faults(self) -> Iterator[Problem]:
        if self.http_route and self.ingress:
            yield Problem(("ingress",), "give httpRoute or ingress, not both", "keep one of them")


class Alerts(Part):
    """When to call somebody."""

    state: Literal["Enabled", "Disabled"] = Field(default="Enabled", description="Whether there are alerts at all.")
    refused_percent: int = Field(
        default=5, ge=0, le=99, description="A greater share of requests than this is not answered 2xx."
    )
    dead_letters: int = Field(default=1, ge=1, le=1_000_000, description="So many dead letters are waiting, or more.")
    oldest_age: Annotated[float, Span("1m", "30d")] = Field(
        default=900.0, description="A webhook's first attempt comes later than this after it was received."
    )
    silence: Annotated[float, Span("1m", "30d")] | None = Field(
        default=None, description="No webhook was accepted for so long. None: no alert."
    )
    hold_for: Annotated[float, Span("1s", "1h")] | None = Field(
        default=None,
        description="How long it has to be so before an alert fires. Default: each alert's own, from 2 to 10 minutes. Those that fire at once still do.",
    )
    labels: dict[AlertLabel, LabelValue] | None = Field(
        default=None, max_length=16, description="Labels of each alert, for routing it. They win over Forebay's own."
    )
    runbook_url: Url | None = Field(
        default=None, description="Where runbooks are: an alert's is at this/NAME-OF-THE-ALERT. Default: Forebay's own."
    )


class Dashboard(Part):
    """A dashboard for Grafana: a ConfigMap as its sidecar looks for them."""

    state: Literal["Enabled", "Disabled"] = Field(default="Enabled", description="Whether there is one.")
    folder: Folder | None = Field(default=None, description="Folder it appears in. Default: Grafana's general one.")


class Monitoring(Part):
    """How the source is watched."""

    labels: dict[LabelKey, LabelValue] | None = Field(
        default=None,
        max_length=16,
        description="Labels of PodMonitor and PrometheusRule, by which Prometheus selects them (release: …).",
    )
    alerts: Alerts = Field(default_factory=Alerts, description="When to call somebody.")
    dashboard: Dashboard | None = Field(default=None, description="A dashboard for Grafana. Default: none.")
