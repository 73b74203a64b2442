"""Whether webhooks are taken while the broker can not confirm them, as a person writes it down."""

from typing import Annotated

from pydantic import Field

from forebay.source.model import Part
from forebay.source.values import Bytes, Span


class OutageBuffer(Part):
    """Keeps webhooks in spec.storage while the broker can not confirm them, and queues them when it is back."""

    max_bytes: Annotated[int, Bytes("1Mi", "1Ti")] = Field(
        default=1024**3, description="What one endpoint process keeps; more get 503."
    )
    max_age: Annotated[float, Span("1m", "30d")] = Field(
        default=86400.0,
        description="When the oldest has waited for so long, more get 503. What was accepted is kept whatever its age.",
    )
