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

SENDERS = """\
## The addresses they send from

What `ingest.allowedClients: [Provider]` lets in ([how to](../how-to/limit-senders.md#from-the-providers-own-addresses)): the networks as the provider
published them on that day, and as this release of Forebay has them. They age; look at the source. *Confidence* is as above. Of a
provider that is not in this table nothing is known; nobody is let in by a list that is not there.

"""


def page() -> str:
    """The page for the presets there are."""
    known = [item for item in presets().values() if item.name not in ("HMAC", "None")]
    lines = ["| provider | signature | clock | event type | delivery's id | confidence |", "|---|---|---|---|---|---|"]
    lines += [_row(item) for item in known]
    sections = "".join(text for item in known for text in _section(item))
    return HEAD + "\n".join(lines) + "\n\n" + SENDERS + "\n".join(_senders(known)) + "\n" + sections


def _senders(known: list[Preset]) -> Iterator[str]:
    yield "| provider | networks | as of | confidence | source |"
    yield "|---|---|---|---|---|"
    for item in known:
        if (senders := item.senders) is not None:
            networks = ", ".join(f"`{network}`" for network in senders.networks) or "not known here"
            day, sure = (senders.checked, senders.confidence) if senders.networks else ("–", "–")
            yield f"| {item.name} | {networks} | {day} | {sure} | <{senders.source}> |"


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
