"""The claim check of a source: object storage for bodies that are too large for a queue."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from typing_extensions import override

from forebay.settings import WHOLE_BYTES
from forebay.signatures.presets import presets
from forebay.source.ingest import Ingest
from forebay.source.model import Part, Problem, cel
from forebay.source.queues import Queue
from forebay.source.references import SecretKeyRef
from forebay.source.values import Bytes, Line, Shape, Span, quantity
from forebay.source.worker import Worker

StorageUrl = Annotated[
    str, Shape(r"https?://[A-Za-z0-9._:\[\]-]+(/[!-~]*)?", "a URL such as http://minio.storage.svc:9000", 256)
]
Bucket = Annotated[str, Shape(r"[A-Za-z0-9._/-]+", "a bucket's name, or an absolute folder", 256)]

_OF_ONE = {"region": "S3", "account": "Azure"}  # fields of one provider alone
_ELSEWHERE = ("endpoint", "credentialsSecretRef")  # fields of all but a folder


class Storage(Part):
    """Object storage for large bodies: there the body goes, and the queue carries a reference with its length and SHA-256."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("self.provider != 'File' || self.bucket.startsWith('/')", "bucket of provider File is an absolute folder"),
            ("self.provider == 'File' || !self.bucket.contains('/')", "bucket is a name without /"),
            *(
                (f"!has(self.{name}) || self.provider == '{of}'", f"{name} is of provider {of} alone")
                for name, of in _OF_ONE.items()
            ),
            *(
                (f"!has(self.{name}) || self.provider != 'File'", f"{name} means nothing to provider File")
                for name in _ELSEWHERE
            ),
            ("has(self.account) || self.provider != 'Azure'", "provider Azure needs account"),
        )
    )

    provider: Literal["S3", "GCS", "Azure", "File"] = Field(
        description="Kind of the object storage. S3 stands for all that speak its API. File is a folder that endpoint and"
        " workers share, such as a volume of podTemplate."
    )
    bucket: Bucket = Field(description="Name of the bucket or container; of File the folder.")
    endpoint: StorageUrl | None = Field(
        default=None, description="URL of the storage, if it is not the provider's own."
    )
    region: Line | None = Field(default=None, description="Region of the bucket; of S3. Default: us-east-1.")
    account: Line | None = Field(default=None, description="Name of the storage account; of Azure.")
    credentials_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Credentials: an AWS credentials file, a key of a Google service account in JSON, or an Azure account key or"
        " shared access signature. Default: the identity of the pods.",
    )
    threshold: Annotated[int, Bytes("1Ki", "16Mi")] = Field(
        default=256 * 1024, description="Larger bodies go to the storage, others through the queue."
    )
    put_timeout: Annotated[float, Span("1s", "10m")] = Field(
        default=30.0, description="How long storing one body may take; then the webhook is answered 503."
    )
    spool: Annotated[int, Bytes("16Mi", "1Ti")] = Field(
        default=2 * 1024**3,
        description="Disk of one endpoint process for bodies that are coming in or being stored; more get 503.",
    )
    after_delivery: Literal["Delete", "Keep"] = Field(
        default="Delete",
        description="What becomes of a body when it is delivered. Those of dead letters are always kept.",
    )

    @override
    def faults(self) -> Iterator[Problem]:
        folder = self.provider == "File"
        if folder and not self.bucket.startswith("/"):
            yield Problem(("bucket",), f"{self.bucket!r} is no absolute folder", "write a path such as /var/bodies")
        if not folder and "/" in self.bucket:
            yield Problem(("bucket",), f"{self.bucket!r} is no bucket's name", "write the name alone, without /")
        given: dict[str, object] = {"endpoint": self.endpoint, "region": self.region, "account": self.account}
        given["credentialsSecretRef"] = self.credentials_secret_ref
        for name, value in given.items():
            of = _OF_ONE.get(name, self.provider)
            if value is not None and (of != self.provider or (folder and name in _ELSEWHERE)):
                yield Problem((name,), f"means nothing to provider {self.provider}", "leave it out")
        if self.provider == "Azure" and self.account is None:
            yield Problem(("account",), "missing: provider Azure needs the storage account", "add account: NAME")


# Providers whose signature needs all of a body at hand, and those whose event type stands in the body.
_WHOLE = [name for name, known in presets().items() if not known.scheme.streams]
_TYPED = [name for name, known in presets().items() if known.scheme.event_place[0] == "json"]

_MOST = quantity(WHOLE_BYTES)
_SMALL = (
    f"!has(self.ingest.maxBodyBytes) || quantity(string(self.ingest.maxBodyBytes)).compareTo(quantity('{_MOST}')) <= 0"
)
_V = "self.ingest.verification"
_ASKS = (
    f"{_V}.provider in {_WHOLE!r} || (has({_V}.hmac) && has({_V}.hmac.template) && ({_V}.hmac.template.contains('{{form}}')"
    f" || {_V}.hmac.template.contains('{{json')))"
)
_BY_TYPE = f"({_V}.provider in {_TYPED!r} || (has({_V}.hmac) && has({_V}.hmac.eventTypeJsonPath)))"
_ROUTES = (
    "has(self.queues) && self.queues.exists(q, has(q.match) && (has(q.match.jsonPath)"
    f" || (has(q.match.eventTypes) && {_BY_TYPE})))"
)
STORAGE_RULES = (
    ("has(self.storage) || !has(self.ingest.outageBuffer)", "ingest.outageBuffer needs spec.storage"),
    (f"has(self.storage) || {_SMALL}", f"bodies above {_MOST} need spec.storage"),
    (
        f"({_SMALL}) || !({_ASKS})",
        f"the signature of this provider is over parts of the body: maxBodyBytes is at most {_MOST}",
    ),
    (f"({_SMALL}) || !({_ROUTES})", f"a queue matches by what stands in the body: maxBodyBytes is at most {_MOST}"),
    *(
        (
            f"({_SMALL}) || !has(self.worker.{name}) || !has(self.worker.{name}.jsonPath)",
            f"the key of worker.{name} stands in the body: maxBodyBytes is at most {_MOST}",
        )
        for name in ("ordering", "fairness")
    ),
)


def storage_faults(
    storage: Storage | None, ingest: Ingest, queues: tuple[Queue, ...], worker: Worker
) -> Iterator[Problem]:
    """What is wrong with the storage and the rest of a source together; the paths begin at the spec."""
    body, path = ingest.max_body_bytes, ("ingest", "maxBodyBytes")
    if storage is None and ingest.outage_buffer is not None:
        remedy = "add spec.storage: it says where webhooks wait for the broker"
        yield Problem(("ingest", "outageBuffer"), "there is nothing to keep webhooks in", remedy)
    if storage is not None and storage.threshold >= body and ingest.outage_buffer is None:
        message = f"not below maxBodyBytes, {quantity(body)}: nothing would ever be stored"
        yield Problem(("storage", "threshold"), message, "raise ingest.maxBodyBytes, or lower it")
    if storage is not None and storage.spool < body:
        yield Problem(("storage", "spool"), "less than one body of maxBodyBytes", "raise it above ingest.maxBodyBytes")
    if body <= WHOLE_BYTES:
        return
    if storage is None:
        yield Problem(path, f"bodies above {_MOST} do not fit into a queue", "add spec.storage, or lower it")
    if _verifies_whole(ingest):
        message = f"the signature of provider {ingest.verification.provider} needs all of a body in memory"
        yield Problem(path, message, f"lower it to {_MOST} or less")
    if _routes_by_body(ingest, queues):
        yield Problem(path, "a queue matches by what stands in the body", f"lower it to {_MOST} or less")
    for name, key in (("ordering", worker.ordering), ("fairness", worker.fairness)):
        if key is not None and key.json_path is not None:
            yield Problem(path, f"the key of worker.{name} stands in the body", f"lower it to {_MOST} or less")


def _verifies_whole(ingest: Ingest) -> bool:
    template = ingest.verification.hmac.template if ingest.verification.hmac else ""
    return ingest.verification.provider in _WHOLE or "{form}" in template or "{json" in template


def _routes_by_body(ingest: Ingest, queues: tuple[Queue, ...]) -> bool:
    hmac = ingest.verification.hmac
    typed = ingest.verification.provider in _TYPED or bool(hmac and hmac.event_type_json_path)
    matches = [queue.match for queue in queues if queue.match]
    return any(match.json_path or (typed and match.event_types) for match in matches)
