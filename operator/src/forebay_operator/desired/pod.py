"""Pods of Forebay: safe by default (the *restricted* Pod Security Standard), everything below FOREBAY_ROOT."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from forebay.runtime import DEFAULT_ROOT
from forebay.source import WebhookSource
from forebay.source.cluster import PodTemplate, Resources
from forebay.source.references import RESERVED_SECRET, SecretKeyRef
from forebay.source.values import quantity
from forebay_operator.desired.metadata import (
    SECRETS_HASH,
    SETTINGS_HASH,
    Component,
    Object,
    account_name,
    broker_secret,
    labels,
    metadata,
    selector,
    settings_name,
)
from forebay_operator.desired.platform import Platform

Versions = Mapping[str, str]  # of Secrets: name → resourceVersion
NO_VERSIONS: Versions = MappingProxyType({})

ADMIN_PORT = 9090
# What a body may be larger than the bound that it exceeds, for all connections.
_SPOOL_MARGIN = 256 * 1024**2
_NAME: Object = {"name": "FOREBAY_REPLICA", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
_READABLE = 0o444  # by whatever user the image runs as; the pod has no second container


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What makes one component's pods different from another's."""

    component: Component
    queue: str | None = None  # of a worker
    name: str
    image: str
    command: str
    settings_key: str  # in the source's ConfigMap
    settings_hash: str
    secrets: tuple[SecretKeyRef, ...]
    optional: frozenset[str] = frozenset()  # those Secrets without which a pod runs too
    spool_bytes: int | None = None  # of disk, for bodies that are coming in
    named: bool = False  # whether each pod is told its name: what it keeps outside of itself is found again by it
    ports: tuple[dict[str, Any], ...]
    replicas: int | None  # None: an autoscaler says
    grace_s: int  # from the order to end to the kill
    linger_s: int = 0  # keeps serving before the order to end: routes to the pod vanish meanwhile
    resources: Resources
    template: PodTemplate


def deployment(source: WebhookSource, platform: Platform, process: Process, versions: Versions = NO_VERSIONS) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(source, process.name, process.component, process.queue),
        "spec": {
            **({} if process.replicas is None else {"replicas": process.replicas}),
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": selector(source, process.component, process.queue)},
            # A new pod is ready before an old one goes: an endpoint of one replica has no gap either.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": _template(source, platform, process, versions),
        },
    }


def service_account(source: WebhookSource, component: Component) -> Object:
    """An identity without rights; no pod of ours talks to the API server, so no token is mounted."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(source, account_name(source, component), component),
        "automountServiceAccountToken": False,
    }


def _template(source: WebhookSource, platform: Platform, process: Process, versions: Versions) -> Object:
    extra = process.template
    own = labels(source, process.component, process.queue)
    annotations = {SETTINGS_HASH: process.settings_hash, **_secrets_hash(source, process, versions)}
    return {
        "metadata": {
            "labels": {**(extra.labels or {}), **own},
            "annotations": {**(extra.annotations or {}), **annotations},
        },
        "spec": {
            "serviceAccountName": extra.service_account_name or account_name(source, process.component),
            "automountServiceAccountToken": extra.service_account_name is not None,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": process.grace_s,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [_container(process)],
            "volumes": [*_volumes(source, process), *extra.volumes],
            "topologySpreadConstraints": _spread(source, process),
            **_scheduling(platform, extra),
        },
    }


def _secrets_hash(source: WebhookSource, process: Process, versions: Versions) -> dict[str, str]:
    """Pods read Secrets once, as they read settings. Nothing of a Secret's content is in this: its version is enough."""
    names = {*_by_secret(process.secrets), broker_secret(source, process.component)}
    known = [f"{name}={versions[name]}" for name in sorted(names) if name in versions]
    return {SECRETS_HASH: hashlib.sha256("\n".join(known).encode()).hexdigest()} if known else {}


def _container(process: Process) -> Object:
    container: Object = {
        "name": process.component,
        "image": process.image,
        "command": [process.command],
        "env": [
            {"name": "FOREBAY_ROOT", "value": DEFAULT_ROOT},
            *([_NAME] if process.named else ()),
            *({"name": variable.name, "value": variable.value} for variable in process.template.env),
        ],
        "ports": [*process.ports, {"name": "http-admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
        # Often: between the broker's yes and the next look nobody is sent here. Eight seconds without the broker, and nobody is.
        "readinessProbe": _probe("/readyz", period=1, failures=8),
        "livenessProbe": _probe("/healthz", period=10, failures=6),
        # Starting may take a while (a handler's imports); until then nobody is killed for being slow.
        "startupProbe": _probe("/healthz", period=1, failures=60),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [*_mounts(process), *process.template.volume_mounts],
        "resources": _resources(process.resources),
    }
    if process.linger_s:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": process.linger_s}}}
    return container


def _probe(path: str, *, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": "http-admin"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _volumes(source: WebhookSource, process: Process) -> list[Object]:
    settings = {
        "name": settings_name(source),
        "items": [{"key": process.settings_key, "path": f"{process.component}.json"}],
        "defaultMode": _READABLE,
    }
    broker = _secret_volume("broker", broker_secret(source, process.component), ["uri"])
    secrets = _by_secret(process.secrets)
    numbered = (
        _secret_volume(f"secret-{i}", name, secrets[name], optional=name in process.optional)
        for i, name in enumerate(secrets)
    )
    return [{"name": "settings", "configMap": settings}, broker, *numbered, *_spool(process)]


def _spool(process: Process) -> list[Object]:
    """Disk that goes with the pod. The process keeps below its own bound: a pod beyond the volume's is evicted."""
    if process.spool_bytes is None:
        return []
    return [{"name": "spool", "emptyDir": {"sizeLimit": quantity(process.spool_bytes + _SPOOL_MARGIN)}}]


def _secret_volume(volume: str, secret: str, keys: Iterable[str], *, optional: bool = False) -> Object:
    """An optional one is empty until the Secret is there, and follows it then."""
    items = [{"key": key, "path": key} for key in keys]
    content: Object = {"secretName": secret, "items": items, "defaultMode": _READABLE}
    return {"name": volume, "secret": {**content, "optional": True} if optional else content}


def _mounts(process: Process) -> list[Object]:
    folders = {"settings": "config", "broker": f"secrets/{RESERVED_SECRET}"}
    folders |= {f"secret-{i}": f"secrets/{name}" for i, name in enumerate(_by_secret(process.secrets))}
    mounts: list[Object] = [
        {"name": n, "mountPath": f"{DEFAULT_ROOT}/{folder}", "readOnly": True} for n, folder in folders.items()
    ]
    return mounts if process.spool_bytes is None else [*mounts, {"name": "spool", "mountPath": f"{DEFAULT_ROOT}/spool"}]


def _by_secret(refs: Iterable[SecretKeyRef]) -> dict[str, list[str]]:
    """The keys that are needed of each Secret, each once, in a stable order."""
    keys: dict[str, set[str]] = {}
    for ref in refs:
        keys.setdefault(ref.name, set()).add(ref.key)
    return {name: sorted(keys[name]) for name in sorted(keys)}


def _spread(source: WebhookSource, process: Process) -> list[Object]:
    chosen = {"matchLabels": selector(source, process.component, process.queue)}
    given = process.template.topology_spread_constraints
    if given:
        # Without a selector a constraint counts no pod and spreads nothing.
        return [{"labelSelector": chosen, **one} for one in given]
    return [
        {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": chosen}
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def _scheduling(platform: Platform, extra: PodTemplate) -> Object:
    pull = [*platform.image_pull_secrets, *extra.image_pull_secrets]
    given: Object = {
        "nodeSelector": extra.node_selector,
        "tolerations": list(extra.tolerations),
        "affinity": extra.affinity,
        "priorityClassName": extra.priority_class_name,
        "runtimeClassName": extra.runtime_class_name,
        "imagePullSecrets": [{"name": name} for name in pull],
    }
    return {key: value for key, value in given.items() if value}


def _resources(resources: Resources) -> Object:
    given: Object = {"requests": resources.requests, "limits": resources.limits}
    return {key: value for key, value in given.items() if value}
