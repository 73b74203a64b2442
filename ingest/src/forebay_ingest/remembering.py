"""All that a source needs to drop duplicates, put together; nothing at all for a source that does not ask for it."""

from collections.abc import Callable
from typing import NamedTuple

from forebay.settings import IngestSettings
from forebay.telemetry import Log
from forebay_ingest.duplicates import Duplicates
from forebay_ingest.measures import Measures
from forebay_ingest.sameness import sameness_of
from forebay_ingest.seen_stream import SeenStream


class Remembering(NamedTuple):
    """The decision about each webhook, and the memory behind it."""

    duplicates: Duplicates
    stream: SeenStream


def remembering(settings: IngestSettings, url: Callable[[], str], measures: Measures, log: Log) -> Remembering | None:
    """What drops duplicates as the settings say, measured; None if they are to be delivered."""
    wanted = settings.deduplication
    if wanted is None:
        return None
    stream = SeenStream(settings, wanted, url, log)
    duplicates = Duplicates(sameness_of(settings, wanted), stream, settings.answer, settings.limits)
    _measure(duplicates, stream, measures)
    return Remembering(duplicates, stream)


def _measure(duplicates: Duplicates, stream: SeenStream, measures: Measures) -> None:
    measures.counter(
        "forebay_duplicates",
        "Webhooks that came before: answered 2xx, and not delivered again.",
        lambda: duplicates.dropped,
    )
    measures.counter(
        "forebay_duplicates_unidentified",
        "Webhooks without what duplicates are told by; they were delivered.",
        lambda: duplicates.unidentified,
    )
    measures.counter(
        "forebay_seen_cut_short",
        "Webhooks that were forgotten before their time, because of maxIds.",
        lambda: stream.seen.cut_short,
    )
    measures.gauge("forebay_seen", "Webhooks that are remembered to drop duplicates.", lambda: stream.seen.count)
    measures.gauge(
        "forebay_seen_complete",
        "1 once everything is read that other endpoint processes have told.",
        lambda: stream.caught_up,
    )
    measures.gauge(
        "forebay_seen_shared",
        "1 while the stream of what was seen is there and can be read and written; 0: copies are told only if they come to one process.",
        lambda: stream.shared,
    )
