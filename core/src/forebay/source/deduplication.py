"""Whether webhooks that came before are dropped, and what two are the same by, as a person writes it down."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from typing_extensions import override

from forebay.signatures.presets import presets
from forebay.source.model import Part, Problem, cel
from forebay.source.values import HeaderName, JsonPath, Span
from forebay.source.verification import Verification


class Deduplication(Part):
    """Answers a webhook that came before like the first, and delivers it no second time."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("(self.key == 'header') == has(self.header)", "header belongs to key header, which needs it"),
            ("(self.key == 'jsonPath') == has(self.jsonPath)", "jsonPath belongs to key jsonPath, which needs it"),
        )
    )

    key: Literal["auto", "header", "jsonPath", "bodyHash"] = Field(
        default="auto",
        description="What two webhooks are the same by. auto: the id that the provider gives each delivery; header, jsonPath:"
        " what stands there; bodyHash: all of the body, the path and the query.",
    )
    header: HeaderName | None = Field(default=None, description="The header, for key header.")
    json_path: JsonPath | None = Field(default=None, description="The path into a JSON body, for key jsonPath.")
    window: Annotated[float, Span("1m", "30d")] = Field(
        default=86400.0, description="How long a webhook is remembered after it was taken in."
    )
    max_ids: int = Field(
        default=5_000_000,
        ge=1_000,
        le=1_000_000_000,
        description="Webhooks that one endpoint process remembers, 25 MB for a million; beyond it the oldest are forgotten early.",
    )

    @override
    def faults(self) -> Iterator[Problem]:
        for key, name, value in (("header", "header", self.header), ("jsonPath", "jsonPath", self.json_path)):
            if self.key == key and value is None:
                yield Problem((name,), f"missing: key {key} needs it", f"say which, or write key: {_OTHERWISE[key]}")
            if self.key != key and value is not None:
                yield Problem((name,), f"belongs to key {key}, not {self.key}", f"write key: {key}, or leave it out")


_OTHERWISE = {"header": "auto", "jsonPath": "bodyHash"}

# Whose deliveries carry an id in a header.
IDENTIFIED = tuple(
    name for name, known in presets().items() if any(":" not in place for place in known.scheme.delivery_id_headers)
)
_AUTOMATIC = "(has(self.deduplication) && self.deduplication.key == 'auto')"
_HAS_ID = (
    f"(self.verification.provider in [{', '.join(repr(name) for name in IDENTIFIED)}]"
    " || (has(self.verification.hmac) && has(self.verification.hmac.deliveryIdHeader)))"
)
DEDUPLICATION_RULES = (
    (
        f"!{_AUTOMATIC} || {_HAS_ID}",
        "deduplication.key auto needs a provider that sends an id of each delivery in a header; write key: bodyHash for others",
    ),
)


def deduplication_faults(wanted: Deduplication | None, verification: Verification) -> Iterator[Problem]:
    """What is wrong with dropping duplicates by the provider's own id."""
    if wanted is None or wanted.key != "auto" or verification.provider in IDENTIFIED:
        return
    if verification.hmac is not None and verification.hmac.delivery_id_header is not None:
        return
    message = f"auto: provider {verification.provider} sends no id of its deliveries in a header"
    remedy = "write key: bodyHash, or key: jsonPath and where the id stands in the body, such as jsonPath: id"
    yield Problem(("deduplication", "key"), message, remedy)
