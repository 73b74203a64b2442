"""The part of a source that faces the destination: where webhooks are delivered to, and how fast."""

from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field
from typing_extensions import override

from forebay.placeholders import misplaced
from forebay.source.cluster import SCALING_RULES, PodTemplate, Resources, WorkerAutoscaling, scaling_faults
from forebay.source.guarding import PERIODS
from forebay.source.ingest import Header
from forebay.source.model import Part, Problem, cel
from forebay.source.references import CertificateRef, SecretKeyRef, one_of
from forebay.source.values import HeaderName, JsonPath, Line, Shape, Span, shown
from forebay.topology import MAX_LANES

Url = Annotated[str, Shape(r"https?://[!-~]+", "a URL that begins with http:// or https://", 2048)]
Target = Annotated[
    str,
    Shape(
        r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*",
        "module:function, such as handler:handle", 256,
    ),
]  # fmt: skip
Image = Annotated[str, Shape(r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]*", "an image such as registry.example/handler:1.0", 512)]
# RFC 6749, section 3.3
Scope = Annotated[str, Shape(r"[!#-\[\]-~]+", "a scope such as webhooks:write, without spaces", 256)]
# RabbitMQ closes a channel whose delivery stays unacknowledged for 30 minutes.
Timeout = Annotated[float, Span("100ms", "20m")]

# What the worker writes itself on each delivery, and what decides where a request ends.
_OWN_HEADERS = frozenset(
    (
        "authorization", "connection", "content-length", "expect", "idempotency-key", "keep-alive", "te", "traceparent",
        "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip
_SIGNED_HEADERS = frozenset(("webhook-id", "webhook-timestamp", "webhook-signature"))


class Bearer(Part):
    """A bearer token."""

    secret_ref: SecretKeyRef = Field(description="The token.")


class Basic(Part):
    """User name and password."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.username) != has(self.usernameSecretRef)", "give exactly one of username and usernameSecretRef")
        )
    )

    username: Line | None = Field(default=None, description="User name, if it is no secret.")
    username_secret_ref: SecretKeyRef | None = Field(default=None, description="User name.")
    password_secret_ref: SecretKeyRef = Field(description="Password.")

    @override
    def faults(self) -> Iterator[Problem]:
        yield from one_of(self, "username", "usernameSecretRef")


class ApiKey(Part):
    """A key in a header."""

    header: HeaderName = Field(default="X-API-Key", description="Name of the header.")
    secret_ref: SecretKeyRef = Field(description="The key.")


class OAuth2(Part):
    """An access token by OAuth 2.0 client credentials (RFC 6749, section 4.4)."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.clientId) != has(self.clientIdSecretRef)", "give exactly one of clientId and clientIdSecretRef")
        )
    )

    token_url: Url = Field(description="Where tokens are issued.")
    client_id: Line | None = Field(default=None, description="Client id, if it is no secret.")
    client_id_secret_ref: SecretKeyRef | None = Field(default=None, description="Client id.")
    client_secret_ref: SecretKeyRef = Field(description="Client secret.")
    client_authentication: Literal["Basic", "Body"] = Field(
        default="Basic", description="Whether id and secret go into the Authorization header or into the body."
    )
    scopes: tuple[Scope, ...] = Field(default=(), max_length=32, description="What the token is to allow.")
    audience: Line | None = Field(default=None, description="Whom the token is for, where the issuer asks for it.")
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None, description="CA certificates to trust for tokenUrl, in PEM, instead of the system's."
    )

    @override
    def faults(self) -> Iterator[Problem]:
        yield from _url_faults(self.token_url, "tokenUrl")
        yield from one_of(self, "clientId", "clientIdSecretRef")


class Auth(Part):
    """How the worker proves to the destination who it is."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "[has(self.bearer), has(self.basic), has(self.apiKey), has(self.oauth2)].exists_one(x, x)",
                "give one of bearer, basic, apiKey, oauth2",
            )
        )
    )

    bearer: Bearer | None = Field(default=None, description="By a bearer token.")
    basic: Basic | None = Field(default=None, description="By user name and password.")
    api_key: ApiKey | None = Field(default=None, description="By a key in a header.")
    oauth2: OAuth2 | None = Field(default=None, description="By a token that the worker fetches and renews.")

    @override
    def faults(self) -> Iterator[Problem]:
        yield from one_of(self, "bearer", "basic", "apiKey", "oauth2")


class Tls(Part):
    """How the destination proves who it is, and the worker if it is asked."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!(has(self.caSecretRef) && self.insecureSkipVerify)",
                "give caSecretRef or insecureSkipVerify, not both",
            )
        )
    )

    ca_secret_ref: SecretKeyRef | None = Field(
        default=None, description="CA certificates to trust, in PEM, instead of the system's."
    )
    client_cert_secret_ref: CertificateRef | None = Field(
        default=None, description="The worker's own certificate, for a destination that asks for one (mutual TLS)."
    )
    insecure_skip_verify: bool = Field(default=False, description="Trust any certificate. For tests only.")

    @override
    def faults(self) -> Iterator[Problem]:
        if self.ca_secret_ref and self.insecure_skip_verify:
            message = "give caSecretRef or insecureSkipVerify, not both"
            yield Problem(("insecureSkipVerify",), message, "leave it out: the CA says whom to trust")


class Signing(Part):
    """A signature of our own on each delivery."""

    provider: Literal["StandardWebhooks"] = Field(default="StandardWebhooks", description="How it is signed.")
    secret_refs: tuple[SecretKeyRef, ...] = Field(
        min_length=1,
        max_length=8,
        description="The signing secrets, whsec_ and base64. Each signs, so that the destination can change to a new one.",
    )


class Destination(Part):
    """An HTTP endpoint that webhooks are delivered to."""

    model_config = ConfigDict(
        json_schema_extra=cel(("!(has(self.tls) && self.url.startsWith('http://'))", "tls needs a URL of https"))
    )

    url: Url = Field(
        description="Where to. Its path may hold {path} (what the webhook's path has after the source's own), {eventType},"
        " {id} and {header.NAME}, its query these and {query}."
    )
    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] | None = Field(
        default=None, description="Method of the request. Default: the one the webhook came with."
    )
    connect_timeout: Timeout | None = Field(
        default=None, description="How long connecting may take. Default: 5s, or timeout if that is shorter."
    )
    timeout: Timeout = Field(default=30.0, description="How long one attempt may take, connecting included.")
    headers: tuple[Header, ...] = Field(default=(), max_length=32, description="Headers that are set on each delivery.")
    auth: Auth | None = Field(default=None, description="How the worker proves who it is.")
    tls: Tls | None = Field(
        default=None, description="How the destination proves who it is, and the worker if it is asked."
    )
    signing: Signing | None = Field(default=None, description="A signature of our own on each delivery.")

    @override
    def faults(self) -> Iterator[Problem]:
        yield from _url_faults(self.url)
        yield from (Problem(("url",), message, remedy) for message, remedy in misplaced(self.url))
        if self.connect_timeout is not None and self.connect_timeout > self.timeout:
            yield Problem(("connectTimeout",), "longer than timeout, which includes it", "lower it, or raise timeout")
        if self.tls and self.url.startswith("http://"):
            yield Problem(("tls",), "the URL is plain http", "write https:// in url, or leave tls out")
        own = _OWN_HEADERS | _SIGNED_HEADERS if self.signing else _OWN_HEADERS
        for index, header in enumerate(self.headers):
            name = header.name.lower()
            if name in own or name.startswith("x-forebay-"):
                remedy = "use auth, so that no secret stands here" if name == "authorization" else "leave it out"
                yield Problem(("headers", index, "name"), f"{header.name} is written by the worker itself", remedy)


class Handler(Part):
    """A Python function that webhooks are delivered to, run by the worker itself."""

    image: Image = Field(description="Image with the function's code, built on Forebay's worker image.")
    target: Target = Field(description="The function, as module:function.")
    timeout: Timeout = Field(default=30.0, description="How long one attempt may take.")
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Threads for a function that is not async. Default: as many as concurrency.",
    )


class Key(Part):
    """Where a webhook says whose it is: a shop, an account, an order."""

    model_config = ConfigDict(
        json_schema_extra=cel(("has(self.header) != has(self.jsonPath)", "give exactly one of header and jsonPath"))
    )

    header: HeaderName | None = Field(default=None, description="The key is this header.")
    json_path: JsonPath | None = Field(
        default=None, description="The key is this field of the JSON body: a text or a whole number."
    )

    @override
    def faults(self) -> Iterator[Problem]:
        yield from one_of(self, "header", "jsonPath")


class Ordering(Key):
    """Webhooks with the same key are delivered in the order in which they were accepted, one at a time."""

    lanes: int = Field(
        default=8,
        ge=1,
        le=MAX_LANES,
        description="Queues over which the keys are spread. One worker at a time consumes each.",
    )
    after_dead_letter: Literal["Continue", "Hold"] = Field(
        default="Continue",
        description="Continue: a webhook that is given up becomes a dead letter, and the next of its key is delivered. "
        "Hold: it keeps its place, is tried again every minute, and its key waits.",
    )


# Attempts a second. What a destination bears beyond that is no limit that a shared count could hold.
FASTEST = 1000


class DeliveryRate(Part):
    """A rate that no replica count and no restart exceeds."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                f"self.requests <= {FASTEST} * (self.per == 'Second' ? 1 : self.per == 'Minute' ? 60 : 3600)",
                f"more than {FASTEST} a second: leave rateLimit out, concurrency bounds the pace",
            ),
            ("!has(self.burst) || self.burst <= self.requests", "burst is more than requests: that is no limit"),
        )
    )

    requests: int = Field(ge=1, le=FASTEST * 3600, description="So many …")
    per: Literal["Second", "Minute", "Hour"] = Field(default="Second", description="… in this time.")
    burst: int | None = Field(
        default=None,
        ge=1,
        le=FASTEST * 3600,
        description="So many at once after a pause. Default: a twentieth of requests, at least 1.",
    )

    @property
    def period(self) -> float:
        """Seconds."""
        return PERIODS[self.per]

    @override
    def faults(self) -> Iterator[Problem]:
        if self.requests > FASTEST * self.period:
            remedy = (
                f"write at most {round(FASTEST * self.period)}, or leave rateLimit out: concurrency bounds the pace"
            )
            yield Problem(("requests",), f"more than {FASTEST} a second", remedy)
        if self.burst is not None and self.burst > self.requests:
            remedy = f"write at most {self.requests}, or leave it out: {usual_burst(self.requests)} is the default"
            yield Problem(("burst",), f"{self.burst} is more than requests: that is no limit", remedy)


def usual_burst(requests: int) -> int:
    """So few that no period sees more than 5 % beyond its requests."""
    return max(1, requests // 20)


class CircuitBreaker(Part):
    """Stops deliveries while most of them fail. Webhooks wait in their queue then, and no attempt is spent."""

    failure_percent: int = Field(
        default=50,
        ge=1,
        le=100,
        description="Share of failed attempts that opens it. An answer that is never tried again is no failure.",
    )
    window: Annotated[float, Span("1s", "1h")] = Field(
        default=30.0, description="The share is that of the attempts of so long."
    )
    minimum: int = Field(default=20, ge=1, le=10_000, description="Attempts within the window before it may open.")
    open_for: Annotated[float, Span("1s", "1h")] = Field(
        default=30.0, description="How long nothing is tried before one webhook is."
    )
    probes: int = Field(
        default=3, ge=1, le=100, description="Webhooks that have to succeed, one after the other, to close it again."
    )


class Worker(Part):
    """The processes that deliver."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.destination) != has(self.handler)", "give exactly one of destination and handler"),
            (
                "!(has(self.ordering) && has(self.fairness))",
                "ordering keeps a key from flooding the others: leave fairness out",
            ),
            *SCALING_RULES,
        )
    )

    destination: Destination | None = Field(
        default=None, description="An HTTP endpoint that webhooks are delivered to."
    )
    handler: Handler | None = Field(default=None, description="A Python function that webhooks are delivered to.")
    concurrency: int = Field(default=10, ge=1, le=1000, description="Deliveries at once of one worker process.")
    replicas: int | None = Field(default=None, ge=0, le=100, description="Worker processes of each queue. Default: 1.")
    rate_limit: DeliveryRate | None = Field(
        default=None, description="Attempts to deliver in a time, all processes of all queues together."
    )
    ordering: Ordering | None = Field(
        default=None, description="Webhooks with the same key in their order, one at a time."
    )
    fairness: Key | None = Field(
        default=None, description="A key that sends much more than the others does not make them wait."
    )
    max_in_flight: int | None = Field(
        default=None, ge=1, le=10_000, description="Deliveries at once, all processes of all queues together."
    )
    circuit_breaker: CircuitBreaker | None = Field(
        default=None, description="Stops deliveries while most of them fail; {} for one with the defaults."
    )
    autoscaling: WorkerAutoscaling | None = Field(
        default=None, description="Worker processes by load, instead of replicas."
    )
    resources: Resources | None = Field(default=None, description="CPU and memory of a worker process.")
    pod_template: PodTemplate | None = Field(default=None, description="What is added to the workers' pods.")

    @override
    def faults(self) -> Iterator[Problem]:
        yield from one_of(self, "destination", "handler")
        if self.ordering and self.fairness:
            message = (
                "with ordering a key has one delivery at a time already, and can not take the workers from the others"
            )
            yield Problem(("fairness",), message, "leave fairness out")
        yield from scaling_faults(self.replicas, self.autoscaling, self.resources)


def _url_faults(url: str, name: str = "url") -> Iterator[Problem]:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        yield Problem((name,), f"{shown(url)} is not a URL", "write http://HOST:PORT/PATH")
        return
    if not usable:
        yield Problem((name,), f"{shown(url)} names no host", "write http://HOST:PORT/PATH")
    if parts.username is not None or parts.password is not None:
        yield Problem((name,), "a URL with a password is read by everybody", "use auth with a Secret")
    if parts.fragment:
        yield Problem((name,), "what follows # is never sent", "leave it out")
