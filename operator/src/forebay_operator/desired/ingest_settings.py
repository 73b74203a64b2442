"""From a source to the settings of its endpoints."""

from dataclasses import replace
from typing import Literal, cast

from forebay import settings
from forebay.settings import IngestSettings
from forebay.signatures.presets import presets
from forebay.source import WebhookSource
from forebay.source.deduplication import Deduplication
from forebay.source.guarding import PROVIDER
from forebay.source.ingest import Ingest
from forebay.source.outage import OutageBuffer
from forebay.source.queues import Match, Queue
from forebay.source.verification import Hmac, Jwt, Verification
from forebay.source.worker import (
    Worker,
)
from forebay.topology import DEFAULT_QUEUE, RateLimit
from forebay_operator.desired.platform import Platform
from forebay_operator.desired.settings_of_both import pairs, secret_file, storage

INGESTS = 2  # endpoint processes, unless the manifest says


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
            headers=pairs(ingest.response.headers),
        ),
        limits=_limits(ingest),
        storage=storage(source.spec.storage),
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
