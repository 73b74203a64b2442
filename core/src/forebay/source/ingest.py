"""The part of a source that faces the provider: the endpoint, its limits, and how it knows who is calling."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from typing_extensions import override

from forebay.settings import ENDPOINT_HEADERS, WHOLE_BYTES, is_endpoints
from forebay.source.cluster import SCALING_RULES, Expose, IngestAutoscaling, PodTemplate, Resources, scaling_faults
from forebay.source.deduplication import DEDUPLICATION_RULES, Deduplication, deduplication_faults
from forebay.source.guarding import (
    GUARD_RULES,
    AllowedClient,
    EndpointRate,
    Network,
    UrlToken,
    network_faults,
    sender_faults,
)
from forebay.source.model import Part, Problem, cel
from forebay.source.outage import OutageBuffer
from forebay.source.values import Bytes, HeaderName, HeaderValue, Shape, Span, Text
from forebay.source.verification import (
    HANDSHAKE_RULES,
    URL_RULES,
    Handshake,
    Verification,
    handshake_faults,
    url_faults,
)

_HEADERS = ", ".join(f"'{name}'" for name in ENDPOINT_HEADERS)
_NO_HEADER_OF_OURS = (
    "!has(self.headers) || self.headers.all(one, !one.name.lowerAscii().startsWith('x-forebay-')"
    f" && !(one.name.lowerAscii() in [{_HEADERS}]))"
)
MethodName = Literal["POST", "PUT", "PATCH", "DELETE", "GET"]
ContentType = Annotated[
    str, Shape(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*", "a media type such as application/json", 127)
]
AnsweredType = Annotated[
    str,
    Shape(
        r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( *;[ -~]*)?",
        "a content type of printable ASCII on one line, such as application/json; charset=utf-8", 256,
    ),
]  # fmt: skip
Path = Annotated[
    str,
    Shape(
        r"/([A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*/?)*",
        "a path that starts with /, such as /github",
        200,
    ),
]


PublicUrl = Annotated[
    str,
    Shape(
        r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?",
        "the URL without its query, such as https://hooks.example.com/twilio", 500,
    ),
]  # fmt: skip


class Header(Part):
    """One header."""

    name: HeaderName = Field(description="Name of the header.")
    value: HeaderValue = Field(description="Value of the header; never a secret.")


class Response(Part):
    """What an accepted webhook is answered."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("self.status != 204 || !has(self.body) || self.body == ''", "status 204 has no body"),
            (
                _NO_HEADER_OF_OURS,
                "leave out of headers what the endpoint writes itself; a content type goes into contentType",
            ),
        )
    )

    status: int = Field(
        default=202, ge=200, le=299, description="Status of the answer. Providers take any 2xx for success."
    )
    body: Text = Field(default="", description="Body of the answer, for providers that ask for a certain one.")
    content_type: AnsweredType = Field(default="text/plain; charset=utf-8", description="Content type of the body.")
    headers: tuple[Header, ...] = Field(default=(), max_length=16, description="Further headers of the answer.")

    @override
    def faults(self) -> Iterator[Problem]:
        if self.status == 204 and self.body:
            yield Problem(("body",), "status 204 has no body", "leave the body out, or answer 200")
        for index, header in enumerate(self.headers):
            if is_endpoints(header.name):
                remedy = "say it in contentType" if header.name.lower() == "content-type" else "leave it out"
                yield Problem(("headers", index, "name"), f"{header.name} is written by the endpoint itself", remedy)


class Limits(Part):
    """Bounds on what a stranger can make one endpoint process hold."""

    header_bytes: Annotated[int, Bytes("1Ki", "256Ki")] = Field(
        default=32 * 1024, description="All headers of a request."
    )
    header_count: int = Field(default=100, ge=8, le=1000, description="Headers of a request.")
    connections: int = Field(
        default=10_000,
        ge=1,
        le=100_000,
        description="Open connections; for more, the oldest that no webhook was accepted from makes room, else they get 503.",
    )
    in_flight: int = Field(
        default=2_000, ge=1, le=100_000, description="Webhooks published and not yet confirmed; more get 503."
    )
    in_flight_bytes: Annotated[int, Bytes("1Mi", "4Gi")] = Field(
        default=64 * 1024**2, description="Bodies published and not yet confirmed; more get 503."
    )
    reading_bytes: Annotated[int, Bytes("1Mi", "4Gi")] = Field(
        default=128 * 1024**2, description="Bodies being received, of all connections together; more get 503."
    )
    first_byte_timeout: Annotated[float, Span("100ms", "5m")] = Field(
        default=10.0, description="From the connection to the first byte of a request."
    )
    headers_timeout: Annotated[float, Span("100ms", "5m")] = Field(
        default=10.0, description="From the first byte of a request to the end of its headers."
    )
    body_timeout: Annotated[float, Span("100ms", "5m")] = Field(
        default=30.0, description="From the end of the headers to the end of the body."
    )
    keep_alive_timeout: Annotated[float, Span("1s", "1h")] = Field(
        default=75.0, description="Idle between two requests."
    )
    confirm_timeout: Annotated[float, Span("100ms", "1m")] = Field(
        default=5.0, description="How long the broker may take to confirm; then 503."
    )
    retry_after: Annotated[float, Span("1s", "1h")] = Field(
        default=5.0, description="What a 503 or 429 asks the provider to wait."
    )


class Ingest(Part):
    """The endpoint that takes the webhooks in."""

    model_config = ConfigDict(
        json_schema_extra=cel(*SCALING_RULES, *HANDSHAKE_RULES, *URL_RULES, *DEDUPLICATION_RULES, *GUARD_RULES)
    )

    path: Path | None = Field(
        default=None,
        description="Path of the endpoint; what follows it is kept. Default: /NAMESPACE/NAME of the source.",
    )
    url_token: UrlToken | None = Field(
        default=None,
        description="A secret segment behind the path, without which there is 404: PATH/TOKEN. Default: the path is all.",
    )
    public_url: PublicUrl | None = Field(
        default=None,
        description="URL of the endpoint as it is written at the provider, but without its token; needed for providers that"
        " sign it. It is never taken from a request.",
    )
    methods: tuple[MethodName, ...] = Field(
        default=("POST",), min_length=1, max_length=5, description="Methods that are taken."
    )
    content_types: tuple[ContentType, ...] = Field(
        default=(), max_length=16, description="Media types that are taken; others get 415. Empty: all."
    )
    max_body_bytes: Annotated[int, Bytes("1", "1Gi")] = Field(
        default=1024**2, description="Largest body; a larger one gets 413. Above 16Mi it takes spec.storage."
    )
    verification: Verification = Field(description="How a webhook proves that it comes from the provider.")
    handshake: Handshake = Field(
        default_factory=Handshake, description="What becomes of the provider's questions whether the endpoint is ours."
    )
    deduplication: Deduplication | None = Field(
        default=None, description="Drops webhooks that came before. Default: all are delivered."
    )
    outage_buffer: OutageBuffer | None = Field(
        default=None,
        description="Takes webhooks while the broker can not confirm them; needs spec.storage. Default: they get 503.",
    )
    response: Response = Field(default_factory=Response, description="What an accepted webhook is answered.")
    rate_limit: EndpointRate | None = Field(default=None, description="What exceeds this rate gets 429.")
    trusted_proxies: tuple[Network, ...] = Field(
        default=(),
        max_length=64,
        description="Networks of the proxies before the endpoint: their X-Forwarded-For says who the client is. Others' is ignored.",
    )
    allowed_clients: tuple[AllowedClient, ...] = Field(
        default=(),
        max_length=256,
        description="Networks that may send; others get 403. Provider: those that the provider publishes, as of the date in"
        " forebay providers NAME. Empty: all.",
    )
    limits: Limits = Field(
        default_factory=Limits, description="Bounds on what a stranger can make one endpoint process hold."
    )
    replicas: int | None = Field(default=None, ge=0, le=100, description="Endpoint processes. Default: 2.")
    autoscaling: IngestAutoscaling | None = Field(
        default=None, description="Endpoint processes by load, instead of replicas."
    )
    expose: Expose | None = Field(default=None, description="How the endpoint is reached from outside the cluster.")
    resources: Resources | None = Field(default=None, description="CPU and memory of an endpoint process.")
    pod_template: PodTemplate | None = Field(default=None, description="What is added to the endpoint's pods.")

    @override
    def faults(self) -> Iterator[Problem]:
        yield from scaling_faults(self.replicas, self.autoscaling, self.resources)
        yield from handshake_faults(self.handshake, self.verification)
        yield from url_faults(self.public_url, self.verification)
        yield from sender_faults(self.verification.provider, self.allowed_clients)
        yield from network_faults(self.trusted_proxies, self.allowed_clients, self.rate_limit, self.expose)
        yield from deduplication_faults(self.deduplication, self.verification)
        for name, held in (("inFlightBytes", self.limits.in_flight_bytes), ("readingBytes", self.limits.reading_bytes)):
            if held < min(self.max_body_bytes, WHOLE_BYTES):
                yield Problem(
                    ("limits", name), "less than one body of maxBodyBytes: no large webhook would ever be taken",
                    "raise it above maxBodyBytes, or lower maxBodyBytes",
                )  # fmt: skip
        if len(set(self.methods)) < len(self.methods):
            yield Problem(("methods",), "a method is named twice", "name each once")
