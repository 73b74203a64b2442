"""Names, labels and owner of a source's children. One place for each name."""

from typing import Any, Literal

from forebay.source import API_VERSION, GROUP, KIND, WebhookSource

Object = dict[str, Any]
Component = Literal["ingest", "worker"]

SOURCE_LABEL = f"{GROUP}/source"
QUEUE_LABEL = f"{GROUP}/queue"
SETTINGS_HASH = f"{GROUP}/settings-sha256"
SECRETS_HASH = f"{GROUP}/secrets-sha256"


def ingest_name(source: WebhookSource) -> str:
    """Of the endpoint's Deployment, Service and ServiceAccount."""
    return f"{source.name}-ingest"


def worker_name(source: WebhookSource, queue: str) -> str:
    """Of the Deployment of a queue's workers."""
    return f"{source.name}-worker-{queue}"


def account_name(source: WebhookSource, component: Component) -> str:
    """Of the ServiceAccount of a component's pods."""
    return f"{source.name}-{component}"


def settings_name(source: WebhookSource) -> str:
    """Of the ConfigMap with the settings of all components."""
    return f"{source.name}-settings"


def dashboard_name(source: WebhookSource) -> str:
    """Of the ConfigMap with the dashboard."""
    return f"{source.name}-dashboard"


def broker_secret(source: WebhookSource, component: Component) -> str:
    """Of the Secret with the broker's address for one component's own user; its key is `uri`."""
    return broker_secret_of(source.name, component)


def broker_secret_of(source_name: str, component: Component) -> str:
    """The same for a source of which only the name is known."""
    return f"{source_name}-broker-{component}"


def selector(source: WebhookSource, component: Component, queue: str | None = None) -> dict[str, str]:
    """The labels that tell a component's pods from all others; they never change."""
    labels = {"app.kubernetes.io/name": "forebay", "app.kubernetes.io/component": component, SOURCE_LABEL: source.name}
    return labels if queue is None else {**labels, QUEUE_LABEL: queue}


def labels(source: WebhookSource, component: Component | None = None, queue: str | None = None) -> dict[str, str]:
    """All labels of a child."""
    own = (
        selector(source, component, queue)
        if component
        else {"app.kubernetes.io/name": "forebay", SOURCE_LABEL: source.name}
    )
    return {
        **own,
        "app.kubernetes.io/instance": source.name,
        "app.kubernetes.io/part-of": "forebay",
        "app.kubernetes.io/managed-by": "forebay-operator",
    }


def metadata(
    source: WebhookSource, name: str, component: Component | None = None, queue: str | None = None
) -> dict[str, Any]:
    """The metadata of a child; owned by the source, if that lives on an API server."""
    result: dict[str, Any] = {"name": name, "namespace": source.namespace, "labels": labels(source, component, queue)}
    if source.metadata.uid:
        result["ownerReferences"] = [_owner(source)]
    return result


def _owner(source: WebhookSource) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": source.name,
        "uid": source.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
