"""How one delivery attempt can end, as values. Destinations make them, `retry` decides on them."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination took it."""

    status: int | None = None  # of the HTTP answer, None from a handler


@dataclass(frozen=True, slots=True)
class Refused:
    """The destination answered, and the answer is not a 2xx."""

    status: int
    error: str
    retry_after: float | None = None  # seconds from the answer on, as the destination asks for; not capped yet
    answer: str = ""  # the beginning of its body, for a person
    abort: bool = False  # the destination wants no further attempt of this webhook


@dataclass(frozen=True, slots=True)
class Unreachable:
    """There was no answer: no address, no connection, no TLS, nothing in time, or nothing that is HTTP."""

    error: str
    cause: Literal["dns", "blocked", "connect", "tls", "timeout", "protocol", "closed"]


@dataclass(frozen=True, slots=True)
class Unfetched:
    """Its body could not be had from the object storage, or is not what was stored: nobody was called, or not to the end."""

    error: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised or did not end in time, or there was no token to deliver with."""

    error: str


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """The handler wants it again."""

    after: float | None = None  # seconds; None leaves it to the policy
    error: str = "the handler asked for a retry"


@dataclass(frozen=True, slots=True)
class Dropped:
    """The handler wants nothing more of it: settled without a dead letter."""

    reason: str


@dataclass(frozen=True, slots=True)
class Buried:
    """It can never be delivered: a dead letter, whatever the policy says."""

    reason: str  # the bounded word of the dead letter
    error: str


Outcome: TypeAlias = Delivered | Refused | Unreachable | Unfetched | Failed | RetryAsked | Dropped | Buried

# Each in a word, for metrics and logs.
WORDS: dict[type[Any], str] = {
    Delivered: "delivered",
    Refused: "refused",
    Unreachable: "unreachable",
    Unfetched: "unfetched",
    Failed: "failed",
    RetryAsked: "retry-asked",
    Dropped: "dropped",
    Buried: "buried",
}
