"""What a running part is told: resolved settings, read once from a file, frozen, complete or refused.

The operator (or `forebay dev`) writes them; a part reads `$FOREBAY_ROOT/config/<part>.json` and finds Secrets as files at
`$FOREBAY_ROOT/secrets/<secret>/<key>` (FOREBAY_ROOT: forebay.runtime). No secret ever stands in these settings, in the
environment or in an argument: only the path of its file does.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from forebay.errors import SpecError
from forebay.topology import BUSY, TIERS, RateLimit, lane, ordered_lanes
from forebay.typed import plain, read

KIB, MIB = 1024, 1024 * 1024
# Bytes of the largest body that travels through a queue, and of the largest that is looked into as a whole.
WHOLE_BYTES = 16 * MIB

T = TypeVar("T")


# ---------------------------------------------------------------------------------------------------------- ingest


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Sends a webhook to a queue if everything that is set here is so. Nothing set matches everything."""

    event_types: tuple[str, ...] = ()  # any of them; a trailing * stands for any rest
    header: str | None = None  # this header is there …
    header_values: tuple[str, ...] = ()  # … with one of these values
    json_path: str | None = None  # dotted path into a JSON body ("data.object.livemode") …
    json_values: tuple[str, ...] = ()  # … leads to one of these (compared as text); none: it is there
    path_suffix: str | None = None  # what follows the source's path ends so


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One line of the routing table: the first that matches wins; the last one matches all."""

    queue: str  # short name ("default")
    match: Match = field(default_factory=Match)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """By which key the webhooks of a queue are spread over its lanes."""

    header: str | None = None  # the key is this header …
    json_path: str | None = None  # … or this field of the JSON body
    ordered: int = 0  # so many lanes, in each of which the order is kept; 0: one lane for keys that send too much


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwt:
    """What a JSON Web Token has to say, and where the keys are that sign it."""

    audience: str
    keys_url: str | None = None  # None: the preset's
    issuers: tuple[str, ...] = ()  # none: the preset's
    claims: tuple[tuple[str, str], ...] = ()  # further ones that have to be this text


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How a signature is checked: the scheme's parameters and the files that hold the secrets."""

    provider: str  # canonical name: GitHub, Stripe, StandardWebhooks, HMAC, None
    secret_files: tuple[str, ...] = ()  # relative to FOREBAY_ROOT; several during a rotation
    tolerance_s: int | None = None  # None: the preset's own
    header: str | None = None  # of providers HMAC and ApiKey
    # Parameters of provider HMAC; see forebay.signatures.
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    template: str = "{body}"
    timestamp_header: str | None = None
    key_encoding: Literal["none", "base64", "hex"] = "none"
    delivery_id_header: str | None = None
    event_type_header: str | None = None
    event_type_json: str | None = None
    # Of providers whose keys are fetched.
    jwt: Jwt | None = None
    allow_private: bool = True  # which addresses may be dialed for keys: the platform's decision; see Destination
    allow_loopback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """Whether the provider's handshakes are answered, and the verify token they show."""

    answered: bool = True
    token_file: str | None = None  # relative to FOREBAY_ROOT
    delivers_secret: bool = False  # in which the provider sends the secret it will sign with …
    captures_secret: bool = False  # … and whether that is handed over for a secret file that is not there yet
    confirms: bool = False  # subscriptions, by a visit to the URL that the provider sends


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where bodies go that are too large for a queue, and how endpoint and workers reach it."""

    provider: Literal["S3", "GCS", "Azure", "File"]
    bucket: str  # or container; of File an absolute folder that all processes share
    endpoint: str | None = None  # URL, if it is not the provider's own
    region: str | None = None  # of S3
    account: str | None = None  # of Azure
    credentials_file: str | None = None  # relative to FOREBAY_ROOT; None: the workload's identity
    threshold_bytes: int = 256 * KIB  # larger bodies go there
    put_s: float = 30.0  # for one body, from the complete request on; then 503
    puts: int = 2  # at once, of one endpoint; the next ones wait
    spool_bytes: int = 2048 * MIB  # on the endpoint's disk: bodies that are not stored yet, all together
    delete_delivered: bool = True  # when it is delivered a body goes


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageBuffer:
    """How much an endpoint keeps in the source's storage while the broker can not confirm."""

    max_bytes: int = 1024 * MIB  # of one endpoint; more get 503
    max_age_s: float = 86400.0  # of the oldest; then more get 503, and nothing is thrown away


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarding:
    """Whose requests an endpoint looks at, and how often."""

    trusted_proxies: tuple[str, ...] = ()  # networks whose X-Forwarded-For is believed
    allowed_clients: tuple[str, ...] = ()  # networks; none: all
    client_limit: RateLimit | None = None  # of each client, in one process


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplication:
    """Whether and how webhooks that came before are dropped."""

    key: Literal["auto", "header", "jsonPath", "bodyHash"] = "auto"
    header: str | None = None
    json_path: str | None = None
    window_s: float = 86400.0  # how long a webhook is remembered
    max_ids: int = 5_000_000  # that one process remembers


# Headers that frame an answer, that the endpoint adds to each, or that another setting says; x-forebay-… are ours too.
ENDPOINT_HEADERS = (
    "connection", "content-length", "content-type", "date", "keep-alive", "trailer", "transfer-encoding", "upgrade",
)  # fmt: skip


def is_endpoints(header: str) -> bool:
    """Whether the endpoint itself writes this header of an answer."""
    return header.lower() in ENDPOINT_HEADERS or header.lower().startswith("x-forebay-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an accepted webhook is answered."""

    status: int = 202
    body: str = ""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestLimits:
    """The bounds on what a stranger can make the endpoint hold. Times in seconds, sizes in bytes."""

    body_bytes: int = MIB
    header_bytes: int = 32 * KIB  # all headers together
    header_count: int = 100
    connections: int = 10_000
    in_flight: int = 2_000  # webhooks published and not yet confirmed
    in_flight_bytes: int = 64 * MIB
    reading_bytes: int = 128 * MIB  # bodies being received, all connections together
    first_byte_s: float = 10.0  # from the connection to the first byte of a request
    headers_s: float = 10.0  # from the first byte to the end of the headers
    body_s: float = 30.0  # from the end of the headers to the end of the body
    keep_alive_s: float = 75.0  # idle between two requests
    confirm_s: float = 5.0  # for the broker's confirm; then 503
    retry_after_s: int = 5  # what a 503 or 429 asks the provider to wait


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """Everything an ingest process is told, apart from its addresses (Runtime) and its secrets (files)."""

    source: str  # "namespace/name"; the broker's names follow from it (forebay.topology.Names)
    routes: tuple[Route, ...]
    verification: Verification
    path: str
    methods: tuple[str, ...] = ("POST",)
    content_types: tuple[str, ...] = ()  # none: all
    lanes: Lanes | None = None
    handshake: Handshake = field(default_factory=Handshake)
    guarding: Guarding | None = None  # None: nobody is told apart
    rate_limit: RateLimit | None = None  # of webhooks that verify, in one process
    deduplication: Deduplication | None = None  # None: all are delivered
    url_token_files: tuple[
        str, ...
    ] = ()  # secret parts of the path, any of which has to be there; none: the path is all
    public_url: str | None = None  # what the provider knows as the URL of `path`; for schemes that sign it
    broker_url_file: str = "secrets/broker/uri"
    answer: Answer = field(default_factory=Answer)
    limits: IngestLimits = field(default_factory=IngestLimits)
    storage: Storage | None = None
    outage_buffer: OutageBuffer | None = None  # in the storage; None: 503 while the broker can not confirm
    drain_s: float = 25.0  # from SIGTERM to the end, at most
    suspended: bool = False  # answer 503 to everything

    @property
    def queues(self) -> tuple[str, ...]:
        """Short names of the queues that webhooks are routed to."""
        return tuple(dict.fromkeys(route.queue for route in self.routes))

    @property
    def places(self) -> tuple[str, ...]:
        """Short names of all queues and lanes that webhooks are put into."""
        if self.lanes is None:
            return self.queues
        count = self.lanes.ordered
        names = (ordered_lanes(queue, count) if count else (lane(queue, BUSY),) for queue in self.queues)
        return (*self.queues, *(name for lanes in names for name in lanes))


# ---------------------------------------------------------------------------------------------------------- worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Credentials for the destination; the values are in files."""

    kind: Literal["None", "Bearer", "Basic", "APIKey"] = "None"
    file: str | None = None  # bearer token, password or API key
    username_file: str | None = None
    username: str | None = None
    header: str = "X-API-Key"  # of APIKey


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2:
    """Where the access token of a destination comes from; the client's secret is in a file."""

    token_url: str
    secret_file: str
    client_id: str | None = None
    client_id_file: str | None = None
    login: Literal["Basic", "Body"] = "Basic"  # how the token endpoint is told id and secret
    scopes: tuple[str, ...] = ()
    audience: str | None = None
    ca_file: str | None = None  # of the token endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """An HTTP destination."""

    url: str  # its path and query may hold placeholders (forebay.placeholders)
    source_path: str = ""  # of the source itself, for {path}: what a webhook's path has after it
    method: str | None = None  # None: the method the webhook came with
    connect_timeout_s: float = 5.0
    timeout_s: float = 30.0  # one attempt, connecting included
    headers: tuple[tuple[str, str], ...] = ()
    auth: Auth = field(default_factory=Auth)
    oauth2: OAuth2 | None = None  # in place of auth
    signing_files: tuple[str, ...] = ()  # secrets of Standard Webhooks, each of which signs; none: not signed
    ca_file: str | None = None
    client_cert_file: str | None = None  # of the worker itself, with client_key_file
    client_key_file: str | None = None
    insecure_skip_verify: bool = False
    # Which addresses may be dialed: the platform's decision, not the tenant's. Metadata addresses never may.
    allow_private: bool = True
    allow_loopback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A Python function as the destination."""

    target: str  # "module:function"
    timeout_s: float = 30.0
    threads: int = 0  # for a function that is not async; 0: as many as the concurrency


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When to try again and when to give up. Times in seconds."""

    max_attempts: int = 12
    max_age_s: int = 3 * 86400  # since the webhook was received
    schedule_s: tuple[float, ...] = ()  # explicit delays (the last one repeats); none: exponential
    initial_s: float = 5.0
    factor: float = 2.0
    max_delay_s: float = 3600.0
    jitter: bool = True  # full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)
    retry_after_max_s: float = 3600.0
    # Which answers are tried again, first match wins: "500-599" retries, "!404" never does.
    statuses: tuple[str, ...] = ("408", "425", "429", "500-599", "!400-499", "!300-399")


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreaker:
    """When deliveries stop because most of them fail, and when they go on. Times in seconds."""

    failure_percent: int = 50  # of the attempts of the last window_s …
    minimum: int = 20  # … if there were so many
    window_s: float = 30.0
    open_for_s: float = 30.0
    probes: int = 3  # successes in a row, one at a time, that close it


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Everything a worker process is told, apart from its addresses (Runtime) and its secrets (files)."""

    source: str  # "namespace/name"; the broker's names follow from it (forebay.topology.Names)
    queue: str  # short name
    lanes: tuple[str, ...] = ()  # short names of those of its lanes that are consumed beside it
    leaving: tuple[str, ...] = ()  # those of them that nothing is put into any more, and that go once they are empty
    ordered: bool = False  # whether webhooks of one key wait for each other
    hold: bool = False  # whether a webhook that would be a dead letter keeps its place, and its key waiting
    tiers: tuple[int, ...] = TIERS
    destination: Destination | None = None
    handler: Handler | None = None
    concurrency: int = 10
    rate_limit: RateLimit | None = None  # of all workers of the source together …
    own_rate_limit: bool = False  # … or of those of this queue
    max_in_flight: int | None = None  # of all workers of the source together …
    own_max_in_flight: bool = False  # … or of those of this queue
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    storage: Storage | None = None
    circuit_breaker: CircuitBreaker | None = None
    broker_url_file: str = "secrets/broker/uri"
    drain_s: float = 40.0  # from SIGTERM to the end, at most; longer than one delivery may take
    suspended: bool = False  # consume nothing


# ------------------------------------------------------------------------------------------------------ reading JSON


def load(kind: type[T], path: Path) -> T:
    """The settings in a JSON file. Raises SpecError that lists every fault in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"settings file {path} can not be read: {error}; FOREBAY_ROOT names the folder above it"
        ) from error
    return parse(kind, text, where=str(path))


def parse(kind: type[T], text: str, where: str = "settings") -> T:
    """The settings in a JSON text. Raises SpecError that lists every fault in it."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{where}: not JSON: {error}") from error
    faults: list[str] = []
    value = read(kind, data, "", faults)
    if faults:
        raise SpecError(f"{where}: " + "; ".join(faults))
    return cast("T", value)


def dump(settings: Any) -> str:
    """The JSON text that `load` reads back."""
    return json.dumps(plain(settings), indent=2, sort_keys=True) + "\n"
