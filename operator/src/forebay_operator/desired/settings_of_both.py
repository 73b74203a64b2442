"""What is told to endpoints and workers alike: where secrets are, the storage of large bodies, headers."""

from forebay import settings
from forebay.source.ingest import Header
from forebay.source.references import SecretKeyRef
from forebay.source.storage import Storage


def secret_file(ref: SecretKeyRef) -> str:
    """Where a pod finds a Secret's value, relative to FOREBAY_ROOT."""
    return f"secrets/{ref.name}/{ref.key}"


def storage(wanted: Storage | None) -> settings.Storage | None:
    """Where large bodies are, if they are kept anywhere but in the queue."""
    if wanted is None:
        return None
    return settings.Storage(
        provider=wanted.provider,
        bucket=wanted.bucket,
        endpoint=wanted.endpoint,
        # Object storage that is not Amazon's has no regions, and is asked by this one.
        region=wanted.region or ("us-east-1" if wanted.provider == "S3" else None),
        account=wanted.account,
        credentials_file=secret_file(wanted.credentials_secret_ref) if wanted.credentials_secret_ref else None,
        threshold_bytes=wanted.threshold,
        put_s=wanted.put_timeout,
        spool_bytes=wanted.spool,
        delete_delivered=wanted.after_delivery == "Delete",
    )


def pairs(headers: tuple[Header, ...]) -> tuple[tuple[str, str], ...]:
    """Headers as names and values."""
    return tuple((header.name, header.value) for header in headers)
