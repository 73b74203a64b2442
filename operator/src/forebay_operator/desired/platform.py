"""What the cluster (or this machine) is like, as far as it decides what a source becomes."""

from dataclasses import dataclass

POD_MONITOR = "monitoring.coreos.com/v1/PodMonitor"
PROMETHEUS_RULE = "monitoring.coreos.com/v1/PrometheusRule"
SCALED_OBJECT = "keda.sh/v1alpha1/ScaledObject"
TRIGGER_AUTHENTICATION = "keda.sh/v1alpha1/TriggerAuthentication"
HTTP_ROUTE = "gateway.networking.k8s.io/v1/HTTPRoute"

# APIs that a cluster may have or not, as "group/version/Kind".
OPTIONAL_APIS = (POD_MONITOR, PROMETHEUS_RULE, SCALED_OBJECT, TRIGGER_AUTHENTICATION, HTTP_ROUTE)

# Every kind of child that a source can have, as (apiVersion, kind); of these the optional ones only where they are served.
CHILD_KINDS = (
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("apps/v1", "Deployment"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    *((api.rpartition("/")[0], api.rpartition("/")[2]) for api in OPTIONAL_APIS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The platform team's decisions, and the optional APIs that were discovered."""

    ingest_image: str = "ghcr.io/forebay/forebay-ingest:0.1.0"
    worker_image: str = "ghcr.io/forebay/forebay-worker:0.1.0"
    image_pull_secrets: tuple[str, ...] = ()
    # Which addresses a tenant's destination may have. Metadata addresses never may.
    allow_private: bool = True
    allow_loopback: bool = False
    network_policies: bool = True
    # Which namespaces webhooks and scrapes come from; none: anywhere. A load balancer lives in no namespace.
    ingress_namespaces: tuple[str, ...] = ()
    monitoring_namespaces: tuple[str, ...] = ()
    broker_ports: tuple[int, ...] = (5671, 5672)  # where brokers listen: what pods may reach besides DNS
    # By what Grafana's sidecar finds dashboards, and how it is told their folder.
    dashboard_label: str = "grafana_dashboard"
    dashboard_label_value: str = "1"
    dashboard_folder_annotation: str = "grafana_folder"
    apis: frozenset[str] = frozenset()  # "group/version/Kind" of optional APIs that the cluster has
