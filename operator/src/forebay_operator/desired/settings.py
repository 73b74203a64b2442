"""From a source to the settings of its processes: what forebay.settings reads, with every default resolved."""

import hashlib
from dataclasses import replace
from typing import Literal, cast

from forebay import settings
from forebay.settings import IngestSettings, RetryPolicy, WorkerSettings
from forebay.signatures.presets import presets
from forebay.source import WebhookSource
from forebay.source.deduplication import Deduplication
from forebay.source.guarding import PROVIDER
from forebay.source.ingest import Header, Ingest
from forebay.source.outage import OutageBuffer
from forebay.source.queues import Match, Queue, Retry
from forebay.source.references import SecretKeyRef
from forebay.source.storage import Storage
from forebay.source.verification import Hmac, Jwt, Verification
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
from forebay.topology import DEFAULT_QUEUE, Pace, RateLimit
from forebay_operator.desired.lanes import lanes_of, leaving_of
from forebay_operator.desired.metadata import Object, metadata, settings_name
from forebay_operator.desired.platform import Platform

# What a worker does around its longest delivery before it ends: give back what waits, settle, close.
DRAIN_MARGIN_S = 10.0
INGESTS = 2  # endpoint processes, unless the manifest says
WORKERS = 1  # worker processes of each queue, likewise


def objects(source: WebhookSource, platform: Platform) -> list[Object]:
    """The ConfigMap with the settings of all processes of the source. There is no secret in it."""
    data = {"ingest.json": settings.dump(ingest_settings(source, platform))}
    for queue in queue_names(source):
        data[worker_file(queue)] = settings.dump(worker_settings(source, queue, platform))
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(source, settings_name(source)), "data": data}
    ]


def worker_file(queue: str) -> str:
    """The key of a queue's settings in the ConfigMap."""
    return f"worker-{queue}.json"


def fingerprint(text: str) -> str:
    """Of settings, for the pod template: what pods read once needs other pods when it changes."""
    return hashlib.sha256(text.encode()).hexdigest()


def secret_file(ref: SecretKeyRef) -> str:
    """Where a pod finds a Secret's value, relative to FOREBAY_ROOT."""
    return f"secrets/{ref.name}/{ref.key}"


def queue_names(source: WebhookSource) -> tuple[str, ...]:
    """The source's queues; `default` is always there, and last."""
    named = (queue.name for queue in source.spec.queues if queue.name != DEFAULT_QUEUE)
    return (*dict.fromkeys(named), DEFAULT_QUEUE)


# ---------------------------------------------------------------------------------------------------------- ingest


def ingest_settings(source: WebhookSource, platform: Platform) -> IngestSettings:
    ingest = source.spec.ingest
    return IngestSettings(
        source=source.key,
        routes=_routes(source.spec.queues),
        verification=_verification(ingest.verification, platform),
        path=source.path,
        methods=ingest.methods,
        content_types=ingest.content_types,
        lanes=_lanes(source.spec.worker),
        handshake=_handshake(ingest),
        guarding=_guarding(ingest),
        rate_limit=_shared_limit(ingest),
        deduplication=_deduplication(ingest.deduplication) if ingest.deduplication else None,
        url_token_files=tuple(map(secret_file, ingest.url_token.secret_refs)) if ingest.url_token else (),
        public_url=ingest.public_url,
        answer=settings.Answer(
            status=ingest.response.status,
            body=ingest.response.body,
            content_type=ingest.response.content_type,
            headers=_pairs(ingest.response.headers),
        ),
        limits=_limits(ingest),
        storage=_storage(source.spec.storage),
        outage_buffer=_outage_buffer(ingest.outage_buffer) if ingest.outage_buffer else None,
        suspended=source.spec.suspend in ("Ingest", "All"),
    )


def _handshake(ingest: Ingest) -> settings.Handshake:
    handshake, token = ingest.handshake, ingest.handshake.verify_token_secret_ref
    return settings.Handshake(
        answered=handshake.mode == "Answer",
        token_file=secret_file(token) if token else None,
        confirms=handshake.confirm,
        delivers_secret=handshake.deliver_secret,
        captures_secret=ingest.verification.capture,
    )


def endpoints(ingest: Ingest) -> int:
    """How many endpoint processes there are at least, but for a source that has none."""
    if ingest.autoscaling is not None:
        return ingest.autoscaling.min_replicas
    return INGESTS if ingest.replicas is None else max(1, ingest.replicas)


def _shared_limit(ingest: Ingest) -> RateLimit | None:
    """One process's part of the source's rate: the gateway spreads requests evenly over all."""
    return ingest.rate_limit.bucket(endpoints(ingest)) if ingest.rate_limit else None


def _guarding(ingest: Ingest) -> settings.Guarding | None:
    limit = ingest.rate_limit.per_client if ingest.rate_limit else None
    guarding = settings.Guarding(
        trusted_proxies=ingest.trusted_proxies,
        allowed_clients=_allowed(ingest),
        client_limit=limit.bucket() if limit else None,
    )
    return None if guarding == settings.Guarding() else guarding


def _allowed(ingest: Ingest) -> tuple[str, ...]:
    """The networks that may send, those of the provider among them where they are asked for."""
    senders = presets()[ingest.verification.provider].senders
    published = senders.networks if senders else ()
    assert published or PROVIDER not in ingest.allowed_clients, (
        "the model sees to it: an empty list would let everybody in"
    )
    networks = (published if one == PROVIDER else (one,) for one in ingest.allowed_clients)
    return tuple(dict.fromkeys(network for some in networks for network in some))


def _deduplication(wanted: Deduplication) -> settings.Deduplication:
    return settings.Deduplication(
        key=wanted.key,
        header=wanted.header,
        json_path=wanted.json_path,
        window_s=wanted.window,
        max_ids=wanted.max_ids,
    )


def _outage_buffer(wanted: OutageBuffer) -> settings.OutageBuffer:
    return settings.OutageBuffer(max_bytes=wanted.max_bytes, max_age_s=wanted.max_age)


def _routes(queues: tuple[Queue, ...]) -> tuple[settings.Route, ...]:
    rules = [settings.Route(queue=q.name, match=_match(q.match)) for q in queues if q.match]
    return (*rules, settings.Route(queue=DEFAULT_QUEUE))


def _match(match: Match) -> settings.Match:
    return settings.Match(
        event_types=match.event_types,
        header=match.header.name if match.header else None,
        header_values=match.header.values if match.header else (),
        json_path=match.json_path.path if match.json_path else None,
        json_values=match.json_path.values if match.json_path else (),
        path_suffix=match.path_suffix,
    )


def _lanes(worker: Worker) -> settings.Lanes | None:
    if worker.ordering:
        ordering = worker.ordering
        return settings.Lanes(header=ordering.header, json_path=ordering.json_path, ordered=ordering.lanes)
    if worker.fairness:
        return settings.Lanes(header=worker.fairness.header, json_path=worker.fairness.json_path)
    return None


def _verification(verification: Verification, platform: Platform) -> settings.Verification:
    shared = settings.Verification(
        provider=verification.provider,
        secret_files=tuple(secret_file(ref) for ref in verification.secret_refs),
        tolerance_s=None if verification.tolerance is None else round(verification.tolerance),
        header=verification.header,
        jwt=_jwt(verification.jwt) if verification.jwt else None,
    )
    if fetches_keys(verification):
        return replace(shared, allow_private=platform.allow_private, allow_loopback=platform.allow_loopback)
    return _with_hmac(shared, verification.hmac) if verification.hmac else shared


def fetches_keys(verification: Verification) -> bool:
    """Whether the endpoint has to reach the provider to verify what it sends."""
    return presets()[verification.provider].scheme.algorithm.fetched


def _jwt(jwt: Jwt) -> settings.Jwt:
    return settings.Jwt(
        audience=jwt.audience,
        keys_url=jwt.keys_url,
        issuers=(jwt.issuer,) if jwt.issuer else (),
        claims=tuple((claim.name, claim.value) for claim in jwt.claims),
    )


def _with_hmac(shared: settings.Verification, hmac: Hmac) -> settings.Verification:
    return replace(
        shared,
        header=hmac.header,
        algorithm=cast('Literal["sha1", "sha256", "sha512"]', hmac.algorithm.lower()),
        encoding=cast('Literal["hex", "base64"]', hmac.encoding.lower()),
        prefix=hmac.prefix,
        template=hmac.template,
        timestamp_header=hmac.timestamp_header,
        key_encoding=cast('Literal["none", "base64", "hex"]', hmac.key_encoding.lower()),
        delivery_id_header=hmac.delivery_id_header,
        event_type_header=hmac.event_type_header,
        event_type_json=hmac.event_type_json_path,
    )


def _limits(ingest: Ingest) -> settings.IngestLimits:
    limits = ingest.limits
    return settings.IngestLimits(
        body_bytes=ingest.max_body_bytes,
        header_bytes=limits.header_bytes,
        header_count=limits.header_count,
        connections=limits.connections,
        in_flight=limits.in_flight,
        in_flight_bytes=limits.in_flight_bytes,
        reading_bytes=limits.reading_bytes,
        first_byte_s=limits.first_byte_timeout,
        headers_s=limits.headers_timeout,
        body_s=limits.body_timeout,
        keep_alive_s=limits.keep_alive_timeout,
        confirm_s=limits.confirm_timeout,
        retry_after_s=round(limits.retry_after),
    )


def _storage(storage: Storage | None) -> settings.Storage | None:
    if storage is None:
        return None
    return settings.Storage(
        provider=storage.provider,
        bucket=storage.bucket,
        endpoint=storage.endpoint,
        # Object storage that is not Amazon's has no regions, and is asked by this one.
        region=storage.region or ("us-east-1" if storage.provider == "S3" else None),
        account=storage.account,
        credentials_file=secret_file(storage.credentials_secret_ref) if storage.credentials_secret_ref else None,
        threshold_bytes=storage.threshold,
        put_s=storage.put_timeout,
        spool_bytes=storage.spool,
        delete_delivered=storage.after_delivery == "Delete",
    )


# ---------------------------------------------------------------------------------------------------------- worker


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
        storage=_storage(source.spec.storage),
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
        headers=_pairs(destination.headers),
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


def _pairs(headers: tuple[Header, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((header.name, header.value) for header in headers)
