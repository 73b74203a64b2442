"""The part of a source between endpoint and workers: queues, retries, dead letters."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from typing_extensions import override

from forebay.settings import RetryPolicy
from forebay.source.model import Part, Problem, cel
from forebay.source.values import (
    Bytes,
    Factor,
    HeaderName,
    HeaderValue,
    JsonPath,
    Line,
    QueueName,
    Shape,
    Span,
    duration,
)
from forebay.source.worker import DeliveryRate
from forebay.topology import DEAD_QUEUE, DEFAULT_QUEUE

EventType = Annotated[str, Shape(r"[!-~]+", "an event type such as push or invoice.*, without spaces", 128)]
PathSuffix = Annotated[str, Shape(r"/[!-~]*", "what follows the source's path, such as /orders", 200)]
StatusExpression = Annotated[
    str,
    Shape(
        r"!?[1-5][0-9]{2}(-[1-5][0-9]{2})?",
        "a status such as 429, a range such as 500-599, or !404 for never",
        8,
        or_number=True,
    ),
]


class HeaderMatch(Part):
    """A header of the webhook."""

    name: HeaderName = Field(description="Name of the header.")
    values: tuple[HeaderValue, ...] = Field(
        default=(), max_length=32, description="Any of these values. Empty: it is there."
    )


class JsonPathMatch(Part):
    """A field of a JSON body. The body is parsed only where such a rule needs it."""

    path: JsonPath = Field(description="Dotted path to the field, such as data.object.livemode.")
    values: tuple[Line, ...] = Field(
        default=(), max_length=32, description="Any of these values, as text. Empty: it is there."
    )


_OTHER_RULES = "has(self.header) || has(self.jsonPath) || has(self.pathSuffix)"


class Match(Part):
    """Which webhooks a queue gets: those for which everything given here is so."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                f"(has(self.eventTypes) && size(self.eventTypes) > 0) || {_OTHER_RULES}",
                "give eventTypes, header, jsonPath or pathSuffix",
            )
        )
    )

    event_types: tuple[EventType, ...] = Field(
        default=(), max_length=64, description="Any of these event types; a * at the end stands for any rest."
    )
    header: HeaderMatch | None = Field(default=None, description="A header of the webhook.")
    json_path: JsonPathMatch | None = Field(default=None, description="A field of the JSON body.")
    path_suffix: PathSuffix | None = Field(default=None, description="What the path ends with, after the source's own.")

    @override
    def faults(self) -> Iterator[Problem]:
        if not (self.event_types or self.header or self.json_path or self.path_suffix):
            remedy = "say which webhooks are meant, such as eventTypes: [push]"
            yield Problem((), "empty: it would match everything", remedy)
        for index, event_type in enumerate(self.event_types):
            if "*" in event_type[:-1]:
                yield Problem(("eventTypes", index), "* stands at the end only", f"write {event_type.split('*')[0]}*")


class Queue(Part):
    """A queue of its own for some of the webhooks, with workers of its own."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (f"self.name != '{DEAD_QUEUE}'", f"{DEAD_QUEUE} is the name of the dead-letter queue"),
            (
                f"(self.name == '{DEFAULT_QUEUE}') == !has(self.match)",
                "every queue but default needs a match, and default takes what no other queue matches",
            ),
        )
    )

    name: QueueName = Field(description="Short name of the queue, part of its name on the broker.")
    match: Match | None = Field(default=None, description="Which webhooks it gets; the first queue that matches wins.")
    concurrency: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Deliveries at once of one worker process. Default: worker.concurrency.",
    )
    replicas: int | None = Field(
        default=None, ge=0, le=100, description="Worker processes of this queue. Default: worker.replicas."
    )
    rate_limit: DeliveryRate | None = Field(
        default=None,
        description="Attempts to deliver in a time, all processes of this queue together. Default: worker.rateLimit, which"
        " queues without their own share.",
    )
    max_in_flight: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Deliveries at once, all processes of this queue together. Default: worker.maxInFlight, which queues"
        " without their own share.",
    )

    @override
    def faults(self) -> Iterator[Problem]:
        if self.name == DEAD_QUEUE:
            yield Problem(("name",), f"{DEAD_QUEUE!r} is the name of the dead-letter queue", "choose another name")
        elif self.name == DEFAULT_QUEUE and self.match:
            yield Problem(
                ("match",), "queue default takes what no other queue matches", "leave match out, or rename it"
            )
        elif self.name != DEFAULT_QUEUE and not self.match:
            message = "missing: this queue would take everything, and default nothing"
            yield Problem(("match",), message, "say which webhooks it gets, such as match: {eventTypes: [push]}")


_GROWING = "has(self.initialDelay) || has(self.factor) || has(self.maxDelay) || has(self.jitter)"


class Retry(Part):
    """When a failed delivery is tried again and when it is given up."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                f"!has(self.schedule) || size(self.schedule) == 0 || !({_GROWING})",
                "give schedule, or initialDelay, factor, maxDelay and jitter, not both",
            )
        )
    )

    max_attempts: int = Field(
        default=12, ge=1, le=1000, description="Attempts in all; then the webhook is a dead letter."
    )
    initial_delay: Annotated[float, Span("1s", "1d")] | None = Field(
        default=None,
        description="Longest delay before the second attempt. Default: 5s, or maxDelay if that is shorter.",
    )
    factor: Annotated[float, Factor()] | None = Field(
        default=None, description="What each further delay grows by. Default: 2."
    )
    max_delay: Annotated[float, Span("1s", "1d")] | None = Field(
        default=None, description="No delay is longer. Default: 1h."
    )
    jitter: Literal["Full", "None"] | None = Field(
        default=None,
        description="Full: a random delay up to the computed one, so that retries do not come in waves. Default: Full.",
    )
    schedule: tuple[Annotated[float, Span("1s", "1d")], ...] = Field(
        default=(), max_length=64, description="The delays themselves, instead of a growing one; the last one repeats."
    )
    max_age: Annotated[float, Span("1s", "30d")] = Field(
        default=259200.0, description="Age at which a webhook is given up, whatever attempts are left."
    )
    statuses: tuple[StatusExpression, ...] = Field(
        default=RetryPolicy().statuses,
        min_length=1,
        max_length=64,
        description="Which answers are tried again: the first expression that fits decides, ! means never, none means never.",
    )
    retry_after_max: Annotated[float, Span("0s", "1d")] = Field(
        default=3600.0, description="Longest Retry-After of a destination that is obeyed."
    )

    @override
    def faults(self) -> Iterator[Problem]:
        yield from self._two_plans()
        for index, expression in enumerate(self.statuses):
            low, _, high = expression.lstrip("!").partition("-")
            if high and int(high) < int(low):
                yield Problem(("statuses", index), f"{expression} is an empty range", f"write {high}-{low}")
        usual = RetryPolicy()
        if (self.initial_delay or 0) > (self.max_delay or usual.max_delay_s) and not self.schedule:
            yield Problem(
                ("initialDelay",),
                f"longer than maxDelay, {duration(self.max_delay or usual.max_delay_s)}",
                "lower it, or raise maxDelay",
            )

    def _two_plans(self) -> Iterator[Problem]:
        if not self.schedule:
            return
        growing = {
            "initialDelay": self.initial_delay, "factor": self.factor, "maxDelay": self.max_delay, "jitter": self.jitter,
        }  # fmt: skip
        for name, value in growing.items():
            if value is not None:
                yield Problem(
                    (name,), f"give schedule or {name}, not both", "the schedule says all delays: leave this out"
                )


class DeadLetterRetention(Part):
    """How long dead letters are kept. What is not given has no bound."""

    age: Annotated[float, Span("1m", "365d")] | None = Field(default=None, description="Older ones are dropped.")
    count: int | None = Field(
        default=None, ge=1, le=100_000_000, description="The oldest of more than these are dropped."
    )
    bytes: Annotated[int, Bytes("1Ki", "1Ti")] | None = Field(
        default=None, description="The oldest beyond these bytes are dropped."
    )


class DeadLetter(Part):
    """What becomes of webhooks that were given up."""

    retention: DeadLetterRetention = Field(
        default_factory=DeadLetterRetention,
        description="How long they are kept. Default: until somebody replays or discards them.",
    )


# Of queues and worker together.
QUEUE_RULES = (
    (
        "!has(self.queues) || !has(self.worker.autoscaling) || self.queues.all(queue, !has(queue.replicas))",
        "give replicas of a queue or worker.autoscaling, not both",
    ),
)


def scaling_of_queues_faults(queues: tuple[Queue, ...], *, autoscaled: bool) -> Iterator[Problem]:
    """What QUEUE_RULES say."""
    for index, queue in enumerate(queues):
        if autoscaled and queue.replicas is not None:
            message = "give replicas of a queue or worker.autoscaling, not both"
            yield Problem((index, "replicas"), message, "keep one of them")


def routing_faults(queues: tuple[Queue, ...]) -> Iterator[Problem]:
    """What is wrong with queues together."""
    seen: dict[str, int] = {}
    for index, queue in enumerate(queues):
        if queue.name in seen:
            message = f"{queue.name!r} is the name of queues[{seen[queue.name]}] too"
            yield Problem((index, "name"), message, "give each queue a name of its own")
        seen.setdefault(queue.name, index)
