#!/usr/bin/env python3
"""Writes docs/reference/metrics.md from the metrics that the parts register; `make reference` runs it, a test compares.

python tools/metrics_reference.py
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.metrics_core import Metric

from forebay.runtime import Runtime
from forebay.settings import (
    CircuitBreaker,
    Deduplication,
    Destination,
    IngestSettings,
    Lanes,
    OAuth2,
    OutageBuffer,
    Route,
    Storage,
    Verification,
    WorkerSettings,
    dump,
)
from forebay.telemetry import Log
from forebay.topology import RateLimit
from forebay_ingest.app import Ingest
from forebay_worker.app import Worker

FILE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "metrics.md"

HEAD = """\
# Metrics

Every part serves these at `/metrics` on its admin port (9090 in a pod). The values of labels are bounded: names from the
manifest, and words of Forebay's own. This page is generated: `make reference`.
"""


def text(registries: dict[str, CollectorRegistry]) -> str:
    """The page for the parts' registries, by the part's title."""
    return HEAD + "".join(_section(title, registry) for title, registry in registries.items())


def _section(title: str, registry: CollectorRegistry) -> str:
    rows = "".join(_rows(registry))
    return f"\n## {title}\n| metric | type | labels | meaning |\n|---|---|---|---|\n{rows}"


def _rows(registry: CollectorRegistry) -> Iterator[str]:
    for family in sorted(registry.collect(), key=lambda family: family.name):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield f"| `{name}` | {family.type} | {', '.join(_labels(registry, family))} | {family.documentation} |\n"


def _labels(registry: CollectorRegistry, family: Metric) -> tuple[str, ...]:
    # There is no public way to ask: a family that was made by hand knows its labels, of others the collector does.
    collector = registry._names_to_collectors.get(family.name)  # noqa: SLF001
    labels = getattr(family, "_labelnames", None) or getattr(collector, "_labelnames", None) or ()
    return tuple(f"`{label}`" for label in labels)


async def registries() -> dict[str, CollectorRegistry]:
    """Those of an endpoint and a worker that were made and not started."""
    with TemporaryDirectory() as folder:
        place = Runtime(root=Path(folder))
        for name, content in _files(folder).items():
            (place.root / name).parent.mkdir(parents=True, exist_ok=True)
            (place.root / name).write_text(content)
        log = Log({})
        return {"Ingest": Ingest(place, log).registry, "Worker": Worker(place, log).registry}


def _files(folder: str) -> dict[str, str]:
    storage = Storage(provider="File", bucket=f"{folder}/bodies")
    ingest = IngestSettings(
        source="namespace/name",
        routes=(Route(queue="default"),),
        verification=Verification(provider="None"),
        path="/",
        storage=storage,
        deduplication=Deduplication(key="bodyHash"),
        outage_buffer=OutageBuffer(),
        lanes=Lanes(header="X-Shop", ordered=8),
    )
    oauth2 = OAuth2(token_url="http://localhost/", client_id="id", secret_file="secrets/broker/uri")  # noqa: S106  # a path
    destination = Destination(url="http://localhost/", oauth2=oauth2)
    worker = WorkerSettings(
        source="namespace/name",
        queue="default",
        destination=destination,
        ordered=True,
        rate_limit=RateLimit(requests=1, per_s=1.0, burst=1),
        circuit_breaker=CircuitBreaker(),
        storage=storage,
    )
    return {
        "config/ingest.json": dump(ingest),
        "config/worker.json": dump(worker),
        "secrets/broker/uri": "amqp://localhost",
    }


def page() -> str:
    """The page as it should be."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return text(asyncio.run(registries()))


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
    print(FILE, file=sys.stderr)  # noqa: T201
