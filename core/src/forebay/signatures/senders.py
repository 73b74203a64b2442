"""The addresses that a provider says it sends from, as data with their date. Reads nothing.

They age: a provider adds networks and gives others back. Who lets these in alone refuses what is new until somebody has looked again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from ipaddress import ip_network

from forebay.errors import SpecError
from forebay.signatures.confidence import Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Senders:
    """Where a provider publishes its addresses, and what it said there. Raises SpecError for what would let in more than is said."""

    source: str  # URL
    networks: tuple[str, ...] = ()  # none: they are not known here, and have to be taken from the source
    checked: date | None = None  # the day on which the source said so
    confidence: Confidence = Confidence.REPORTED  # whether it was read there, or by others who say the day

    def __post_init__(self) -> None:
        if faults := list(_faults(self)):
            raise SpecError("; ".join(faults))


def _faults(senders: Senders) -> Iterator[str]:
    if bool(senders.networks) != (senders.checked is not None):
        yield "networks of a sender go with the day on which they were published, checked"
    if not senders.source.startswith("https://"):
        yield f"{senders.source!r} is no https URL where the networks are published"
    for text in senders.networks:
        try:
            network = ip_network(text)
        except ValueError as error:
            yield f"{text} is no network: {error}"
            continue
        if not network.is_global or network.prefixlen < (16 if network.version == 4 else 24):
            yield f"{text} is no network of one sender: it is private, or far too large"
