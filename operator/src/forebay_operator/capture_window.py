"""How long the secret that a provider sends is captured: strangers find a URL, too, and the first to come would win. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from forebay.source import WebhookSource

# Annotation of a source: from then on its window counts anew.
FROM = "forebay.dev/capture-from"
DEFAULT_S = 86_400.0
_AHEAD_S = 300.0  # of our clock, at most; a time beyond it would hold the window open for as long as somebody likes


def closed(source: WebhookSource, metadata: Mapping[str, Any], now: float) -> str | None:
    """Since when nothing is captured any more, and how that is changed; None: a secret is taken."""
    begin = max(_times(metadata, now), default=now)
    end = begin + (source.spec.ingest.verification.capture_for or DEFAULT_S)
    if now < end:
        return None
    command = (
        f'kubectl annotate whs {source.name} -n {source.namespace} --overwrite {FROM}="$(date -u +%Y-%m-%dT%H:%M:%SZ)"'
    )
    return f"None is taken since {_shown(end)}, when captureFor was over; to have one taken again: {command}"


def _times(metadata: Mapping[str, Any], now: float) -> list[float]:
    written = (metadata.get("creationTimestamp"), (metadata.get("annotations") or {}).get(FROM))
    times = [_seconds(text) for text in written if text]
    return [at for at in times if at is not None and at <= now + _AHEAD_S]


def _seconds(text: str) -> float | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
