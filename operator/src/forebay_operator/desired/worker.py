"""The workers of a source: a Deployment for each queue, and their identity."""

from collections.abc import Iterator
from dataclasses import replace

from forebay.settings import dump
from forebay.source import WebhookSource
from forebay.source.cluster import PodTemplate, Resources
from forebay.source.references import SecretKeyRef
from forebay.source.worker import Auth, Tls, Worker
from forebay_operator.desired.ingest import storage_credentials
from forebay_operator.desired.lanes import queue_names
from forebay_operator.desired.metadata import Object, worker_name
from forebay_operator.desired.platform import Platform
from forebay_operator.desired.pod import NO_VERSIONS, Process, Versions, deployment, service_account
from forebay_operator.desired.settings import fingerprint, worker_file
from forebay_operator.desired.worker_settings import replicas, worker_settings

RESOURCES = Resources(requests={"cpu": "100m", "memory": "64Mi"}, limits={"memory": "512Mi"})


def objects(source: WebhookSource, platform: Platform, versions: Versions = NO_VERSIONS) -> list[Object]:
    processes = (process(source, queue, platform) for queue in queue_names(source))
    return [service_account(source, "worker"), *(deployment(source, platform, p, versions) for p in processes)]


def secrets(source: WebhookSource) -> tuple[SecretKeyRef, ...]:
    """What deliveries log in with, and what opens the storage of large bodies."""
    return (*_secrets(source.spec.worker), *storage_credentials(source))


def most(source: WebhookSource, queue: str) -> int:
    """How many pods a queue may ever have."""
    scaling = source.spec.worker.autoscaling
    return scaling.max_replicas if scaling else replicas(source, queue)


def process(source: WebhookSource, queue: str, platform: Platform) -> Process:
    worker, settings = source.spec.worker, worker_settings(source, queue, platform)
    fixed = replace(settings, suspended=False)  # what a running worker follows needs no other pods
    return Process(
        component="worker",
        queue=queue,
        name=worker_name(source, queue),
        image=worker.handler.image if worker.handler else platform.worker_image,
        command="forebay-worker",
        settings_key=worker_file(queue),
        settings_hash=fingerprint(dump(fixed)),
        secrets=secrets(source),
        ports=(),
        replicas=None if worker.autoscaling else replicas(source, queue),
        grace_s=round(settings.drain_s) + 5,
        resources=worker.resources or RESOURCES,
        template=worker.pod_template or PodTemplate(),
    )


def _secrets(worker: Worker) -> Iterator[SecretKeyRef]:
    if worker.destination is None:
        return
    if worker.destination.auth:
        yield from _credentials(worker.destination.auth)
    if worker.destination.signing:
        yield from worker.destination.signing.secret_refs
    if worker.destination.tls:
        yield from _certificates(worker.destination.tls)


def _certificates(tls: Tls) -> Iterator[SecretKeyRef]:
    if tls.ca_secret_ref:
        yield tls.ca_secret_ref
    if tls.client_cert_secret_ref:
        yield tls.client_cert_secret_ref.certificate
        yield tls.client_cert_secret_ref.key


def _credentials(auth: Auth) -> Iterator[SecretKeyRef]:
    if auth.bearer:
        yield auth.bearer.secret_ref
    if auth.api_key:
        yield auth.api_key.secret_ref
    if auth.basic:
        yield auth.basic.password_secret_ref
        if auth.basic.username_secret_ref:
            yield auth.basic.username_secret_ref
    if auth.oauth2:
        of_token = (auth.oauth2.client_id_secret_ref, auth.oauth2.client_secret_ref, auth.oauth2.ca_secret_ref)
        yield from (ref for ref in of_token if ref)
