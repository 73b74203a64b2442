#!/usr/bin/env python3
"""Writes docs/reference/providers.md from the presets; `make reference` runs it, a test compares.

python tools/providers_reference.py
"""

from collections.abc import Iterator
from pathlib import Path

from forebay.signatures import described
from forebay.signatures.presets import Preset, presets

FILE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "providers.md"

HEAD = """\
# Providers

Whose signatures Forebay knows: what to write as `spec.ingest.verification.provider`. `forebay providers NAME` says the same as this
page, which is generated: `make reference`. For a provider that is not here, write `HMAC` and say
[how it signs](../how-to/verify-signatures.md#hmac-anybody-else); to have it here, [add a file](../how-to/add-a-provider.md).

*Confidence*: **published** was read in the provider's documentation or in a library of its own, **reported** in what others wrote to
receive its webhooks. A scheme that is wrong refuses what is good; it never lets in what is not signed.

"""


def page() -> str:
    """The page for the presets there are."""
    known = [item for item in presets().values() if item.name not in ("HMAC", "None")]
    lines = ["| provider | signature | clock | event type | delivery's id | confidence |", "|---|---|---|---|---|---|"]
    lines += [_row(item) for item in known]
    return HEAD + "\n".join(lines) + "\n" + "".join(text for item in known for text in _section(item))


def _row(known: Preset) -> str:
    scheme = known.scheme
    clock = f"{scheme.timestamp.tolerance:g} s" if scheme.timestamp else "–"
    facts = (described.signature(scheme), clock, described.event_type(scheme), described.delivery_id(scheme))
    return f"| [{known.name}](#{known.name.lower()}) | {' | '.join(facts)} | {known.confidence} |"


def _section(known: Preset) -> Iterator[str]:
    yield f"\n## {known.name}\n{known.setup}\n\n"
    yield f"- Key: {described.key(known.scheme)}.\n- Clock: {described.clock(known.scheme)}.\n"
    for item in known.handshakes:
        yield f"- Handshake: {described.handshake(item)}\n"
    yield f"- Checked {known.checked.isoformat()}: {', '.join(f'<{source}>' for source in known.sources)}\n"


if __name__ == "__main__":
    FILE.write_text(page(), "utf-8")
