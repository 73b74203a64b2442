"""How a provider makes sure that an endpoint is ours before it sends webhooks, said as data. Answers nothing.

A place in a request is written `query:NAME`, `header:NAME` or `json:PATH`; a condition adds `=VALUE` to it, or leaves it
out where the place has to hold anything at all.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from forebay.errors import SpecError

METHODS = ("GET", "HEAD", "OPTIONS", "POST")
VALUE, MAC = "{value}", "{mac}"

_PLACE = re.compile(r"(query|header|json):([^=\s]+)")
_HEADER = re.compile(r"[A-Za-z-]+: [ -~]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a request."""

    kind: str  # query, header or json
    name: str

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Raises SpecError."""
        found = _PLACE.fullmatch(text)
        if not found:
            raise SpecError(f"{text!r} is neither query:NAME nor header:NAME nor json:PATH")
        return cls(found[1], found[2])


@dataclass(frozen=True, slots=True)
class Condition:
    """What a request holds that is this handshake."""

    place: Place
    value: str | None  # as text; None: anything

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Raises SpecError."""
        place, equals, value = text.partition("=")
        return cls(Place.parse(place), value if equals else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """One question and its answer. Raises SpecError, with every fault, if it can not be asked or answered."""

    method: str
    when: tuple[str, ...] = ()  # conditions, all of which hold
    verified: bool = False  # it is signed as webhooks are, which is checked first
    token: str | None = None  # the place of the verify token, a text that the owner gave to the provider
    sends: str | None = None  # the place of the signing secret: the owner is to have it before it is answered
    longest: int = 0  # bytes of its body at most; 0: as many as any handshake's
    visits: str | None = None  # the place of a URL of the provider that is visited if the owner has asked for it
    reflects: str | None = None  # the place of the text that is given back: {value}
    answer: str = ""  # {value}, and {mac} for its signature, stand for what the request is given back
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[str, ...] = ()  # further ones, "Name: value", in which {value} may stand
    status: int = HTTPStatus.OK
    says: str  # when the provider asks it, in a sentence for people

    def __post_init__(self) -> None:
        faults = list(_faults(self))
        if faults:
            raise SpecError("; ".join(faults))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All that a request has to hold, what it shows and asks for included."""
        places = [place for place in (self.token, self.sends, self.visits, self.reflects) if place]
        return (*map(Condition.parse, self.when), *(Condition(Place.parse(place), None) for place in places))

    @property
    def vouches(self) -> bool:
        """Whether a stranger gets the signature of a text: it must never pass for a webhook's."""
        return MAC in self.answer and not self.verified


def _faults(handshake: Handshake) -> Iterator[str]:
    if handshake.method not in METHODS:
        yield f"a handshake's method is {' or '.join(METHODS)}, not {handshake.method!r}"
    yield from _unreadable(handshake)
    if handshake.sends and (handshake.verified or not handshake.longest):
        yield "a handshake that sends a secret is not signed yet, and has to say how long its body is at most"
    if handshake.visits and not handshake.verified:
        yield "what a handshake visits has to be signed: verified"
    given = (handshake.answer, *handshake.headers)
    if any(VALUE in text or MAC in text for text in given) != (handshake.reflects is not None):
        yield "what a handshake reflects and what it answers do not fit: {value} stands for it"
    if not (200 <= handshake.status <= 299):
        yield f"a handshake is answered 2xx, not {handshake.status}"
    for header in handshake.headers:
        if not _HEADER.fullmatch(header):
            yield f"{header!r} is no header, Name: value"
    if handshake.method in ("GET", "HEAD", "OPTIONS") and any(place.kind == "json" for place in _places(handshake)):
        yield f"{handshake.method} has no body to look into"


def _unreadable(handshake: Handshake) -> Iterator[str]:
    for text in (*handshake.when, handshake.token, handshake.sends, handshake.visits, handshake.reflects):
        try:
            if text is not None:
                Condition.parse(text)
        except SpecError as error:
            yield str(error)


def _places(handshake: Handshake) -> Iterator[Place]:
    for text in (*handshake.when, handshake.token, handshake.sends, handshake.visits, handshake.reflects):
        found = _PLACE.match(text or "")
        if found:
            yield Place(found[1], found[2])
