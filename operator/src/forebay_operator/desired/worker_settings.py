"""From a source to the settings of its workers, and what of them decides its place on the broker."""

from forebay import settings
from forebay.settings import RetryPolicy, WorkerSettings
from forebay.source import WebhookSource
from forebay.source.queues import Queue, Retry
from forebay.source.worker import (
    Auth,
    CircuitBreaker,
    DeliveryRate,
    Destination,
    Handler,
    OAuth2,
    Worker,
    usual_burst,
)
from forebay.topology import Pace, RateLimit
from forebay_operator.desired.lanes import lanes_of, leaving_of
from forebay_operator.desired.platform import Platform
from forebay_operator.desired.settings_of_both import pairs, secret_file, storage

# What a worker does around its longest delivery before it ends: give back what waits, settle, close.
DRAIN_MARGIN_S = 10.0
WORKERS = 1  # worker processes of each queue, unless the manifest says


def worker_settings(source: WebhookSource, queue: str, platform: Platform) -> WorkerSettings:
    worker, own = source.spec.worker, _of_its_own(source, queue)
    leaving = leaving_of(source, queue)
    return WorkerSettings(
        source=source.key,
        queue=queue,
        lanes=(*lanes_of(source, queue), *leaving),
        leaving=leaving,
        ordered=worker.ordering is not None,
        hold=worker.ordering is not None and worker.ordering.after_dead_letter == "Hold",
        destination=_destination(worker.destination, platform, source.path) if worker.destination else None,
        handler=_handler(worker.handler) if worker.handler else None,
        concurrency=concurrency(source, queue),
        rate_limit=_rate_limit(own.rate_limit or worker.rate_limit),
        own_rate_limit=own.rate_limit is not None,
        max_in_flight=own.max_in_flight or worker.max_in_flight,
        own_max_in_flight=own.max_in_flight is not None,
        retry=_retry(source.spec.retry),
        circuit_breaker=_breaker(worker.circuit_breaker) if worker.circuit_breaker else None,
        storage=storage(source.spec.storage),
        drain_s=drain_s(source),
        suspended=source.spec.suspend in ("Workers", "All"),
    )


def drain_s(source: WebhookSource) -> float:
    """How long a worker may take to end: its longest delivery, and what is done around it."""
    delivery = source.spec.worker.destination or source.spec.worker.handler
    assert delivery is not None, "the model sees to it"
    return delivery.timeout + DRAIN_MARGIN_S


def concurrency(source: WebhookSource, queue: str) -> int:
    """Deliveries at once of one worker of the queue."""
    return _of_its_own(source, queue).concurrency or source.spec.worker.concurrency


def replicas(source: WebhookSource, queue: str) -> int:
    """Workers of the queue, if no autoscaler says."""
    own, shared = _of_its_own(source, queue).replicas, source.spec.worker.replicas
    given = shared if own is None else own
    return WORKERS if given is None else given


def paces(source: WebhookSource) -> tuple[Pace, ...]:
    """What bounds the source's deliveries: what all workers share, and what queues have for themselves."""
    queues = (_pace(queue, queue.name) for queue in source.spec.queues)
    return tuple(pace for pace in (_pace(source.spec.worker), *queues) if pace.rate_limit or pace.max_in_flight)


def _pace(who: Worker | Queue, queue: str | None = None) -> Pace:
    return Pace(queue=queue, rate_limit=_rate_limit(who.rate_limit), max_in_flight=who.max_in_flight)


def _of_its_own(source: WebhookSource, queue: str) -> Queue:
    """What the manifest says of the queue alone."""
    found = (one for one in source.spec.queues if one.name == queue)
    return next(found, Queue.model_construct(name=queue))


def _rate_limit(limit: DeliveryRate | None) -> RateLimit | None:
    if limit is None:
        return None
    return RateLimit(requests=limit.requests, per_s=limit.period, burst=limit.burst or usual_burst(limit.requests))


def _destination(destination: Destination, platform: Platform, source_path: str) -> settings.Destination:
    tls = destination.tls
    own = tls.client_cert_secret_ref if tls else None
    usual_connect_s = settings.Destination(url=destination.url).connect_timeout_s
    return settings.Destination(
        url=destination.url,
        source_path=source_path if "{path}" in destination.url else "",
        method=destination.method,
        connect_timeout_s=destination.connect_timeout or min(usual_connect_s, destination.timeout),
        timeout_s=destination.timeout,
        headers=pairs(destination.headers),
        auth=_auth(destination.auth) if destination.auth else settings.Auth(),
        oauth2=_oauth2(destination.auth.oauth2) if destination.auth and destination.auth.oauth2 else None,
        signing_files=tuple(map(secret_file, destination.signing.secret_refs)) if destination.signing else (),
        ca_file=secret_file(tls.ca_secret_ref) if tls and tls.ca_secret_ref else None,
        client_cert_file=secret_file(own.certificate) if own else None,
        client_key_file=secret_file(own.key) if own else None,
        insecure_skip_verify=bool(tls and tls.insecure_skip_verify),
        allow_private=platform.allow_private,
        allow_loopback=platform.allow_loopback,
    )


def _oauth2(oauth2: OAuth2) -> settings.OAuth2:
    return settings.OAuth2(
        token_url=oauth2.token_url,
        secret_file=secret_file(oauth2.client_secret_ref),
        client_id=oauth2.client_id,
        client_id_file=secret_file(oauth2.client_id_secret_ref) if oauth2.client_id_secret_ref else None,
        login=oauth2.client_authentication,
        scopes=oauth2.scopes,
        audience=oauth2.audience,
        ca_file=secret_file(oauth2.ca_secret_ref) if oauth2.ca_secret_ref else None,
    )


def _auth(auth: Auth) -> settings.Auth:
    if auth.bearer:
        return settings.Auth(kind="Bearer", file=secret_file(auth.bearer.secret_ref))
    if auth.api_key:
        return settings.Auth(kind="APIKey", file=secret_file(auth.api_key.secret_ref), header=auth.api_key.header)
    if auth.basic is None:
        return settings.Auth()  # a token, see _oauth2
    user = auth.basic.username_secret_ref
    return settings.Auth(
        kind="Basic",
        file=secret_file(auth.basic.password_secret_ref),
        username=auth.basic.username,
        username_file=secret_file(user) if user else None,
    )


def _handler(handler: Handler) -> settings.Handler:
    return settings.Handler(target=handler.target, timeout_s=handler.timeout, threads=handler.threads or 0)


def _retry(retry: Retry) -> RetryPolicy:
    usual = RetryPolicy()
    max_delay = retry.max_delay or usual.max_delay_s
    return RetryPolicy(
        max_attempts=retry.max_attempts,
        max_age_s=round(retry.max_age),
        schedule_s=retry.schedule,
        initial_s=retry.initial_delay or min(usual.initial_s, max_delay),
        factor=retry.factor or usual.factor,
        max_delay_s=max_delay,
        jitter=retry.jitter != "None",
        retry_after_max_s=retry.retry_after_max,
        statuses=retry.statuses,
    )


def _breaker(breaker: CircuitBreaker) -> settings.CircuitBreaker:
    return settings.CircuitBreaker(
        failure_percent=breaker.failure_percent,
        minimum=breaker.minimum,
        window_s=breaker.window,
        open_for_s=breaker.open_for,
        probes=breaker.probes,
    )
