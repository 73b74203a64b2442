"""What the operator says about a source: the status subresource, and nothing else writes it."""

from typing import Annotated, Literal

from pydantic import Field

from forebay.source.model import Part, list_map
from forebay.source.values import Shape, Text

Word = Annotated[str, Shape(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", "a CamelCase word", 1024)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Condition(Part):
    """One statement about the source, in Kubernetes' common form."""

    type: Word = Field(description="What the statement is about, such as Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is so.")
    reason: Word = Field(description="Why, in one stable word.")
    message: Text = Field(description="Why, in a sentence with the next step.")
    last_transition_time: Time = Field(description="Since when.")
    observed_generation: int | None = Field(default=None, ge=0, description="The spec's generation it speaks of.")


class Status(Part):
    """What was observed."""

    observed_generation: int | None = Field(default=None, ge=0, description="The spec's generation that was seen.")
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=32, description="Statements by type.", json_schema_extra=list_map("type")
    )
    url: str | None = Field(
        default=None, description="Where the provider sends webhooks to; a token in it is shown as {token}."
    )
    route: str | None = Field(default=None, description="What leads there, such as HTTPRoute github-ingest.")
    broker: str | None = Field(default=None, description="Host and virtual host of the broker.")
    workers: str | None = Field(default=None, description="Ready and wanted worker processes, such as 2/2.")
    queued: int | None = Field(default=None, ge=0, description="Webhooks that wait in queues, as last counted.")
    dead: int | None = Field(default=None, ge=0, description="Dead letters, as last counted.")
    retained: tuple[str, ...] = Field(
        default=(),
        max_length=32,
        description="Queues that are gone from the spec and stay, with their workers, until they are empty.",
    )
